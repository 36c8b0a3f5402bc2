"""Where a site can be: the places of the public regions of AWS, Azure and Google Cloud.

`regions.csv` has one row per place, with the regions in or near it as the providers name them on their own pages.
Coordinates are those of the city at GeoNames. Regions that take only some customers (governments) are not in it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import numpy as np

from antiphon.cli.world.earth import Floats, directions

SOURCE: Final = "places of the public regions of AWS, Azure and Google Cloud, after the providers' pages"


@dataclass(frozen=True)
class Region:
    """A place where a provider lets hosts."""

    place: str
    country: str
    latitude: float
    longitude: float
    names: tuple[str, ...]
    """`<provider> <region>`, for example `aws eu-central-1`."""


def load_regions() -> list[Region]:
    """All of them, in the order of the file."""
    text = (files("antiphon.cli.world") / "regions.csv").read_text(encoding="utf-8")
    return [
        Region(
            row["place"],
            row["country"],
            float(row["latitude"]),
            float(row["longitude"]),
            tuple(row["regions"].split(", ")),
        )
        for row in csv.DictReader(text.splitlines())
    ]


def places(regions: list[Region]) -> Floats:
    """Their directions, as `earth.directions` makes them."""
    return directions(
        np.array([region.latitude for region in regions]), np.array([region.longitude for region in regions])
    )
