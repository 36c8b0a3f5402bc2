"""Packets of unknown clients, which wait while the client's owner is looked up over NATS.

A load balancer, or a change in the number of workers, can move a running call to a relay that does not know it; the
call's next STUN request may be seconds away. So a few of its packets wait for the look-up. Everything is bounded,
because any host can send such packets; what does not fit is dropped.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PENDING_SECONDS: Final = 0.3
MAX_CLIENTS: Final = 256
MAX_PACKETS: Final = 16
"""Per client: what a call sends in `PENDING_SECONDS`."""
QUESTIONS_PER_SECOND: Final = 200.0
REMEMBERED: Final = 4096
ASK_AGAIN_SECONDS: Final = 1.0
"""A client without an owner is not looked up again so soon."""


def may_be_media(first_byte: int) -> bool:
    """DTLS, SRTP or SRTCP by their first byte (RFC 7983): nothing else is worth a look-up."""
    return 128 <= first_byte <= 191 or 20 <= first_byte <= 63


class _Waiting(NamedTuple):
    since: float
    datagrams: list[bytes]


class PendingPackets:
    """Waiting packets by client, and the look-ups that have not been asked for yet.

    Belongs to a worker's `RelayCore`, which alone calls it. When full, a new client's packets are not kept.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}  # oldest first
        self._asked: dict[int, float] = {}  # oldest first
        self._questions: list[int] = []
        self._allowance, self._counted = QUESTIONS_PER_SECOND, 0.0

    def add(self, client: int, datagram: bytes, now: float) -> bool:
        """Keep a packet, and have its client's owner looked up if that has not been done. False: it is not kept."""
        waiting = self._waiting.get(client)
        if waiting is None:
            if len(self._waiting) >= MAX_CLIENTS or not self._may_ask(client, now):
                return False
            waiting = self._waiting[client] = _Waiting(now, [])
            self._questions.append(client)
        if len(waiting.datagrams) >= MAX_PACKETS:
            return False
        waiting.datagrams.append(datagram)
        return True

    def _may_ask(self, client: int, now: float) -> bool:
        self._allowance = min(QUESTIONS_PER_SECOND, self._allowance + (now - self._counted) * QUESTIONS_PER_SECOND)
        self._counted = now
        if self._allowance < 1 or now - self._asked.get(client, float("-inf")) < ASK_AGAIN_SECONDS:
            return False
        self._allowance -= 1
        self._asked.pop(client, None)
        if len(self._asked) >= REMEMBERED:
            del self._asked[next(iter(self._asked))]
        self._asked[client] = now
        return True

    def questions(self) -> list[int]:
        """Clients whose owners are to be looked up now."""
        questions, self._questions = self._questions, []
        return questions

    def take(self, client: int) -> list[bytes]:
        """Remove and return the waiting packets of a client, in order."""
        waiting = self._waiting.pop(client, None)
        return waiting.datagrams if waiting is not None else []

    def clients(self) -> list[int]:
        """The clients whose packets wait."""
        return list(self._waiting)

    def expire(self, now: float) -> int:
        """Drop what waited too long; returns how many packets."""
        dropped = 0
        while self._waiting:
            client, waiting = next(iter(self._waiting.items()))
            if now - waiting.since < PENDING_SECONDS:
                break
            dropped += len(self.take(client))
        return dropped
