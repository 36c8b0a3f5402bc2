"""The lease on another cluster's calls, as a transceiver of the second region watches it. Pure: takes its clocks.

In each register the lease has run out when the watcher has seen no change there for as long as it is long, and 0.5 s.
Only time in which the register answered counts: while it is away the owner can't renew either. When a majority has run
out it may be taken, in these registers only, and by the rules of `quorum_lease`: an owner that has renewed it meanwhile
keeps it. So the time only says when to try, and never who owns the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from antiphon.schemas.messages import CopyLease, LeaseRegister
from antiphon.transceiver.copies.owned_lease import LEASE_SECONDS
from antiphon.transceiver.copies.quorum_lease import Tag, tag_of

TAKE_AFTER: Final = LEASE_SECONDS + 0.5
"""Seconds without a change."""
DOUBT_AFTER: Final = 1.0
"""Seconds without a change, after which the registers are looked at more often."""
AGAIN_SECONDS: Final = 1.0
"""After a take that failed."""
LONGEST_STEP: Final = 1.5
"""Seconds between two answers of a register that count as time in which it answered."""


class AnsweringClock:
    """Counts the time in which a register answers. A value of its watch; `now` is a clock of the process."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._asked_at: float | None = None

    def answered(self, asked_at: float) -> None:
        """It has answered what was asked then."""
        if self._asked_at is not None and 0 <= asked_at - self._asked_at <= LONGEST_STEP:
            self.seconds += asked_at - self._asked_at
        self._asked_at = asked_at


class Take(NamedTuple):
    """Have these registers take the lease for us, unless it is newer than `number` by now."""

    only: frozenset[int]
    number: int
    holder: str
    holder_cluster: int

    def change(self, lease: CopyLease | None, number: int) -> CopyLease | None:
        """What is to be written in the place of what a majority holds; None: leave it."""
        if lease is None or lease.withdrawn or number > self.number or is_over(lease, self.holder_cluster):
            return None
        ours = {"holder": self.holder, "holder_cluster": self.holder_cluster, "number": lease.number + 1}
        return lease.model_copy(update=ours)


def is_over(lease: CopyLease, cluster: int) -> bool:
    """Nothing is left to be taken for this cluster."""
    return lease.holder_cluster != lease.cluster and (lease.adopted or lease.holder_cluster != cluster)


class _Seen(NamedTuple):
    tag: Tag
    lease: CopyLease
    at: float
    """By the clock of the register."""


class WatchedLease:
    """One lease.

    Owner: `LeaseWatch`, for as long as the entry is there. Event loop only.
    """

    def __init__(self, registers: int, holder: str, cluster: int) -> None:
        """`holder`, `cluster`: of this process."""
        self._majority = registers // 2 + 1
        self._holder, self._cluster = holder, cluster
        self._seen: dict[int, _Seen] = {}
        self._tried_at = float("-inf")

    def seen(self, index: int, entry: LeaseRegister, at: float) -> None:
        """The register holds this, `at` its clock. The same again says nothing."""
        tag, before = tag_of(entry), self._seen.get(index)
        if entry.lease is not None and (before is None or tag > before.tag):
            self._seen[index] = _Seen(tag, entry.lease, at)

    @property
    def lease(self) -> CopyLease | None:
        """The newest that any register holds."""
        return max(self._seen.values(), key=lambda seen: seen.tag).lease if self._seen else None

    @property
    def is_taken(self) -> bool:
        """Its cluster's calls go on in another cluster, or one is about to take them."""
        return self.lease is not None and self.lease.holder_cluster != self.lease.cluster

    @property
    def is_done(self) -> bool:
        """Nothing will ever be adopted any more."""
        return self.is_taken and self.lease is not None and self.lease.adopted

    def is_in_doubt(self, clocks: Sequence[float]) -> bool:
        """It has not changed for a while, and may be taken soon."""
        lease = self.lease
        if lease is None or lease.withdrawn or is_over(lease, self._cluster):
            return False
        return any(clocks[index] - seen.at >= DOUBT_AFTER for index, seen in self._seen.items())

    def is_due(self, clocks: Sequence[float], now: float) -> bool:
        """Whether `due` has something to do."""
        return now - self._tried_at >= AGAIN_SECONDS and self._take(clocks) is not None

    def due(self, clocks: Sequence[float], now: float) -> Take | None:
        """Take it, if that is due.

        One that a process of our own cluster has taken, and that has died before it was done, is taken again.
        """
        take = self._take(clocks) if now - self._tried_at >= AGAIN_SECONDS else None
        if take is not None:
            self._tried_at = now
        return take

    def failed(self, now: float) -> None:
        """The registers do not answer: later again."""
        self._tried_at = now

    def _take(self, clocks: Sequence[float]) -> Take | None:
        silent = {index: seen for index, seen in self._seen.items() if clocks[index] - seen.at >= TAKE_AFTER}
        if len(silent) < self._majority:
            return None
        newest = max(silent.values(), key=lambda seen: seen.tag)
        if newest.lease.withdrawn or is_over(newest.lease, self._cluster):
            return None  # withdrawn in a single register, too: its owner may have had an answer of a majority
        return Take(frozenset(silent), newest.tag.number, self._holder, self._cluster)
