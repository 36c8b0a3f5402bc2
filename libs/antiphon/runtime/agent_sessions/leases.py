"""Which instances of an agent are alive, and which one may take a session over. Sans-IO; the shell is `keeper`.

Every instance beats on `agent_beat` and receives all beats of its name, its own too. Its own are the clock: another
instance is dead when `MISSED` beats of ours came back through NATS and none of its own. So no instance is declared
dead because NATS was away, and a blocked process declares none dead when it wakes.

A lease changes hands by compare-and-swap, so one instance wins. A verdict of death may be wrong. A holder that has
lost its session is silenced by its generation: each holder speaks in generations of its own, above all of the one
before (`first_generation`), and flushes with its first one.
"""

from __future__ import annotations

import json
from typing import Any, Final

from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import AgentBeat, Lease

BEAT_SECONDS: Final = 0.25
MISSED: Final = 4
"""Beats of ours without one of another's: it is dead, 0.75 to 1 s after it died; one second is left to take over."""
MAX_DEATHS: Final = 5
"""A session that loses more agents is ended: what kills them is in the session. Agents that leave in order, as in a
deployment, are not lost."""
MAX_STATE_BYTES: Final = 32 * 1024
"""Of a lease's `state` as JSON."""
RENEW_SECONDS: Final = 60.0
"""A lease that is not renewed is gone after `stores.LEASE_RETENTION`, or what `antiphon setup` is set to."""
MAX_INSTANCES: Final = 4096
"""Instances of one agent that are kept apart; above it the one without a beat for longest is forgotten."""

_GENERATION_BITS: Final = 32


def first_generation(takeovers: int) -> int:
    """Where the generations of a session's holder begin, given how often the session changed hands before."""
    return takeovers << _GENERATION_BITS


def checked_state(state: dict[str, Any]) -> dict[str, Any]:
    """A copy that is plain JSON; `MalformedError` if it is none, or above `MAX_STATE_BYTES`."""
    try:
        text = json.dumps(state, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedError(f"the state of a session is kept as JSON: {error}") from None
    if len(text.encode()) > MAX_STATE_BYTES:
        raise MalformedError(f"the state of a session is {len(text)} bytes as JSON: at most {MAX_STATE_BYTES} are kept")
    copy: dict[str, Any] = json.loads(text)
    return copy


class InstanceLiveness:
    """Which instances of an agent live, as seen by one of them.

    Owner: the lease table of an instance, or a bridge that watches all agents. Called from the event loop.
    """

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self._beats = 0
        """Of ours, come back."""
        self._beats_at: dict[str, int] = {}
        """Instance -> `_beats` when its last beat came; those silent for longest come first."""
        self._left: dict[str, None] = {}
        self._newly_left: list[str] = []
        self._last_own: float | None = None

    def received(self, beat: AgentBeat, now: float) -> bool:
        """A beat came. True if it is ours and came so late that others may have declared us dead: verify the leases."""
        if beat.instance == self.instance:
            self._beats += 1
            late = self._last_own is not None and now - self._last_own >= (MISSED - 1) * BEAT_SECONDS
            self._last_own = now
            return late
        self._beats_at.pop(beat.instance, None)
        if beat.leaving:
            if beat.instance not in self._left:
                self._left[beat.instance] = None
                self._newly_left.append(beat.instance)
        else:
            self._left.pop(beat.instance, None)
            self._beats_at[beat.instance] = self._beats
        for table in (self._beats_at, self._left):
            if len(table) > MAX_INSTANCES:
                del table[next(iter(table))]
        return False

    def is_dead(self, instance: str) -> bool:
        """Whether the sessions of this holder are free. One without any beat gets the same time, from our own start."""
        if instance == self.instance:
            return False
        return not instance or instance in self._left or self._beats - self._beats_at.get(instance, 0) >= MISSED

    def newly_dead(self) -> list[str]:
        """Holders that have sent beats and are gone now, each named once: look for their leases."""
        silent = [name for name in self._beats_at if self.is_dead(name)]
        for name in silent:
            del self._beats_at[name]  # stays dead for `is_dead`, which sees no beat of it, until one comes again
        gone, self._newly_left = self._newly_left + silent, []
        return gone

    @property
    def is_warmed_up(self) -> bool:
        """We have received beats for long enough to say of an instance without any that it is dead."""
        return self._beats >= MISSED


def is_hopeless(lease: Lease) -> bool:
    """The session has lost so many agents that it is ended rather than given to another."""
    return lease.deaths >= MAX_DEATHS


def taken(lease: Lease, instance: str) -> Lease:
    """The lease in the hands of `instance`. A holder that left in order has taken its name out of it."""
    deaths = lease.deaths + bool(lease.instance)
    return lease.model_copy(update={"instance": instance, "takeovers": lease.takeovers + 1, "deaths": deaths})
