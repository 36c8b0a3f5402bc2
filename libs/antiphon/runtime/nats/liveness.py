"""Whether the server of a connection still answers: when to send a ping, and when the connection is dead. Sans-IO.

Time counts in ticks, each of them capped. A pause of our own process or of the whole machine is one long tick, and
so proves nothing against the server.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

TICK_SECONDS: Final = 0.25
LONGEST_TICK: Final = 0.5
"""Seconds that one tick counts at most."""
PING_SECONDS: Final = 1.0
"""Seconds from the answer to a ping, or from the start of the connection, to the next ping."""
SILENT_SECONDS: Final = 3.0
"""Seconds without a byte, while a ping waits for its answer, after which the connection is dead."""
PONG_SECONDS: Final = 15.0
"""Seconds without the answer to a ping, though bytes come, after which the connection is dead: our pings do not get
out, or the answers are not recognised."""


class Patience(NamedTuple):
    """How soon a server counts as silent. A value."""

    ping_seconds: float
    silent_seconds: float


HUB_PATIENCE: Final = Patience(0.5, 1.0)
"""A lease of the hub lasts 2 s: a client whose server of the hub stands still has to ask another one within it."""


class Verdict(Enum):
    """What the client does after a tick. The values are for logs."""

    ALIVE = "alive"
    PING = "send a ping"
    SILENT = "no byte for seconds"
    NO_PONG = "no answer to a ping for 15 s"


class Liveness:
    """The state of one connection. Owned by its `BusClient`, which makes a new one with each connection.

    The client reports `bytes_received` and `pong_received`, and calls `tick` every `TICK_SECONDS`; all on its loop.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        """`patience`: for a server of the hub; None: `PING_SECONDS` and `SILENT_SECONDS`."""
        self._patience = patience or Patience(PING_SECONDS, SILENT_SECONDS)
        self._ticked: float | None = None
        self._silent = 0.0
        self._waiting: float | None = None
        """Seconds since our ping; None: no ping waits for its answer."""
        self._rested = 0.0
        """Seconds since the last answer to a ping."""

    def bytes_received(self) -> None:
        """The server has sent something."""
        self._silent = 0.0

    def pong_received(self) -> None:
        """The server has answered a ping, of `Liveness` or of a flush."""
        self._silent = 0.0
        if self._waiting is not None:
            self._waiting, self._rested = None, 0.0

    def tick(self, now: float) -> Verdict:
        """What the client has to do now. After PING the ping counts as sent."""
        passed = 0.0 if self._ticked is None else min(now - self._ticked, LONGEST_TICK)
        self._ticked = now
        self._silent += passed
        if self._waiting is None:
            self._rested += passed
            if self._rested < self._patience.ping_seconds:
                return Verdict.ALIVE
            self._waiting = 0.0
            return Verdict.PING
        self._waiting += passed
        if self._silent >= self._patience.silent_seconds:
            return Verdict.SILENT
        return Verdict.NO_PONG if self._waiting >= PONG_SECONDS else Verdict.ALIVE
