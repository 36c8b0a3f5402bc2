"""What a bench makes of its rounds: percentiles, median, spread. Pure.

A percentile is the value at its rank (`int(n * percent / 100)` of the sorted values); nothing is interpolated, so every
number that is printed was measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence


def percentile(values: Iterable[float], percent: float) -> float:
    """0 if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def percentiles(
    values: Sequence[float], percents: Iterable[float] = (50, 95), digits: int = 1
) -> dict[str, float | None]:
    """`{"p50": ..., "p95": ...}`; None where there are no values. Percent 0 is called `min`, 100 `max`."""
    names = {0: "min", 100: "max"}
    return {
        names.get(int(percent), f"p{percent:g}"): round(percentile(values, percent), digits) if values else None
        for percent in percents
    }


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float | None]:
    """Median, least and most of the rounds."""
    if not values:
        return {"median": None, "min": None, "max": None}
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def relative_spread(values: Sequence[float]) -> float:
    """Half the range, as a share of the median."""
    middle = statistics.median(values)
    return round((max(values) - min(values)) / 2 / middle, 3) if middle else 0.0


def median(values: Sequence[float], digits: int = 0) -> float:
    """0 if there are no values."""
    return round(statistics.median(values), digits) if values else 0.0


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """(least, most, confidence) of an interval for the median, by order statistics: whatever the distribution.

    The narrowest whose confidence is at least the one asked for; with fewer than 6 values from the least to the most of
    them, with the confidence that this has.
    """
    ordered, count = sorted(values), len(values)
    best = (ordered[0], ordered[-1], 1 - 2 * 0.5**count)
    for rank in range(1, (count + 1) // 2):
        outside = 2 * sum(math.comb(count, below) for below in range(rank + 1)) / 2**count
        if 1 - outside < confidence:
            break
        best = (ordered[rank], ordered[-1 - rank], 1 - outside)
    return best
