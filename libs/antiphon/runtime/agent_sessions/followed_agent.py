"""Which agent has a session, for a listener under every agent's name: a side channel, a recorder. Sans-IO.

NATS keeps an agent to subjects with its own name, but lets it write any session id behind it. So what comes under
another name than that of the agent that has the session is not part of the call. Messages of the next agent may arrive
before the event that names it, because they come by another subscription: a few are held.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

MAX_AGENTS: Final = 8
"""Names for which messages are held; those of further ones are dropped."""
MAX_HELD: Final = 256
"""Messages held for each of them: the speech that an agent sends ahead, or its first events. Later ones are dropped."""

T = TypeVar("T")


class FollowedAgent(Generic[T]):
    """Follows one session from agent to agent.

    Owner: the listener of that session, for as long as it listens. Called from the event loop.
    """

    def __init__(self) -> None:
        self.agent = ""
        """The one that has the session; empty: not known yet."""
        self._held: dict[str, list[T]] = {}

    def is_of_session(self, agent: str, message: T, hold: bool = True) -> bool:
        """Whether a message under this name is one of the call; if not, it may be held until `attached`."""
        if agent == self.agent:
            return True
        if hold and (agent in self._held or len(self._held) < MAX_AGENTS):
            held = self._held.setdefault(agent, [])
            if len(held) < MAX_HELD:
                held.append(message)
        return False

    def attached(self, agent: str) -> list[T]:
        """This agent has the session now; returns what was held of it, oldest first. The rest is dropped."""
        self.agent = agent
        held = self._held.pop(agent, [])
        self._held.clear()
        return held

    def transferred(self, by: str, to: str) -> list[T]:
        """The session's last event under the name `by` says where it is now; ignored under any other name."""
        return self.attached(to) if by == self.agent else []
