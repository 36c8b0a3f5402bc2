"""How many packets of one client a session takes. Sans-IO.

One client's packets cost the calls beside it time, if it is authentic and there are too many: refusing a forged packet
costs a few microseconds, taking a real one up to half a millisecond. So a budget is asked before anything is decrypted,
and only what proves to be authentic draws on it: packets that others send in a client's name cost that client nothing.

The budget is the session's, whichever addresses, relays, SSRCs and ICE credentials its packets use. What goes beyond it
is dropped unread and counted; a client that goes on for `STRIKES` of `WINDOW` seconds ends its call.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple


class Limit(NamedTuple):
    """A budget for one kind of packet."""

    rate: float
    """Packets per second."""
    burst: float
    """Packets at once."""
    tolerated: float
    """Packets dropped within a second that make it a strike."""


MEDIA: Final = Limit(420, 600, 42)
"""SRTP and SRTCP. Opus of 2.5 ms is 400 a second. What waited for 5 s, in the client or in our socket while this
process stood still, is 250 packets of 20 ms or 500 of 10 ms."""
REPORT_BYTES: Final = 40
"""Of an RTCP packet, for which it counts as one more: reading costs up to 0.2 ms where it is full of requests, so 600
at once would hold up all calls for 0.1 s. A browser's are 50 to 100 bytes, a few a second."""
RECORDS: Final = Limit(600, 600, 600)
"""DTLS records. The SCTP association takes 500 packets a second, and lets 256 wait: a sender that fills its window
stays below. The acknowledgements of a fast download may not, so it takes twice as many to make a strike."""
CHECKS: Final = Limit(50, 100, 50)
"""Authentic connectivity checks: a browser makes 20 a second while it looks for a path, then one in 2.5 s."""
HANDSHAKE: Final = Limit(20, 64, float("inf"))
"""Datagrams of the handshake, which are not authentic yet: a handshake has 5, each some milliseconds of OpenSSL's."""
STRIKES: Final = 10
WINDOW: Final = 15
"""Seconds."""


class Meter:
    """The budget for one kind of packet. Owner: a `PacketBudget`.

    A token bucket that keeps one number, the time at which it will be full again. It is asked for each packet: as a
    `TokenBucket` it cost 0.6 us of each, so it costs 0.2.
    """

    __slots__ = ("_before", "_full_at", "_interval", "_over", "_room", "_second", "_tolerated", "dropped")

    def __init__(self, limit: Limit, over: deque[int]) -> None:
        """`over` gets the seconds in which more was dropped than is tolerated."""
        self.dropped = 0
        self._interval = 1 / limit.rate
        self._room = (limit.burst - 0.5) / limit.rate  # half a packet for rounding
        self._full_at = float("-inf")
        self._tolerated = limit.tolerated
        self._over = over
        self._second, self._before = 0, 0

    def admits(self, now: float) -> bool:
        """Whether one more packet is taken; else it is counted as dropped."""
        if self._full_at < now:
            self._full_at = now
        elif self._full_at - now > self._room:
            self.drop(now)
            return False
        return True

    def spend(self, packets: int) -> None:
        """A datagram that was admitted held so many authentic packets."""
        self._full_at += packets * self._interval

    def drop(self, now: float) -> None:
        """Count a packet that is not taken."""
        self.dropped += 1
        second = int(now)
        if second != self._second:
            self._second, self._before = second, self.dropped - 1
        if self.dropped - self._before >= self._tolerated and (not self._over or self._over[-1] != second):
            self._over.append(second)


class PacketBudget:
    """What one client may send.

    Owner: the `Session`, from its start to its end; event loop only. The process that takes the session over continues
    with the same number of strikes.
    """

    def __init__(self, strikes: int = 0, now: float = 0.0) -> None:
        """`strikes`: of the process that had the session before, taken for as young as `now`."""
        self._over: deque[int] = deque([int(now)] * strikes, maxlen=STRIKES)
        self.media = Meter(MEDIA, self._over)
        self.records = Meter(RECORDS, self._over)
        self.checks = Meter(CHECKS, self._over)
        self.handshake = Meter(HANDSHAKE, self._over)

    @property
    def dropped(self) -> int:
        """Packets beyond the budget, of all kinds."""
        return self.media.dropped + self.records.dropped + self.checks.dropped + self.handshake.dropped

    def strikes(self, now: float) -> int:
        """Seconds of the last `WINDOW` in which far more came than is taken."""
        while self._over and self._over[0] <= now - WINDOW:
            self._over.popleft()
        return len(self._over)

    def is_overdrawn(self, now: float) -> bool:
        """The client has been beyond its budget for too long: its call ends."""
        return bool(self._over) and self.strikes(now) >= STRIKES
