"""How often steering sends a caller to a site that is as good as the best one. Pure, seeded.

Signaling knows a caller's place with an error and offers the site nearest to it, and as fallback the nearest one of the
others. What is compared is the round trip of the model: from where the caller really is to the site it was given, minus
that to the best site. Errors are drawn for each of 34,000 cities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from antiphon.cli.world.earth import Floats, directions, distances_km, moved
from antiphon.cli.world.latency import INFLATION, LatencyModel
from antiphon.cli.world.nearest import Columns, two_best
from antiphon.cli.world.people import People

AS_GOOD_MS: Final = 10.0
SEED: Final = 7
Z90: Final = 1.2816
"""The 90th percentile of the normal distribution."""


@dataclass(frozen=True)
class PlaceError:
    """What signaling knows of a caller's place."""

    text: str
    kilometres: float | None
    """Median distance between the real place and the one it takes it for; None: the country alone is known."""


ERRORS: Final = {
    "city": PlaceError("the city, 50 km off (median)", 50.0),
    "near_city": PlaceError("a city near by, 250 km off", 250.0),
    "province": PlaceError("500 km off", 500.0),
    "country": PlaceError("the country alone: the middle of its people", None),
}
TABLE: Final = {"city": 0.7, "near_city": 0.2, "country": 0.1}
"""Assumed for an address table or a proxy's header: how often each error. Your table may be better or worse."""


def steering(people: People, sites: Floats, model: LatencyModel) -> dict[str, object]:
    """The report's section: per error the share within `AS_GOOD_MS` of the best site, and the mix of `TABLE`."""
    random = np.random.default_rng(SEED)
    weight, real = people.share, people.places
    kilometres = distances_km(real, sites)
    trips = model.from_caller(kilometres)
    # Each path has an inflation of its own: the measured spread, as a log-normal distribution, on the fibre part alone.
    low, middle, high = INFLATION
    spread = np.log(high / low) / (2 * Z90)
    uneven = model.between(kilometres) * random.lognormal(0.0, spread, (len(real), len(sites)))
    uneven += model.last_mile_ms
    found: dict[str, float] = {}
    raced: dict[str, float] = {}
    on_uneven: dict[str, float] = {}
    both_on_uneven: dict[str, float] = {}
    for name, error in ERRORS.items():
        known = _country_centres(people) if error.kilometres is None else _blurred(real, error.kilometres, random)
        first, _, second, _ = two_best(distances_km(known, sites))
        found[name] = _as_good(trips, weight, [first])
        raced[name] = _as_good(trips, weight, [first, second])
        on_uneven[name] = _as_good(uneven, weight, [first])
        both_on_uneven[name] = _as_good(uneven, weight, [first, second])
    return {
        "as_good_ms": AS_GOOD_MS,
        "place_known_as": {name: error.text for name, error in ERRORS.items()},
        "mix_of_table": TABLE,
        "share_as_good": found | {"table": _mixed(found)},
        "share_as_good_of_two_raced": raced | {"table": _mixed(raced)},
        "with_uneven_paths": {
            "text": f"each path with an inflation of its own: log-normal, p10 {low}, p90 {high} around {middle}",
            "share_as_good": on_uneven | {"table": _mixed(on_uneven)},
            "share_as_good_of_two_raced": both_on_uneven | {"table": _mixed(both_on_uneven)},
        },
        "seed": SEED,
    }


def _mixed(shares: dict[str, float]) -> float:
    return round(sum(shares[name] * part for name, part in TABLE.items()), 4)


def _as_good(trips: Floats, weight: Floats, offered: list[Columns]) -> float:
    rows = np.arange(len(trips))
    got = np.min([trips[rows, columns] for columns in offered], axis=0)
    share = float(weight[got <= trips.min(axis=1) + AS_GOOD_MS].sum() / weight.sum())
    return round(share, 4)


def _blurred(places: Floats, median_km: float, random: np.random.Generator) -> Floats:
    """Each place taken for one that is off by a Rayleigh distance with this median, in any direction."""
    distance = random.rayleigh(median_km / np.sqrt(2 * np.log(2)), len(places))
    return moved(places, distance, random.uniform(0, 2 * np.pi, len(places)))


def _country_centres(people: People) -> Floats:
    """For each city the middle of all people of its country."""
    number = {country: n for n, country in enumerate(sorted(set(people.countries)))}
    rows = np.array([number[country] for country in people.countries])
    middles = np.zeros((len(number), 3))
    np.add.at(middles, rows, people.places * people.population[:, None])
    middles /= np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1e-12)
    latitudes = np.degrees(np.arcsin(middles[:, 2]))
    longitudes = np.degrees(np.arctan2(middles[:, 1], middles[:, 0]))
    centres: Floats = directions(latitudes, longitudes)[rows]
    return centres
