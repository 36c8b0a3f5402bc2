"""The lease on another cluster's calls, as a transceiver of the second region watches it. Pure: takes `now`.

The lease has run out when the watcher has seen no change for as long as it is long. 0.5 s later it may be taken, by
compare-and-swap on the revision that was seen: an owner that has renewed it meanwhile keeps it. So the time only says
when to try, and never who owns the calls.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from antiphon.schemas.messages import CopyLease
from antiphon.transceiver.copies.owned_lease import LEASE_SECONDS

TAKE_AFTER: Final = LEASE_SECONDS + 0.5
"""Seconds without a change."""
AGAIN_SECONDS: Final = 1.0
"""After a take that failed."""


class Take(NamedTuple):
    """Put this into the hub's bucket in the place of that revision; then adopt the copies of its generation."""

    lease: CopyLease
    revision: int


class WatchedLease:
    """One lease.

    Owner: `LeaseWatch`, for as long as the entry is there. Event loop only.
    """

    def __init__(self, holder: str, cluster: int) -> None:
        """`holder`, `cluster`: of this process."""
        self._holder, self._cluster = holder, cluster
        self._lease: CopyLease | None = None
        self._revision = 0
        self._seen_at = 0.0
        self._tried_at = float("-inf")

    def seen(self, lease: CopyLease, revision: int, now: float) -> None:
        """The entry holds this. The same revision again says nothing."""
        if revision > self._revision:
            self._lease, self._revision, self._seen_at = lease, revision, now

    @property
    def lease(self) -> CopyLease | None:
        return self._lease

    @property
    def is_taken(self) -> bool:
        """Its cluster's calls go on in another cluster."""
        return self._lease is not None and self._lease.holder_cluster != self._lease.cluster

    @property
    def is_done(self) -> bool:
        """Nothing will ever be adopted any more."""
        return self.is_taken and self._lease is not None and self._lease.adopted

    def is_due(self, now: float) -> bool:
        """Whether `due` has something to do."""
        lease = self._lease
        if lease is None or lease.withdrawn or self.is_done or now - self._seen_at < TAKE_AFTER:
            return False
        if self.is_taken and lease.holder_cluster != self._cluster:
            return False
        return now - self._tried_at >= AGAIN_SECONDS

    def due(self, now: float) -> Take | None:
        """Take it, if that is due.

        One that a process of our own cluster has taken, and that has died before it was done, is taken again.
        """
        lease = self._lease
        if lease is None or not self.is_due(now):
            return None
        self._tried_at = now
        ours = {"holder": self._holder, "holder_cluster": self._cluster, "number": lease.number + 1}
        return Take(lease.model_copy(update=ours), self._revision)
