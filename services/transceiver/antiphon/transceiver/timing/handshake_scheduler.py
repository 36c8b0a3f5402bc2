"""Limits the time for DTLS handshakes, so that many joins at once do not make running calls late. Sans-IO.

A step of a handshake costs 0.5-2 ms of OpenSSL, a hundred times as much as a media packet: forty clients that join at
once would block the loop for 100-280 ms. Steps draw on a budget. A short burst is free, so that a single call is set up
without a wait; beyond it steps run one per iteration of the loop, for `SHARE` of the time at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.35
"""Share of one core that handshakes may take."""
BURST: Final = 0.004
"""Seconds of OpenSSL at once before a step has to wait: as late may a frame of a running call be."""
MAX_WAITING: Final = 1024
"""Steps that wait; one more is dropped. A DTLS client retransmits what is not answered."""
_WEIGHT: Final = 0.1
"""Of one step in what steps take."""

Step = Callable[[float], None]


class HandshakeQueue:
    """The steps that wait for their turn, first in, first out.

    Owner: the `Scheduler`, which asks when the next step is `due` and calls `run`, on the event loop. A step may add
    others.
    """

    def __init__(self, now: float, clock: Callable[[], float]) -> None:
        self.dropped = 0
        self._clock = clock
        self._waiting: deque[Step] = deque()
        self._credit = BURST
        self._filled_at = now
        self._step_seconds = 0.0
        """What a step takes, of the last ones."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, step: Step, now: float) -> None:
        """Run the step now if there is credit and no other waits; else in its turn."""
        self._fill(now)
        if not self._waiting and self._credit > 0:
            self._run(step, now)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(step)
        else:
            self.dropped += 1

    def seconds(self, now: float) -> float:
        """How long a step that came now would wait."""
        self._fill(now)
        return (max(0.0, -self._credit) + len(self._waiting) * self._step_seconds) / SHARE

    def due(self) -> float | None:
        """When the next step may run; None if none waits."""
        if not self._waiting:
            return None
        return self._filled_at + max(0.0, -self._credit / SHARE)

    def run(self, now: float) -> None:
        """Run one step if its time has come."""
        self._fill(now)
        if self._waiting and self._credit >= -1e-6:
            self._run(self._waiting.popleft(), now)

    def _run(self, step: Step, now: float) -> None:
        began = self._clock()
        step(now)
        took = self._clock() - began
        self._credit -= took
        self._step_seconds += (took - self._step_seconds) * (_WEIGHT if self._step_seconds else 1)

    def _fill(self, now: float) -> None:
        self._credit = min(BURST, self._credit + max(0.0, now - self._filled_at) * SHARE)
        self._filled_at = max(now, self._filled_at)
