"""What the kernel counts of processes and of this machine (proc(5)): CPU, waiting, stolen time, memory, children."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, to the nanosecond (schedstat)."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def user_and_kernel_seconds(pid: int) -> tuple[float, float]:
    """The same by mode, to the tick of 10 ms (stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / _TICKS_PER_SECOND, int(fields[12]) / _TICKS_PER_SECOND


def waited_seconds(pid: int) -> float:
    """Time that a process was ready to run and had no core: what its neighbours cost it."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[1])
    return total / 1e9


def stolen_seconds() -> float:
    """Time that the host of this virtual machine gave to others while a core of ours had work (stat)."""
    return int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / _TICKS_PER_SECOND


def resident_mb(pid: int) -> float:
    """Memory of a process that is in RAM, in 10^6 octets."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def children(pid: int) -> list[int]:
    """The process ids of its direct children, the eldest first."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
