"""What to do about the endpoint of a process that has died. Pure: tables, checkpoints and loads in, a plan out.

the process is dead    -> Leave, or Take: claim its endpoint and read its checkpoints
checkpoints were read  -> Adopt: some of them here, some in other processes; then they are read again
                       -> Leave: none is left, or no process has taken those that are
we have just started   -> Rescan: look for endpoints of dead processes later; then Take for each
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from antiphon.schemas import messages
from antiphon.transceiver.failover.checkpoint_bucket import Found
from antiphon.transceiver.failover.distribution import Load, shares
from antiphon.transceiver.net.endpoint import TransceiverIdentity

ORPHANS_AFTER: Final = 5.5
"""Seconds from our start after which a process that has checkpoints and has announced nothing is dead."""
PASSES: Final = 3
"""Readings of an endpoint's checkpoints: a process that was taken for dead may write until it hears of us."""


class Take(NamedTuple):
    """Claim this endpoint, and read its checkpoints."""

    identity: TransceiverIdentity


class Share(NamedTuple):
    """Ask this process to adopt these sessions."""

    peer: messages.TransceiverAnnouncement
    sessions: list[str]


class Adopt(NamedTuple):
    """Adopt these checkpoints here, and ask others for theirs, at the same time."""

    here: list[Found]
    elsewhere: list[Share]


class Leave(NamedTuple):
    """Do nothing more. `unplaced` could not be taken over by any process: these sessions end."""

    reason: str
    unplaced: list[Found]


class Rescan(NamedTuple):
    """Look again at this time of the loop's clock."""

    at: float


class TakeoverPlanner:
    """The plan for one endpoint of a dead process.

    Owner: `Takeover`, for the time of one takeover.
    """

    def __init__(self, identity: TransceiverIdentity) -> None:
        self._identity = identity
        self._passes = 0

    def process_died(self, own: Load, peers: Sequence[messages.TransceiverAnnouncement]) -> Take | Leave:
        """The failure detector reports the process of the endpoint. Another process may take it as well."""
        if not own.capacity:
            return Leave("this process is about to end", [])
        if max(own.room, *(_load(peer).room for peer in peers), 0) <= 0:
            return Leave("no process has room", [])
        return Take(self._identity)

    def checkpoints_read(
        self,
        found: Sequence[Found],
        here: Collection[str],
        own: Load,
        peers: Sequence[messages.TransceiverAnnouncement],
    ) -> Adopt | Leave:
        """`found` is in the bucket now; the sessions `here` were adopted by us already.

        Sessions that were written last come first. In the last pass all are ours: what no other process has taken, or
        has failed to take.
        """
        left = [each for each in found if each.state.session_id not in here]
        if self._passes and not left:
            return Leave("all sessions are taken over", [])
        if self._passes == PASSES:
            return Leave("no process has taken them", left)
        self._passes += 1
        asked = peers if self._passes < PASSES else ()
        waiting = sorted(left, key=lambda each: each.state.written_at, reverse=True)
        ours, *theirs = shares(len(waiting), own, [_load(peer) for peer in asked])
        plan = Adopt(waiting[:ours], [])
        waiting = waiting[ours:]
        for peer, count in zip(asked, theirs, strict=True):
            part, waiting = waiting[:count], waiting[count:]
            if part:
                plan.elsewhere.append(Share(peer, [each.state.session_id for each in part]))
        return plan


def orphans(
    started_at: float,
    now: float,
    stored: Collection[TransceiverIdentity],
    known: Collection[TransceiverIdentity],
) -> Rescan | list[Take]:
    """Endpoints with checkpoints whose process died before any process watched it.

    `known` are our own endpoints and those announced lately. Before `ORPHANS_AFTER` a process that is alive may not
    have announced itself yet.
    """
    if now < started_at + ORPHANS_AFTER:
        return Rescan(started_at + ORPHANS_AFTER)
    return [Take(identity) for identity in sorted(set(stored) - set(known))]


def _load(peer: messages.TransceiverAnnouncement) -> Load:
    return Load(peer.sessions, peer.capacity)
