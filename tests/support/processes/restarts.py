"""When a relay of `antiphon up` was killed, when the next one forwarded, and what a client counted meanwhile."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from pathlib import Path
from typing import NamedTuple

from support.conditions import wait_until
from support.processes.stack import Stack

FORWARDS = re.compile(r"worker 0 forwards by the \w+ loop, (\d+) ms after its start")


class Restart(NamedTuple):
    """Unix times of one kill -9 and of what came after it."""

    killed: float
    forwards: float
    """The replacement's worker is in its packet loop."""

    def gap_in(self, arrivals: list[float]) -> float:
        """The longest time without a packet from the kill on, of those when the client received something."""
        return max(later - earlier for earlier, later in itertools.pairwise(arrivals) if later > self.killed)

    def gap_beyond_start(self, arrivals: list[float]) -> float:
        """That gap, without the time in which there was no relay that could forward anything."""
        return self.gap_in(arrivals) - (self.forwards - self.killed)


def kill_relay(stack: Stack) -> Restart:
    """As a power cut would; returns when `antiphon up` has started another one and that one forwards."""
    killed_pid = stack.pid_of("relay")
    said = len(stack.lines)
    killed = time.time()
    os.kill(killed_pid, signal.SIGKILL)
    wait_until(lambda: _ready_after(stack, said) is not None, 30)
    after = _ready_after(stack, said)
    assert after is not None
    return Restart(killed, _started_at(stack.pid_of("relay")) + after)


def _ready_after(stack: Stack, said: int) -> float | None:
    """Seconds from the replacement's start to its packet loop, as it says itself."""
    found = (FORWARDS.search(line) for line in stack.lines[said:] if line.startswith("relay "))
    return next((int(match[1]) / 1000 for match in found if match), None)


def _started_at(pid: int) -> float:
    """Unix time at which a process began."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
