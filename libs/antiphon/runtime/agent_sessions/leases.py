"""Which instance of an agent is alive, and who may take a session over. Sans-IO; the shell is `keeper`.

Every instance beats on `agent_beat` and hears all beats of its name, its own too. Its own are the clock: another
instance is dead when `MISSED` beats of ours came back through NATS and none of its own. So nobody is declared
dead because NATS was away, and a blocked process declares nobody dead when it wakes.

A lease changes hands by compare-and-swap, so one instance wins. Dead is a judgement and may be wrong; what keeps a
holder that lost its session from being heard is the generation: each holder speaks in generations of its own,
above all of the one before (`first_generation`), and flushes with its first one.
"""

from __future__ import annotations

import json
from typing import Any, Final

from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import AgentBeat, Claim, Lease

BEAT_SECONDS: Final = 0.25
MISSED: Final = 4
"""Beats of ours without one of another's: it is dead, 0.75 to 1 s after it died; one second is left to take over."""
MAX_TAKEOVERS: Final = 5
"""A session that changes hands more often is ended: what kills its agents is in the session."""
MAX_STATE_BYTES: Final = 32 * 1024
"""Of a lease's `state` as JSON."""
LEASE_TTL: Final = 600.0
"""Seconds after which a lease that nobody renewed is gone."""
RENEW_SECONDS: Final = 60.0
CLOCKS_APART: Final = 1.0
"""Seconds by which the clocks of two machines may differ without a claim being taken for an old one."""
MAX_INSTANCES: Final = 4096
"""Instances of one agent that are told apart; above it the one that was not heard for longest is forgotten."""

_GENERATION_BITS: Final = 32


def first_generation(takeovers: int) -> int:
    """Where the generations of a session's holder begin, given how often the session changed hands before."""
    return takeovers << _GENERATION_BITS


def is_stale(claim: Claim, unix_time: float) -> bool:
    """Whoever asked has long given up: we were stopped, or the claim was on its way for too long."""
    return 0 < claim.expires_at < unix_time - CLOCKS_APART


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


class Pulse:
    """Which instances of an agent live, as seen by one of them."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self._beats = 0
        """Of ours, come back."""
        self._heard: dict[str, int] = {}
        """Instance -> `_beats` when it was last heard; those longest unheard come first."""
        self._left: dict[str, None] = {}
        self._news: list[str] = []
        self._last_own: float | None = None

    def heard(self, beat: AgentBeat, now: float) -> bool:
        """A beat came. True if it is ours and came so late that others may have declared us dead: verify the leases."""
        if beat.instance == self.instance:
            self._beats += 1
            late = self._last_own is not None and now - self._last_own >= (MISSED - 1) * BEAT_SECONDS
            self._last_own = now
            return late
        self._heard.pop(beat.instance, None)
        if beat.leaving:
            if beat.instance not in self._left:
                self._left[beat.instance] = None
                self._news.append(beat.instance)
        else:
            self._left.pop(beat.instance, None)
            self._heard[beat.instance] = self._beats
        for table in (self._heard, self._left):
            if len(table) > MAX_INSTANCES:
                del table[next(iter(table))]
        return False

    def is_dead(self, instance: str) -> bool:
        """Whether the sessions of this holder are free. One never heard gets the same time, from our own start."""
        if instance == self.instance:
            return False
        return not instance or instance in self._left or self._beats - self._heard.get(instance, 0) >= MISSED

    def newly_dead(self) -> list[str]:
        """Holders that were heard once and are gone now, each named once: look for their leases."""
        silent = [name for name in self._heard if self.is_dead(name)]
        for name in silent:
            del self._heard[name]  # stays dead for `is_dead`, which sees no beat of it, until it is heard again
        gone, self._news = self._news + silent, []
        return gone

    @property
    def settled(self) -> bool:
        """We have listened for long enough to say of an instance that we never heard that it is dead."""
        return self._beats >= MISSED


def is_hopeless(lease: Lease) -> bool:
    """The session has lost so many agents that it is ended rather than given to another."""
    return lease.takeovers >= MAX_TAKEOVERS


def taken(lease: Lease, instance: str) -> Lease:
    """The lease in the hands of `instance`."""
    return lease.model_copy(update={"instance": instance, "takeovers": lease.takeovers + 1})
