"""Distances on earth, and the round trips that they make likely. Pure; knows nothing of regions or announcements."""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

EARTH_RADIUS_KM: Final = 6371.0
"""Mean radius (IUGG)."""
LIGHT_IN_FIBRE_KM_PER_MS: Final = 204.0
"""The speed of light in glass with a refractive index of 1.47."""
INFLATION: Final = 1.79
"""Measured round trip over that of light in a straight fibre: the median of 1,062 pairs of cloud regions, after Azure's
published matrix."""

_NUMBER: Final = re.compile(r"([+-]?[0-9]{1,3}(?:\.[0-9]{0,20})?)")


class Coordinates(NamedTuple):
    """A point on earth, in degrees (WGS 84). A value."""

    latitude: float
    """North is positive."""
    longitude: float
    """East is positive."""


def coordinates_of(latitude: str, longitude: str) -> Coordinates | None:
    """Two numbers in degrees, as text; None for what is no point on earth.

    Some proxies write a number out of range, such as Fastly's 999.9, where they do not know.
    """
    found = [_NUMBER.fullmatch(text.strip()) for text in (latitude, longitude)]
    if found[0] is None or found[1] is None:
        return None
    return checked(float(found[0][1]), float(found[1][1]))


def coordinates_in(text: str) -> Coordinates | None:
    """`<latitude>,<longitude>`; None for everything else."""
    latitude, _, longitude = text.partition(",")
    return coordinates_of(latitude, longitude)


def checked(latitude: object, longitude: object) -> Coordinates | None:
    """Two numbers as a point; None where they are none, or out of range."""
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):  # NaN is not within
        return None
    return Coordinates(float(latitude), float(longitude))


def distance_km(one: Coordinates, other: Coordinates) -> float:
    """The great-circle distance (haversine formula)."""
    north, south = math.radians(one.latitude), math.radians(other.latitude)
    height = math.sin((south - north) / 2) ** 2
    width = math.sin(math.radians(other.longitude - one.longitude) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, height + math.cos(north) * math.cos(south) * width)))


def modelled_round_trip_ms(one: Coordinates, other: Coordinates) -> float:
    """The likely round trip between two places, without the last mile of either."""
    return 2 * distance_km(one, other) / LIGHT_IN_FIBRE_KM_PER_MS * INFLATION
