"""Whether the far end of a connection still answers: when to ask it, and when to give it up. Sans-IO.

Time counts in ticks, each of them capped. A pause of our own process or of the whole machine is one long tick, and
so proves nothing against the far end.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

TICK_SECONDS: Final = 0.25
LONGEST_TICK: Final = 0.5
"""What one tick counts at most."""
PING_SECONDS: Final = 1.0
"""Between the answer to a ping, or the connection's begin, and the next ping."""
SILENT_SECONDS: Final = 3.0
"""Without one byte, while a ping waits for its answer: the connection is given up."""
DEAF_SECONDS: Final = 15.0
"""With bytes, but without the answer to a ping: nothing is understood any more, or our pings do not get out."""


class Verdict(Enum):
    WELL = "well"
    PING = "send a ping"
    SILENT = "no byte for 3 s"
    DEAF = "no answer to a ping for 15 s"


class Liveness:
    """Of one connection, made with it. `heard` and `answered` are told, `tick` is called every `TICK_SECONDS`."""

    def __init__(self) -> None:
        self._ticked: float | None = None
        self._silent = 0.0
        self._waiting: float | None = None
        """Since our ping; None: none is out."""
        self._rested = 0.0
        """Since the last ping was answered."""

    def heard(self) -> None:
        """Bytes came."""
        self._silent = 0.0

    def answered(self) -> None:
        """The answer to a ping came, ours or another one's."""
        self._silent = 0.0
        if self._waiting is not None:
            self._waiting, self._rested = None, 0.0

    def tick(self, now: float) -> Verdict:
        """What is to be done now. After PING the ping counts as sent."""
        passed = 0.0 if self._ticked is None else min(now - self._ticked, LONGEST_TICK)
        self._ticked = now
        self._silent += passed
        if self._waiting is None:
            self._rested += passed
            if self._rested < PING_SECONDS:
                return Verdict.WELL
            self._waiting = 0.0
            return Verdict.PING
        self._waiting += passed
        if self._silent >= SILENT_SECONDS:
            return Verdict.SILENT
        return Verdict.DEAF if self._waiting >= DEAF_SECONDS else Verdict.WELL
