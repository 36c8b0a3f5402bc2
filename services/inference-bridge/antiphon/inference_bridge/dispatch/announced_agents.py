"""The text agents that announce themselves: which instances of each are there, and what they say. Sans-IO.

A flood of names, instances or announcements costs those that send it: what is known already stays.
"""

from __future__ import annotations

import logging
from typing import Final

from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages.replies import ANNOUNCE_TTL, TextAgentAnnouncement

log = logging.getLogger(__name__)

MAX_AGENTS: Final = 256
"""Text agents that are known at once; further ones are not served until one of these is gone."""
MAX_INSTANCES: Final = 64
"""Of one agent. Further ones answer as well, but are not counted."""
MAX_BYTES: Final = 64 * 1024
"""Of an announcement; a longer one is refused unread."""
RATE: Final = 80.0
"""Announcements of one agent that are read a second: of all its instances, and what they change."""
BURST: Final = 160.0
MAX_BUDGETS: Final = 1024
_MAX_SAID: Final = 1000


class _Instance:
    """One process of an agent, as it said last."""

    def __init__(self, announcement: TextAgentAnnouncement, now: float) -> None:
        self.announcement, self.at = announcement, now


class AnnouncedAgents:
    """The text agents that are there.

    Owner: `TextAgents`, for the life of the process. Called from the event loop.
    """

    def __init__(self) -> None:
        self._agents: dict[str, dict[str, _Instance]] = {}
        """Name -> its instances, in the order in which they came; never none."""
        self._budgets: dict[str, TokenBucket] = {}
        """By name, also of those that are not served; those silent for longest come first."""
        self._said: set[str] = set()

    def received(self, subject: str, data: bytes, now: float) -> bool:
        """A message came where text agents announce themselves; True: an agent has come, gone or changed."""
        try:
            name = subjects.parse_agent_announce(subject)
            if not self._budget(name).take(1, now):
                return False
            if len(data) > MAX_BYTES:
                raise MalformedError(f"{len(data)} bytes, at most {MAX_BYTES} are read")
            announcement = messages.decode(data, TextAgentAnnouncement)
            if announcement.agent != name:
                raise MalformedError(f"it is of {announcement.agent}")
        except MalformedError as error:
            self._say(subject, f"an announcement on {subject:.120} is not taken: {error}")
            return False
        before = self._newest(name)
        self._take(name, announcement, now)
        after = self._newest(name)
        if before is None or after is None:
            return before is not after
        return described(before) != described(after)

    def _take(self, name: str, announcement: TextAgentAnnouncement, now: float) -> None:
        instances = self._agents.get(name, {})
        if announcement.leaving:
            instances.pop(announcement.instance, None)
        elif (known := instances.get(announcement.instance)) is not None:
            known.announcement, known.at = announcement, now
        elif not instances and len(self._agents) >= MAX_AGENTS:
            self._say("agents/", f"{MAX_AGENTS} text agents are there: {name} and further ones are not served")
        elif len(instances) >= MAX_INSTANCES:
            self._say(f"{name}/", f"text agent {name} has more than {MAX_INSTANCES} instances, the others don't count")
        else:
            instances[announcement.instance] = _Instance(announcement, now)
        self._keep(name, instances)

    def present(self, now: float) -> dict[str, TextAgentAnnouncement]:
        """What the newest instance of each agent says: with a new release, the new one's word counts at once."""
        for name, instances in list(self._agents.items()):
            self._keep(name, {each: known for each, known in instances.items() if now - known.at <= ANNOUNCE_TTL})
        return {name: newest for name in self._agents if (newest := self._newest(name)) is not None}

    def busy(self, name: str) -> str:
        """Why no instance of this agent would answer one more call now; empty: one would."""
        if name not in self._agents:
            return f"no instance of the text agent {name} is there"
        known = [each.announcement for each in self._agents[name].values()]
        if any(each.answering < each.capacity for each in known):
            return ""
        return f"the text agent {name} gives as many answers as it can ({sum(each.capacity for each in known)})"

    def _budget(self, name: str) -> TokenBucket:
        budget = self._budgets.pop(name) if name in self._budgets else TokenBucket(RATE, BURST)
        self._budgets[name] = budget
        while len(self._budgets) > MAX_BUDGETS:
            del self._budgets[next(iter(self._budgets))]
        return budget

    def _keep(self, name: str, instances: dict[str, _Instance]) -> None:
        """An agent without an instance is none."""
        if instances:
            self._agents[name] = instances
        else:
            self._agents.pop(name, None)

    def _newest(self, name: str) -> TextAgentAnnouncement | None:
        instances = self._agents.get(name)
        return next(reversed(instances.values())).announcement if instances else None

    def _say(self, what: str, text: str) -> None:
        if what not in self._said and len(self._said) < _MAX_SAID:
            self._said.add(what)
            log.warning("%s", text)


def described(announcement: TextAgentAnnouncement) -> TextAgentAnnouncement:
    """What an announcement says of the agent, without what it says of the instance."""
    return announcement.model_copy(update={"instance": "", "capacity": 0, "answering": 0, "leaving": False})
