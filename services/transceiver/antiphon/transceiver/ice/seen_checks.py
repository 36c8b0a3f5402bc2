"""Which connectivity checks a session has had, so that one which was overheard is of no use to its observer. Sans-IO.

A client draws a new transaction id for each check. The same id may come again from the same address for a while: the
client repeats a request whose answer it misses (RFC 8489 section 6.2.1). Anything else is a replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

REPEATS_SECONDS: Final = 40.0
"""A client repeats a request for at most 39.5 s (RFC 8489 section 6.2.1: 79 times the RTO of 500 ms)."""
MAX_REPEATS: Final = 7
"""Transmissions of one request (`Rc` of the same section)."""
MAX_RECENT: Final = 256
"""Checks whose repetitions are answered; of older ones above that, none are. 40 s of a browser have 20 to 120."""
FILTER_BYTES: Final = 2048
FILTER_CHECKS: Final = 1024
"""Checks in a filter, of which there are two: the last 1024 to 2048 checks are known, 20 minutes to a day of a call. A
new id is taken for a known one with a chance of 1 in 400 at most: that check gets no answer, and the next one does."""

Verdict = Literal["new", "repeated", "replayed"]


class SeenChecks:
    """The transaction ids of a session's authentic checks.

    Owner: the `IceLite` of the session; event loop only. Policy when full: the older filter is dropped, and checks that
    are older than all in the other one can be replayed. Such a replay moves the path at most for as many bytes as it
    has itself (`IceLite.may_send`), and until the client's next packet.
    """

    def __init__(self, filters: Sequence[bytes] = ()) -> None:
        """`filters`: what `export` returned in the process that had the session before."""
        older, newer = filters if len(filters) == 2 else (b"", b"")
        self._older = older if len(older) == FILTER_BYTES else b""
        self._newer = bytearray(newer if len(newer) == FILTER_BYTES else FILTER_BYTES)
        # How many ids a filter of another process holds follows from its bits: each id sets four.
        self._count = int.from_bytes(self._newer, "big").bit_count() // 4
        self._recent: dict[bytes, tuple[bytes, float, int]] = {}

    def judge(self, transaction_id: bytes, header: bytes, now: float) -> Verdict:
        """An authentic check came from this address; `header` names that."""
        recent = self._recent.get(transaction_id)
        if recent is not None:
            first_from, at, times = recent
            if first_from != header or now - at > REPEATS_SECONDS or times >= MAX_REPEATS:
                return "replayed"
            self._recent[transaction_id] = first_from, at, times + 1
            return "repeated"
        bits = _bits(transaction_id)
        if _has_all(self._newer, bits) or (self._older and _has_all(self._older, bits)):
            return "replayed"
        self._note(transaction_id, header, bits, now)
        return "new"

    def export(self) -> list[bytes]:
        """For the next process. It answers no repetitions of these: it gets neither their addresses nor their times."""
        return [bytes(self._older), bytes(self._newer)]

    def _note(self, transaction_id: bytes, header: bytes, bits: list[int], now: float) -> None:
        if self._count >= FILTER_CHECKS:
            self._older, self._newer, self._count = bytes(self._newer), bytearray(FILTER_BYTES), 0
        self._count += 1
        for bit in bits:
            self._newer[bit >> 3] |= 1 << (bit & 7)
        while self._recent:
            oldest = next(iter(self._recent))
            if len(self._recent) < MAX_RECENT and now - self._recent[oldest][1] <= REPEATS_SECONDS:
                break
            del self._recent[oldest]
        self._recent[transaction_id] = header, now, 1


def _bits(transaction_id: bytes) -> list[int]:
    """The four bits of an id in a filter. Ids are random, or their client harms itself: no hash is needed."""
    return [int.from_bytes(transaction_id[at : at + 3], "big") % (FILTER_BYTES * 8) for at in (0, 3, 6, 9)]


def _has_all(filter_: bytes | bytearray, bits: list[int]) -> bool:
    return all(filter_[bit >> 3] & 1 << (bit & 7) for bit in bits)
