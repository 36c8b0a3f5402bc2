"""How many events one call's client may send, and how many bytes of them. Sans-IO: takes `now`.

Two token buckets. Each event costs the event loop that all calls share up to some milliseconds, so the rate is what a
person with a program makes, and the burst what a program sends at once: a `session.update`, the whole of an earlier
conversation as items (`MAX_ITEMS` are kept of it), outputs of functions, a `response.create`. Events above that are
dropped; the client is told once a second, and a client that does not slow down is hung up.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from antiphon.inference_bridge.realtime_protocol.conversation import MAX_ITEMS

RATE: Final = 20.0
"""Events a second."""
BURST: Final = MAX_ITEMS + 100
"""Events at once: a full conversation, and what comes with it."""
BYTE_RATE: Final = 128 * 1024.0
"""Bytes a second. An event of 256 KiB with 10,000 values takes some 5 ms to read."""
BYTE_BURST: Final = 4 * 1024 * 1024
"""Bytes at once: twice what a conversation keeps, and more than two hundred items of the largest function output."""
ERROR_SECONDS: Final = 1.0
"""Between two errors about events that are dropped."""
PATIENCE_SECONDS: Final = 10.0
"""After so long above the limit the call ends. A pause of `CALM_SECONDS` without a dropped event begins it anew."""
CALM_SECONDS: Final = 2.0
MAX_DROPPED: Final = 20_000
"""Dropped events after which the call ends in any case."""


class Verdict(Enum):
    """What happens to an event."""

    TAKE = auto()
    DROP = auto()
    REPORT = auto()
    """Drop it, and tell the client."""
    END = auto()
    """Drop it, and end the call: the client does not slow down. Said once."""


class EventBudget:
    """The budget of one call's client.

    Owned by the call's session, for as long as the call; used on the event loop.
    """

    def __init__(self, now: float) -> None:
        """`now`: `time.monotonic()`, here as in `spend`."""
        self.dropped = 0
        """Events of this call that were not carried out."""
        self._events, self._bytes = float(BURST), float(BYTE_BURST)
        self._filled = now
        self._reported = self._dropped_at = now - CALM_SECONDS - PATIENCE_SECONDS
        self._above_since = now
        self._ended = False

    def spend(self, size: int, now: float, answers_wait: bool = False) -> Verdict:
        """An event of `size` bytes has come. `answers_wait`: too much goes to this client, so its event is dropped."""
        passed, self._filled = max(0.0, now - self._filled), now
        self._events = min(float(BURST), self._events + passed * RATE)
        self._bytes = min(float(BYTE_BURST), self._bytes + passed * BYTE_RATE)
        if self._events >= 1 and self._bytes >= size and not answers_wait:
            self._events -= 1
            self._bytes -= size
            return Verdict.TAKE
        self.dropped += 1
        if now - self._dropped_at > CALM_SECONDS:
            self._above_since = now
        self._dropped_at = now
        if self._ended:
            return Verdict.DROP
        if now - self._above_since >= PATIENCE_SECONDS or self.dropped >= MAX_DROPPED:
            self._ended = True
            return Verdict.END
        if now - self._reported >= ERROR_SECONDS:
            self._reported = now
            return Verdict.REPORT
        return Verdict.DROP

    def give_back(self, size: int) -> None:
        """What was spent on a message that is no event."""
        self._events, self._bytes = min(float(BURST), self._events + 1), min(float(BYTE_BURST), self._bytes + size)
