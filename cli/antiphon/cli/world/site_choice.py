"""Which places to take: greedy, then exchanges while one makes it better. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from antiphon.cli.world.earth import Floats
from antiphon.cli.world.nearest import two_best

WELL_SERVED_MS: Final = 50.0
WEIGHT_ABOVE: Final = 10.0
MOST_EXCHANGES: Final = 200
"""Some ten are made; the bound is for ties that go round by rounding."""


def _tail(milliseconds: Floats) -> Floats:
    counted: Floats = milliseconds + WEIGHT_ABOVE * np.maximum(0.0, milliseconds - WELL_SERVED_MS)
    return counted


def _mean(milliseconds: Floats) -> Floats:
    return milliseconds


OBJECTIVES: Final[dict[str, Callable[[Floats], Floats]]] = {"tail": _tail, "mean": _mean}
"""What is made small, on average over people: `tail` counts each ms above 50 eleven times, `mean` all alike."""


def choose(round_trips: Floats, weight: Floats, sites: int, objective: str) -> list[int]:
    """Columns of `round_trips` (cities x places), the most useful first; each person uses the nearest one."""
    # Half the memory: 34,000 cities x 82 places are gone through for each site, which is all of the time.
    costs = OBJECTIVES[objective](round_trips).astype(np.float32)
    weight = weight.astype(np.float32)
    chosen: list[int] = []
    best = np.full(len(costs), np.inf, dtype=np.float32)
    for _ in range(sites):
        totals = weight @ np.minimum(best[:, None], costs)
        totals[chosen] = np.inf
        column = int(np.argmin(totals))
        chosen.append(column)
        best = np.minimum(best, costs[:, column])
    return _exchanged(costs, weight, chosen)


def _exchanged(costs: Floats, weight: Floats, chosen: list[int]) -> list[int]:
    """Replace a chosen place by another one while that helps, one after the other in turn."""
    unchanged, turn = 0, 0
    nearest, best, _, second = two_best(costs[:, chosen])
    while unchanged < len(chosen) < costs.shape[1] and turn < MOST_EXCHANGES:
        at = turn % len(chosen)
        without = np.where(nearest == at, second, best)
        totals = weight @ np.minimum(without[:, None], costs)
        totals[chosen] = np.inf
        column = int(np.argmin(totals))
        if totals[column] < float(weight @ best) * (1 - 1e-5):
            chosen = [*chosen[:at], column, *chosen[at + 1 :]]
            nearest, best, _, second = two_best(costs[:, chosen])
            unchanged = 0
        else:
            unchanged += 1
        turn += 1
    return chosen
