"""Calls whose agent is dead and that no other instance of it has taken: when a bridge may end them. Sans-IO.

An instance of the agent may still come: the one that its supervisor starts again takes its sessions over. So the holder
of a lease has to be dead for `grace` seconds before the lease is abandoned. Time is counted in beats of our own that
came back through NATS, as in `leases`: while NATS is away, or we are stopped, no time passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.runtime.agent_sessions import leases
from antiphon.schemas.messages import AgentBeat, Lease

GRACE_SECONDS: Final = 10.0
"""A plug-in that is started again is back after two or three, a bridge after six."""
MAX_WAITING: Final = 10_000
"""Leases of dead instances that are remembered."""
MAX_NAMES: Final = 512
"""Agents that one instance is taken to speak for; a bridge does for several."""


class AbandonedLeases:
    """The agents that this bridge does not serve itself, as it sees them.

    Owner: `AbandonedCalls` of the bridge. Called from the event loop.
    """

    def __init__(
        self,
        own_agent: str,
        instance: str,
        grace: float = GRACE_SECONDS,
        serves: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`own_agent`: its beats are the clock. `serves(agent)`: this bridge takes over the calls of that one too."""
        self._own_agent, self._instance, self._serves_too = own_agent, instance, serves
        self._grace_beats = round(grace / leases.BEAT_SECONDS)
        self._beats = 0
        self._instances = leases.InstanceLiveness(instance)
        """Of all instances, whatever agent they are of: a bridge may hold the lease of another agent for a moment."""
        self._agents: dict[str, set[str]] = {}
        """Instance -> the agents that it beats for."""
        self._left: set[str] = set()
        """Agents that an instance has left, since the last beat of ours."""
        self._waiting: dict[tuple[str, str], tuple[str, int]] = {}
        """Lease -> its dead holder, and our beats when it was found."""

    def received(self, agent: str, beat: AgentBeat, now: float) -> set[str]:
        """A beat came, of any agent. The names of agents of which an instance is gone now: look at their leases."""
        if beat.instance != self._instance:
            self._received_of_another(agent, beat, now)
            return set()
        if agent != self._own_agent:
            return set()  # of the several names that we beat for, one is the clock
        self._instances.received(beat, now)
        self._beats += 1
        gone, self._left = self._left, set()
        for name in self._instances.newly_dead():
            gone |= self._agents.pop(name, set())
        return {name for name in gone if not self.serves(name)}

    def _received_of_another(self, agent: str, beat: AgentBeat, now: float) -> None:
        names = self._agents.get(beat.instance)
        if beat.leaving and names is not None and names - {agent}:
            names.discard(agent)  # a bridge leaves one of its agents: it lives
            self._left.add(agent)
            return
        self._instances.received(beat, now)
        if names is None and len(self._agents) < leases.MAX_INSTANCES:
            names = self._agents[beat.instance] = set()
        if names is not None and len(names) < MAX_NAMES:
            names.add(agent)

    def serves(self, agent: str) -> bool:
        """This bridge takes over the calls of that agent, and apologises for none of them."""
        return agent == self._own_agent or self._serves_too(agent)

    def is_dead(self, instance: str) -> bool:
        """Whether this holder has left or sends no beats."""
        return self._instances.is_dead(instance)

    def is_abandoned(self, lease: Lease) -> bool:
        """Asked of every lease now and then: its holder has been dead for the grace, and no instance took it."""
        key = lease.agent, lease.session_id
        # the session of a shadow is another agent's, and those of our own name are taken over
        if lease.shadow_of or self.serves(lease.agent) or not self.is_dead(lease.instance):
            self._waiting.pop(key, None)
            return False
        holder, since = self._waiting.get(key, ("", 0))
        if holder != lease.instance or key not in self._waiting:
            if len(self._waiting) >= MAX_WAITING:
                return False
            self._waiting[key] = lease.instance, self._beats
            return False
        return self._beats - since >= self._grace_beats

    def forget(self, lease: Lease) -> None:
        """It was taken, or is over."""
        self._waiting.pop((lease.agent, lease.session_id), None)

    def keep_only(self, found: set[tuple[str, str]]) -> None:
        """Leases, as (agent, session), that are still there."""
        for key in set(self._waiting) - found:
            del self._waiting[key]

    @property
    def any_waiting(self) -> bool:
        return bool(self._waiting)

    def agents_waiting(self) -> set[str]:
        return {agent for agent, _ in self._waiting}

    @property
    def is_warmed_up(self) -> bool:
        """We have received beats for long enough to say of an instance without any that it is dead."""
        return self._instances.is_warmed_up
