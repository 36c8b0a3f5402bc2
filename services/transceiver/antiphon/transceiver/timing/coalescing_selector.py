"""How often the process wakes up: for every packet while it has time, every 2 ms under load.

Woken for a single packet, Python runs its way through code and data that the caches have lost meanwhile: a frame
costs twice what it does among others. So while the loop is busy for more than half of the time, what comes
within a pulse is taken up together. Sockets wait 1 ms longer on average; timers are on time, because a pulse ends
when the next one is due. Nothing else of the process knows of this.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Final

from antiphon.transceiver.timing.pacing import COALESCE_ABOVE, COALESCING_WINDOW

MEASURED: Final = 0.25
"""Seconds over which the share is taken."""


class CoalescingSelector(selectors.DefaultSelector):
    """The selector of an asyncio loop."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        super().__init__()
        self.coalescing = False
        """The loop is busy: it waits for company."""
        self._clock, self._sleep = clock, sleep
        self._woken = self._window_began = self._since = clock()
        """When the loop went to work last, when it had waited for that, and when the current measurement began."""
        self._worked = 0.0
        """Seconds of the current measurement in which the loop was at work."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As the selector's own; under load not before the next pulse, or the loop's next timer."""
        now = self._clock()
        self._worked += now - self._woken
        measured = now - self._since
        if measured >= MEASURED:
            self.coalescing = self._worked > measured * (COALESCE_ABOVE * 0.8 if self.coalescing else COALESCE_ABOVE)
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
