"""A network between two sans-IO ends, in virtual time: seeded, so that a failure can be run again.

`Link` decides what becomes of each packet; `run_virtual` runs coroutines on a clock that jumps from timer to
timer, so that an hour of a call takes as long as its computations.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Conditions:
    """What a path does to packets. Times in seconds."""

    loss: float = 0.0
    """Share of packets that are lost."""
    burst: float = 1.0
    """Mean number of packets lost in a row (Gilbert's model); 1 for independent losses."""
    delay: float = 0.020
    jitter: float = 0.0
    """Each packet is up to this much later than `delay`, evenly spread; packets may so overtake each other."""
    duplicate: float = 0.0


class Link:
    """One direction of a path."""

    def __init__(self, conditions: Conditions, seed: int) -> None:
        self.conditions = conditions
        self.lost = 0
        self.stalls: list[tuple[float, float]] = []
        """From when until when nothing arrives: what was sent meanwhile arrives at the end of it, all at once."""
        self._random = random.Random(seed)
        self._bad = False

    def arrivals(self, now: float) -> list[float]:
        """When a packet sent `now` arrives: never, once, or twice."""
        if self._is_lost():
            self.lost += 1
            return []
        copies = 2 if self._random.random() < self.conditions.duplicate else 1
        return [
            self._past_stalls(now + self.conditions.delay + self._random.random() * self.conditions.jitter)
            for _ in range(copies)
        ]

    def _past_stalls(self, arrival: float) -> float:
        # Apart by a millionth of what they were: timers of the same moment run in any order.
        return next(
            (end + (arrival - begin) / 1_000_000 for begin, end in self.stalls if begin <= arrival < end), arrival
        )

    def _is_lost(self) -> bool:
        loss, burst = self.conditions.loss, self.conditions.burst
        if burst <= 1:
            return self._random.random() < loss
        if self._bad:
            self._bad = self._random.random() >= 1 / burst
        else:
            self._bad = self._random.random() < loss / (1 - loss) / burst
        return self._bad


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait: it moves the clock to where the next timer is due."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events and timeout is None:
            raise RuntimeError("nothing will ever happen: no timer and no callback is left")
        if not events and timeout:
            self.loop.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while it has nothing to do."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual_loop() -> VirtualLoop:
    """The loop of the running test."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
