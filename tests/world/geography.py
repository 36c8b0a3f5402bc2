"""Three regions and a fourth place for callers: addresses, and one-way delays between them. Values only."""

from __future__ import annotations

from typing import Final

REGIONS: Final = ("europe", "america", "asia")
CALLERS: Final = "elsewhere"
"""Where the callers are; no service runs there."""
PLACES: Final = (*REGIONS, CALLERS)
CLUSTER: Final = {"europe": 1, "america": 2, "asia": 3}
COORDINATES: Final = {"europe": "50.1,8.7", "america": "39.0,-77.5", "asia": "1.3,103.8"}
"""As `ANTIPHON_PLACE` and `ANTIPHON_RELAY_PLACE` take them."""
ROUND_TRIP_MS: Final = {
    frozenset(("europe", "america")): 90.0,
    frozenset(("europe", "asia")): 160.0,
    frozenset(("america", "asia")): 220.0,
    frozenset((CALLERS, "europe")): 30.0,
    frozenset((CALLERS, "america")): 110.0,
    frozenset((CALLERS, "asia")): 180.0,
}
NEAREST: Final = "europe"
"""To the callers."""
FAR: Final = "asia"
CALLERS_PLACE: Final = "48.2,16.4"
"""As `?place=` takes it."""


def address(place: str) -> str:
    """The one address of a place."""
    return f"10.78.{PLACES.index(place) + 1}.1"


def one_way(first: str, second: str) -> float:
    """Seconds."""
    return ROUND_TRIP_MS[frozenset((first, second))] / 2000
