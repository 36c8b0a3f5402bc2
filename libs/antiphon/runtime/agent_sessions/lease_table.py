"""The leases that one instance holds, and what is due: to write, to verify, to look for those of the dead. Sans-IO.

The shell is `keeper`: it writes what `due` names through `bucket`, and looks for free leases when `scan_is_due` says
so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from antiphon.runtime.agent_sessions import leases
from antiphon.schemas.messages import AgentBeat, Lease

RESCAN_SECONDS: Final = 1.0
"""Until free leases are looked for again, while some wait for an instance with room or could not be read."""


@dataclass(eq=False)
class HeldLease:
    """A lease of ours, and what we know of it in the bucket. Owner: the table, or the one takeover that it is for."""

    lease: Lease
    """As it is to be; replaced, never changed."""
    revision: int = 0
    """Of its entry in the bucket; 0: it has none, as far as we know, -1: the entry is another instance's."""
    dirty: bool = True
    """`lease` is not written yet."""
    unverified: bool = False
    """May be another instance's: to be looked up."""
    written: float = -math.inf
    """`time.monotonic()` of the last write."""
    released: bool = False
    """Is being deleted: nothing is written any more."""

    def is_due(self, now: float) -> bool:
        """There is something to look up or to write; a lease that was just written rests for a beat."""
        return self.unverified or (self.dirty and not self.is_resting(now)) or self.is_old(now)

    def is_resting(self, now: float) -> bool:
        """It was written within the last beat."""
        return now - self.written < leases.BEAT_SECONDS

    def is_old(self, now: float) -> bool:
        """To be written again before the bucket forgets it."""
        return now - self.written > leases.RENEW_SECONDS


class LeaseTable:
    """Which sessions this instance holds, and which other instances live.

    Owner: the keeper, for the life of the process. Bounded by the capacity of the instance. Called from the event loop.
    """

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.instances = leases.InstanceLiveness(instance)
        self._held: dict[str, HeldLease] = {}
        self._scan_at = -math.inf
        """From when on a scan is due. At the start: leases that no instance holds are free at once."""
        self._searched_at_start = False

    # ---- our own sessions

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._held

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, session_id: str) -> HeldLease:
        return self._held[session_id]

    def add(self, held: HeldLease) -> None:
        """The session is ours from now on."""
        self._held[held.lease.session_id] = held

    def save(self, session_id: str, state: dict[str, Any], now: float) -> bool:
        """Replace the state of a session; True: write it now, False: the next beat does, or the session is not ours.

        `MalformedError` if it is not JSON or above `leases.MAX_STATE_BYTES`.
        """
        held = self._held.get(session_id)
        if held is None:
            return False
        held.lease = held.lease.model_copy(update={"state": leases.checked_state(state)})
        held.dirty = True
        return not held.is_resting(now)

    def verify(self, session_id: str) -> bool:
        """Another instance acts for this session; True: look up now whose it is."""
        held = self._held.get(session_id)
        if held is not None:
            held.unverified = True
        return held is not None

    def remove(self, session_id: str) -> HeldLease | None:
        """The session has ended, or is another instance's; None if it was not ours."""
        return self._held.pop(session_id, None)

    def remove_all(self) -> list[HeldLease]:
        """We leave: all that we hold, as free leases that are to be written."""
        held, self._held = list(self._held.values()), {}
        for each in held:
            each.lease = each.lease.model_copy(update={"instance": ""})
        return held

    def due(self, now: float) -> list[HeldLease]:
        """Those with something to look up or to write."""
        return [held for held in self._held.values() if held.is_due(now)]

    # ---- other instances

    def beat(self, room: int, leaving: bool = False, others: int = 0, bridge: bool = False) -> AgentBeat:
        """What we publish to the other instances; `room` for so many more sessions.

        `others`: sessions of this process that it has for other agents, in the same places. `bridge`: as in the beat.
        """
        sessions = len(self._held) + others
        capacity = sessions + max(0, room)
        return AgentBeat(instance=self.instance, sessions=sessions, capacity=capacity, leaving=leaving, bridge=bridge)

    def received(self, beat: AgentBeat, now: float) -> list[str]:
        """A beat of our agent came, perhaps our own; the instances that are gone, named once: a scan is due then."""
        if self.instances.received(beat, now):
            for held in self._held.values():
                held.unverified = True
        gone = self.instances.newly_dead()
        if gone or (self.instances.is_warmed_up and not self._searched_at_start):
            self._searched_at_start |= self.instances.is_warmed_up
            self._scan_at = now
        return gone

    def scan_is_due(self, now: float) -> bool:
        """Look for the leases of the dead now; asked once for each scan."""
        if now < self._scan_at:
            return False
        self._scan_at = math.inf
        return True

    def scan_again(self, now: float) -> None:
        """The scan was not complete, or left some leases free: another one is due in `RESCAN_SECONDS`."""
        self._scan_at = now + RESCAN_SECONDS
