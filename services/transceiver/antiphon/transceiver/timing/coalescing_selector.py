"""A selector that wakes the loop for every packet while it has time, and every 5 ms under load.

Between two wakeups the caches lose Python's code and data, so a frame alone costs twice as much as one among others.
While the loop is busy for more than a fifth of the time, packets that arrive within a window (`pacing`) are handled
together. Sockets then wait 2.5 ms longer on average. Timers stay on time, because a window ends when the next timer is
due: nearly always the timing wheel's, which visits whole ticks while `coalescing` is true.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Final

from antiphon.transceiver.timing.pacing import COALESCE_ABOVE, COALESCE_UNTIL, COALESCING_WINDOW

MEASURED: Final = 0.25
"""Seconds over which the busy share is measured."""


class CoalescingSelector(selectors.DefaultSelector):
    """The selector of an asyncio loop, which owns it and calls it from its own thread, until the loop is closed."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        super().__init__()
        self.coalescing = False
        """The loop is busy: wakeups are coalesced."""
        self._clock, self._sleep = clock, sleep
        self._woken = self._window_began = self._since = clock()
        """When the loop was woken last, when the current window began, and when the current measurement began."""
        self._worked = 0.0
        """Seconds of the current measurement in which the loop was busy."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As the selector's own; under load it returns at the end of the window or at the loop's next timer."""
        now = self._clock()
        self._worked += now - self._woken
        measured = now - self._since
        if measured >= MEASURED:
            self.coalescing = self._worked > measured * COALESCE_ABOVE * (COALESCE_UNTIL if self.coalescing else 1)
            self._since, self._worked = now, 0.0
        waits = timeout is None or timeout > 0
        if self.coalescing and waits:
            rest = self._window_began + COALESCING_WINDOW - now
            if timeout is not None and timeout < rest:
                rest = timeout
            if rest > 0:
                self._sleep(rest)
                timeout = None if timeout is None else max(0.0, timeout - rest)
        ready = super().select(timeout)
        self._woken = self._clock()
        if waits:
            self._window_began = self._woken
        return ready
