"""What happens when one site is lost: its callers go to the next one. Pure."""

from __future__ import annotations

import numpy as np

from antiphon.cli.world.earth import Floats
from antiphon.cli.world.nearest import two_best
from antiphon.cli.world.shares import distribution, percentile


def lost_sites(round_trips: Floats, weight: Floats, names: list[str]) -> list[dict[str, object]]:
    """For each site (a column of `round_trips`): the share that it served, and delays without it.

    The last part is empty where there was one site only.
    """
    nearest, best, _, second = two_best(round_trips)
    found: list[dict[str, object]] = []
    for column, name in enumerate(names):
        moved = nearest == column
        entry: dict[str, object] = {"site": name, "share_of_people": round(float(weight[moved].sum()), 4)}
        if len(names) > 1:
            without = np.where(moved, second, best)
            entry["all"] = distribution(without, weight)
            if moved.any():
                entry["moved_p50_before_ms"] = round(percentile(best[moved], weight[moved], 0.5), 1)
                entry["moved_p50_ms"] = round(percentile(without[moved], weight[moved], 0.5), 1)
                entry["moved_p95_ms"] = round(percentile(without[moved], weight[moved], 0.95), 1)
        found.append(entry)
    return found
