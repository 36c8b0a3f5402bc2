"""What a bench reads off processes and makes of rounds: CPU, memory, percentiles, spread."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, to the nanosecond (proc(5), schedstat)."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def waited_seconds(pid: int) -> float:
    """Time that a process was ready to run and had no core: what its neighbours cost it."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[1])
    return total / 1e9


def stolen_seconds() -> float:
    """Time that the host of this virtual machine gave to others while a core of ours had work (proc(5), stat)."""
    return int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def percentile(values: Iterable[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def spread(values: list[float], digits: int = 2) -> dict[str, float | None]:
    """Median, least and most of the rounds."""
    if not values:
        return {"median": None, "min": None, "max": None}
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def median(values: list[float], digits: int = 0) -> float:
    return round(statistics.median(values), digits) if values else 0.0
