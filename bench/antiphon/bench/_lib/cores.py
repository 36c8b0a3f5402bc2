"""Which core measures what: the one under test has a core for itself where there are two."""

from __future__ import annotations

import os


def cores() -> tuple[int, int]:
    """(core of what is measured, core of everything else); the same one if this process may use only one."""
    available = sorted(os.sched_getaffinity(0))
    return available[-1], available[0]
