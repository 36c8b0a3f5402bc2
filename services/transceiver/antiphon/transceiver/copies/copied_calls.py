"""Which calls of one lease may send, and which of their checkpoints need a copy. Pure: takes `now`.

A call is bound to the lease from its first copy of the generation that counts. From then on it sends only while the
lease is valid, and uses only counters that a confirmed copy covers. A withdrawal frees it; a new generation binds it
again, with its next copy.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from antiphon.transceiver.copies.owned_lease import Copies, OwnedLease

WITHDRAW_AFTER: Final = 3.0
"""Seconds for which the second region has confirmed nothing, though it was asked: the copies are withdrawn. A confirmed
block holds 40 s of speech, so no media waits; what the client sends on its data channel is acknowledged only then."""
LOOK_AGAIN: Final = 2.0
"""Seconds between two looks whether the second region answers again."""


class Numbered(NamedTuple):
    """Says of a copy which one it is."""

    generation: int
    number: int


class CopiedCalls:
    """The calls of one endpoint that have copies, or shall have them.

    Owner: `LeaseKeeper`, with the lease. Event loop only. Bounded by the sessions of the process.
    """

    def __init__(self, lease: OwnedLease) -> None:
        self.lease = lease
        self._bound: dict[str, int] = {}
        """Session id -> generation of its newest copy, from before that was sent."""
        self._number = 0
        self._unanswered_since: float | None = None

    def next_copy(self, session_id: str, now: float) -> Numbered | None:
        """A checkpoint is being written: how its copy is numbered. None: it needs none, for copies do not count now."""
        if self.lease.copies is not Copies.COUNT:
            return None
        self._number += 1
        self._bound[session_id] = self.lease.generation
        if self._unanswered_since is None:
            self._unanswered_since = now
        return Numbered(self.lease.generation, self._number)

    def is_needed(self, copy: Numbered) -> bool:
        """Whether a checkpoint with this copy may count only when the copy is confirmed.

        False: copies were withdrawn meanwhile, and the hub has confirmed that.
        """
        return self.lease.copies is not Copies.WITHDRAWN and copy.generation == self.lease.generation

    def answered(self) -> None:
        """The second region has confirmed a copy, whichever."""
        self._unanswered_since = None

    def is_lost_sight_of(self, now: float) -> bool:
        """The second region confirms nothing any more: withdraw the copies."""
        since = self._unanswered_since
        return since is not None and now - since > WITHDRAW_AFTER and self.lease.copies is Copies.COUNT

    def may_send(self, session_id: str, now: float) -> bool:
        """Asked before anything is sent for the call."""
        lease = self.lease
        if self._bound.get(session_id) != lease.generation:
            return True
        match lease.copies:
            case Copies.COUNT:
                return lease.is_valid(now)
            case Copies.WITHDRAWN:
                return True
            case Copies.LOST:
                return False

    def bound(self) -> list[str]:
        """The calls that need the lease: all of them go on elsewhere once it is lost."""
        if self.lease.copies is Copies.WITHDRAWN:
            return []
        return [session_id for session_id, generation in self._bound.items() if generation == self.lease.generation]

    def forget(self, session_id: str) -> Numbered | None:
        """The call is over here; how to number the request to drop its copy, if it may have one that counts."""
        generation = self._bound.pop(session_id, None)
        if generation is None or generation != self.lease.generation or self.lease.copies is not Copies.COUNT:
            return None
        self._number += 1
        return Numbered(generation, self._number)

    def withdrawn(self) -> None:
        """The copies were withdrawn: nothing is waited for any more."""
        self._unanswered_since = None
