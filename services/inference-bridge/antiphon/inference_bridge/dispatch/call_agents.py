"""The agent of the settings: scripted, of the chat server that this process asks and checks, or of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nats.aio.client import Client

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.chat_check import ChatCheck, Trouble
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.agents.scripted import greeting_of
from antiphon.inference_bridge.dispatch.register_entry import RegisterEntries
from antiphon.inference_bridge.models.measured import MeasuredAgent, WaitsOfModel
from antiphon.inference_bridge.models.remote.language_model import RemoteLanguageModel
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime import tasks
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.metrics.model_meter import ModelMeter


class CallAgents:
    """An `AgentSource` of one agent. Makes it for each call, and sees whether the chat server that it asks answers.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        scripted_agent: Callable[[], Agent] | None,
        entries: RegisterEntries,
        waits: WaitsOfModel,
        metrics: Metrics = OFF,
    ) -> None:
        """`entries` are told when the chat server fails, and when it answers again; `waits`, how long callers wait."""
        self._waits = waits
        self._client, self._settings, self._scripted_agent = client, settings, scripted_agent
        self._meter = ModelMeter(metrics, "llm", settings.llm_model or "worker")
        key = settings.llm_api_key.get_secret_value()
        asks_itself = settings.llm_url and settings.llm == "local"
        self._llm = client_for(settings.llm_url, key) if asks_itself else None
        self._check: ChatCheck | None = None
        if self._llm:
            self._check = ChatCheck(
                self._llm,
                settings.llm_model,
                bool(key),
                settings.llm_timeout,
                entries.chat_server,
                settings.llm_warm_seconds,
            )
        self._checking: asyncio.Task[None] | None = None
        self.profile: AgentProfile | None = None
        """None: the settings name no agent."""
        if settings.has_language_model or scripted_agent is not None:
            self.profile = AgentProfile(
                settings.agent_name,
                self._make,
                greeting=self._greeting(),
                instructions=settings.llm_instructions if settings.has_language_model else "",
                is_scripted=not settings.has_language_model,
            )

    def profiles(self) -> dict[str, AgentProfile]:
        """The one agent; if there is one, it is always there."""
        return {self.profile.name: self.profile} if self.profile is not None else {}

    def _greeting(self) -> str:
        """Said first in each call, unless a setting says otherwise."""
        settings = self._settings
        if settings.has_language_model or self._scripted_agent is None:
            return settings.greeting_text(phrase("greeting", settings.language))
        return settings.greeting_text(greeting_of(self._scripted_agent))

    def _make(self, session_id: str) -> Agent:
        """An agent for one call."""
        settings = self._settings
        if settings.llm == "remote":
            agent: Agent = RemoteLanguageModel(
                self._client, settings.llm_timeout, settings.llm_load_timeout, self._meter
            )
            return MeasuredAgent(agent, self._waits)
        if self._llm is None or self._check is None:
            assert self._scripted_agent is not None
            return self._scripted_agent()
        self._check.call_connects()
        agent = LanguageModel(
            self._llm,
            settings.llm_model,
            settings.llm_timeout,
            self._check.check_again,
            settings.llm_load_timeout,
            self._meter,
        )
        return MeasuredAgent(agent, self._waits)

    def start_check(self) -> None:
        """Ask the chat server from now on whether it answers."""
        if self._check and self._checking is None:
            self._checking = asyncio.create_task(self._check.run())

    async def chat_server_trouble(self) -> Trouble | None:
        """Have the chat server load its model; what is wrong if it does not answer then."""
        if self._check is None:
            return None
        self.start_check()
        return await self._check.first_result(self._settings.llm_load_timeout)

    async def close(self) -> None:
        """No agent may be used any more."""
        if self._checking:
            await tasks.end(self._checking)
        if self._llm:
            await self._llm.close()
