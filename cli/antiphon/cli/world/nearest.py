"""For each city the best of some sites, and the next one. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from antiphon.cli.world.earth import Floats

Columns = npt.NDArray[np.intp]


def two_best(costs: Floats) -> tuple[Columns, Floats, Columns, Floats]:
    """Column and cost of the best, then of the next one: infinite where there is one column only."""
    rows = np.arange(len(costs))
    first = costs.argmin(axis=1)
    rest = costs.copy()
    rest[rows, first] = np.inf
    second = rest.argmin(axis=1)
    return first, costs[rows, first], second, rest[rows, second]
