"""Fibre inflation out of a published matrix of round trips between regions."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np

from antiphon.cli.errors import UsageError
from antiphon.cli.world.earth import distances_km
from antiphon.cli.world.latency import FIBRE_KM_PER_MS
from antiphon.cli.world.regions import load_regions, places

NEAR_KM: Final = 300.0
"""Of pairs that are closer the round trip says more about the network inside a region than about fibre."""
FEWEST_PAIRS: Final = 10


def measured_inflation(file: Path) -> tuple[int, tuple[float, float, float]]:
    """The number of pairs and p10, p50, p90 of their inflation.

    `file` is CSV: a first row with the names of Azure's regions as Microsoft's page has them ("East US"), then a row
    per region: its name and the round trips in ms, empty where there is none.
    """
    try:
        rows = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"--latencies {file}: cannot be read: {reason}") from None
    regions = load_regions()
    kilometres = distances_km(places(regions), places(regions))
    row_of = {name.removeprefix("azure "): n for n, region in enumerate(regions) for name in region.names}
    found = []
    for row in rows[1:]:
        for name, cell in zip(rows[0][1:], row[1:], strict=False):
            first, second = row_of.get(_key(row[0])), row_of.get(_key(name))
            if first is None or second is None or kilometres[first, second] < NEAR_KM:
                continue
            try:
                found.append(float(cell) / (2 * kilometres[first, second] / FIBRE_KM_PER_MS))
            except ValueError:
                continue  # an empty cell
    if len(found) < FEWEST_PAIRS:
        raise UsageError(
            f"--latencies {file}: {len(found)} pairs of Azure's regions in it, at least {FEWEST_PAIRS} are needed; "
            "the first row and column name them as Microsoft's page does (`East US`)"
        )
    p10, p50, p90 = (float(each) for each in np.percentile(found, [10, 50, 90]))
    return len(found), (p10, p50, p90)


def _key(name: str) -> str:
    return name.replace(" ", "").lower()
