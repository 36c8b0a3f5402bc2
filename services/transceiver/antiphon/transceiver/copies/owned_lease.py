"""The lease on one transceiver's calls with copies, as its owner keeps it. Pure: takes `now`, says what to write.

The lease says who owns the calls, and which copies count: those with its generation, unless it says that they are
withdrawn. A majority of the hub's registers holds it, and it is replaced by compare-and-swap only. So of a withdrawal
and a take by the second region one comes first, and the other one fails:

    copies count      a counter is used after a copy that covers it was confirmed; while the lease has run out nothing
                      is sent
    withdrawn         no copy is ever adopted: counters need no confirmation, and calls need no lease
    lost              another process owns the calls

`now` is a clock that runs on while the machine is suspended, and is the same for all calls of one object.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from antiphon.schemas.messages import CopyLease
from antiphon.schemas.slot_moves import Identity

LEASE_SECONDS: Final = 2.0
"""How long a lease lasts. The owner counts from before it sent the renewal."""
RENEW_EVERY: Final = 0.5
KEPT_SENT: Final = 32
"""Renewals whose time of sending is remembered, for one whose answer was lost and that is read later."""


class Write(NamedTuple):
    """Give the hub's registers this, in the place of that number (0: where there is none). A value."""

    lease: CopyLease
    revision: int
    sent_at: float


class Copies(Enum):
    """What the lease says about the copies, as far as the hub has confirmed it."""

    COUNT = "count"
    WITHDRAWN = "withdrawn"
    LOST = "lost"


class OwnedLease:
    """One lease. At most one write is on its way: `due` -> `written`, `refused` or `unanswered`; then perhaps `read`.

    Owner: `LeaseKeeper`, for as long as the process has the endpoint. Event loop only.
    """

    def __init__(
        self, identity: Identity, holder: str, found: tuple[CopyLease, int] | None = None, generation: int = 0
    ) -> None:
        """`found`: the entry of a process of our cluster whose endpoint we have taken over, and its revision.

        `generation`: where there is no entry, above all that were ever used: the hub may have lost what it had.
        """
        self._identity = identity
        self._holder = holder
        self._generation = found[0].generation if found else generation
        self._number = found[0].number if found else 0
        self._revision = found[1] if found else 0
        self._created = found is not None
        self._confirmed_generation = self._generation
        self._counts = False
        """Copies count, as the hub has confirmed."""
        self._want_counts = False
        self._lost = False
        self._renewed_at = float("-inf")
        self._tried_at = float("-inf")
        self._in_flight: Write | None = None
        self._must_read = False
        self._sent_at: dict[int, float] = {}

    # ---- what follows from it ---------------------------------------------------------------------------

    @property
    def copies(self) -> Copies:
        if self._lost:
            return Copies.LOST
        return Copies.COUNT if self._counts else Copies.WITHDRAWN

    @property
    def generation(self) -> int:
        """Of copies that are made now; it means something while copies count."""
        return self._confirmed_generation

    def is_valid(self, now: float) -> bool:
        """Whether calls whose copies count may send."""
        return not self._lost and now - self._renewed_at < LEASE_SECONDS

    @property
    def settled(self) -> bool:
        """The hub has confirmed what was asked for last."""
        if self._lost:
            return True
        as_wanted = self._confirmed_generation == self._generation or not self._want_counts
        return self._created and self._counts == self._want_counts and as_wanted

    # ---- what is to be done -----------------------------------------------------------------------------

    def let_count(self) -> None:
        """Copies shall count from now on, under a new generation."""
        if not self._want_counts:
            self._want_counts = True
            self._generation += 1

    def withdraw(self) -> None:
        """No copy shall count. It holds once `copies` says so, not before."""
        self._want_counts = False

    def due(self, now: float) -> Write | None:
        """What to write now, if anything; one of `written`, `refused` and `unanswered` has to follow."""
        if not self.due_at(now):
            return None
        self._number += 1
        self._tried_at = now
        self._sent_at[self._number] = now
        while len(self._sent_at) > KEPT_SENT:
            del self._sent_at[next(iter(self._sent_at))]
        cluster, slot, epoch = self._identity
        lease = CopyLease(
            cluster=cluster,
            slot=slot,
            epoch=epoch,
            holder=self._holder,
            holder_cluster=cluster,
            generation=self._generation,
            # The first one is withdrawn and never taken: so an owner without an answer may make it once more.
            withdrawn=not self._want_counts or not self._created,
            number=self._number,
        )
        self._in_flight = Write(lease, self._revision, now)
        return self._in_flight

    def due_at(self, now: float) -> bool:
        """Whether `due` has something to write."""
        if self._lost or self._in_flight is not None or self._must_read:
            return False
        return not self.settled or now - self._tried_at >= RENEW_EVERY

    @property
    def must_read(self) -> bool:
        """Read the entry, and call `read`: another revision than ours is there, or no answer has come."""
        return self._must_read

    # ---- what the hub has answered ----------------------------------------------------------------------

    def written(self, write: Write, revision: int) -> None:
        """The hub has taken it."""
        self._in_flight = None
        self._take(write.lease, revision)

    def refused(self, write: Write) -> None:
        """Another revision is there: `read` it."""
        self._in_flight = None
        self._must_read = True

    def unanswered(self, write: Write) -> None:
        """No answer: the hub may have taken it, or may take it later."""
        self._in_flight = None
        self._must_read = True

    def read(self, found: tuple[CopyLease, int] | None, now: float) -> None:
        """What the entry holds; None: there is none.

        A missing entry is made anew only while the lease is valid: no other process can have taken it by then, and
        none can take an entry that is not there.
        """
        self._must_read = False
        if found is None:
            if self._created and not self.is_valid(now):
                self._lost = True
            self._revision = 0
            return
        lease, revision = found
        if lease.holder != self._holder:
            self._lost = True
            return
        self._take(lease, revision)

    def _take(self, lease: CopyLease, revision: int) -> None:
        self._created = True
        self._revision = revision
        self._confirmed_generation, self._counts = lease.generation, not lease.withdrawn
        self._renewed_at = max(self._renewed_at, self._sent_at.get(lease.number, float("-inf")))
