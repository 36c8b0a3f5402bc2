"""Distances between places on a sphere. Pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

RADIUS_KM: Final = 6371.0
Floats = npt.NDArray[np.floating[Any]]


def directions(latitudes: Floats, longitudes: Floats) -> Floats:
    """Unit vectors from the centre, one row per place; degrees in."""
    north, east = np.radians(latitudes), np.radians(longitudes)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)


def distances_km(first: Floats, second: Floats) -> Floats:
    """Between each direction of `first` (rows) and each of `second` (columns)."""
    return RADIUS_KM * np.arccos(np.clip(first @ second.T, -1.0, 1.0))


def moved(places: Floats, distance_km: Floats, bearing: Floats) -> Floats:
    """Each place moved so far along a great circle, at this bearing (radians from north)."""
    north = np.stack(
        [-places[:, 2] * places[:, 0], -places[:, 2] * places[:, 1], 1 - places[:, 2] ** 2],
        axis=-1,
    )
    north /= np.maximum(np.linalg.norm(north, axis=1, keepdims=True), 1e-12)
    east = np.cross(north, places)
    angle = (distance_km / RADIUS_KM)[:, None]
    heading = np.cos(bearing)[:, None] * north + np.sin(bearing)[:, None] * east
    there: Floats = np.cos(angle) * places + np.sin(angle) * heading
    return there
