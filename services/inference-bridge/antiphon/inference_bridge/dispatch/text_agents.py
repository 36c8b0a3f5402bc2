"""Text agents on NATS as agents of this bridge: the shell of `announced_agents`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.profile import AgentProfile, FailureSentences
from antiphon.inference_bridge.agents.text_agent import RemoteTextAgent
from antiphon.inference_bridge.dispatch.announced_agents import MAX_BYTES, AnnouncedAgents, described
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.metrics.model_meter import ModelMeter
from antiphon.schemas import subjects
from antiphon.schemas.messages.replies import TextAgentAnnouncement

_MAX_PENDING: Final = 2000
"""Announcements that wait for the event loop; later ones are dropped, and come again a second later."""
_MODEL: Final = "text agent"
"""What the metrics of models call all of them."""


class TextAgents:
    """An `AgentSource`: the text agents that announce themselves.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(self, client: Client, metrics: Metrics = OFF, changed: Callable[[], None] = lambda: None) -> None:
        """`changed`: an agent has come, gone, or says something else of itself."""
        self._client, self._changed = client, changed
        self._meter = ModelMeter(metrics, "llm", _MODEL)
        self._announced = AnnouncedAgents()
        self._profiles: dict[str, tuple[TextAgentAnnouncement, AgentProfile]] = {}
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Listen to announcements."""
        self._subscription = await self._client.subscribe(
            subjects.ANY_AGENT_ANNOUNCE,
            cb=self._on_announcement,
            pending_msgs_limit=_MAX_PENDING,
            pending_bytes_limit=_MAX_PENDING * MAX_BYTES // 8,
        )

    async def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None and not self._client.is_closed:
            await self._subscription.unsubscribe()

    def profiles(self) -> dict[str, AgentProfile]:
        """Those of which an instance is there. The same object as long as the agent says the same of itself."""
        known, self._profiles = self._profiles, {}
        for name, announcement in self._announced.present(time.monotonic()).items():
            said = known.get(name)
            if said is None or (said[0] is not announcement and described(said[0]) != described(announcement)):
                said = announcement, self._profile(announcement)
            self._profiles[name] = announcement, said[1]
        return {name: profile for name, (_, profile) in self._profiles.items()}

    async def _on_announcement(self, message: Msg) -> None:
        if self._announced.received(message.subject, message.data, time.monotonic()):
            self._changed()

    def _profile(self, said: TextAgentAnnouncement) -> AgentProfile:
        return AgentProfile(
            said.agent,
            partial(self._agent, said),
            greeting=said.greeting,
            greets=said.greets,
            instructions=said.instructions,
            language=said.language,
            voice=said.voice,
            turn_detection=said.turn_detection,
            silence_ms=said.silence_ms,
            longest_call=said.longest_call,
            speculates=said.speculates,
            reads_events=True,
            busy=partial(self._announced.busy, said.agent),
        )

    def _agent(self, said: TextAgentAnnouncement, session_id: str) -> Agent:
        return RemoteTextAgent(self._client, session_id, said.agent, said.limits, FailureSentences(), self._meter)
