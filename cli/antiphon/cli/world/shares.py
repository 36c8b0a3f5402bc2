"""How a delay is distributed over people: shares below a limit, and percentiles, weighted. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from antiphon.cli.world.earth import Floats

LIMITS_MS: Final = (30, 50, 80, 100)


def share_within(milliseconds: Floats, weight: Floats, limit: float) -> float:
    """The share of all people with at most `limit`."""
    return float(weight[milliseconds <= limit].sum() / weight.sum())


def percentile(milliseconds: Floats, weight: Floats, rank: float) -> float:
    """The delay that `rank` (0 to 1) of all people do not exceed."""
    order = np.argsort(milliseconds)
    reached = np.cumsum(weight[order])
    place = int(np.searchsorted(reached, rank * reached[-1]))
    return float(milliseconds[order][min(place, len(order) - 1)])


def distribution(milliseconds: Floats, weight: Floats) -> dict[str, float]:
    """Shares within all `LIMITS_MS` and p50, p95, as the report has them."""
    shares = {f"within_{limit}_ms": round(share_within(milliseconds, weight, limit), 4) for limit in LIMITS_MS}
    return shares | {
        "p50_ms": round(percentile(milliseconds, weight, 0.5), 1),
        "p95_ms": round(percentile(milliseconds, weight, 0.95), 1),
    }
