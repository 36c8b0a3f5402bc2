"""From a file that was read to the profile that calls begin with, and to the agent of one call."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.language_model import LanguageModel
from antiphon.inference_bridge.agents.profile import AgentProfile, FailureSentences
from antiphon.inference_bridge.file_agents.chat_servers import ChatServer, ChatTarget
from antiphon.inference_bridge.file_agents.definition import AgentDefinition
from antiphon.inference_bridge.file_agents.reader import ReadAgent
from antiphon.inference_bridge.file_agents.tool_support import ToolSet
from antiphon.inference_bridge.models.measured import MeasuredAgent, WaitsOfModel
from antiphon.inference_bridge.models.remote.language_model import RemoteLanguageModel
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime.metrics.model_meter import ModelMeter


@dataclass(frozen=True)
class Parts:
    """What the agents of one version of a file are made with. A value."""

    read: ReadAgent
    settings: Settings
    client: Client
    meter: ModelMeter
    """Of workers' language models."""
    server: ChatServer | None = None
    """None: the workers' model answers."""
    tool_set: ToolSet | None = None
    using: Callable[[Agent, Any, FailureSentences], Agent] | None = None
    waits: WaitsOfModel | None = None


class AgentMaker:
    """Makes the agents of calls. Held by the profile, and so by the calls that began with it; event loop only."""

    def __init__(self, parts: Parts, agents: weakref.WeakSet[Any]) -> None:
        """`agents`: gets each agent that is made."""
        self._parts, self._agents = parts, agents

    def __call__(self, session_id: str) -> Agent:
        """An agent for the call with this id."""
        parts = self._parts
        agent, failures = self._model(), failures_of(parts.read.definition)
        if parts.tool_set is not None and parts.using is not None:
            agent = parts.using(agent, parts.tool_set, failures)
        if parts.waits is not None:
            agent = MeasuredAgent(agent, parts.waits)
        self._agents.add(agent)
        return agent

    def _model(self) -> Agent:
        parts, settings, server = self._parts, self._parts.settings, self._parts.server
        if server is None:
            return RemoteLanguageModel(parts.client, settings.llm_timeout, settings.llm_load_timeout, parts.meter)
        server.check.call_connects()
        target, chat = server.target, parts.read.definition.chat
        return LanguageModel(
            server.client,
            target.model,
            target.timeout,
            server.check.check_again,
            target.load_timeout,
            server.meter,
            chat.request_fields() if chat is not None else {},
            failures_of(parts.read.definition),
        )


class Version:
    """One version of a file, in force or not, for as long as a call uses it. Owned by `FileAgents`."""

    def __init__(self, parts: Parts) -> None:
        self.read, self.tool_set = parts.read, parts.tool_set
        self.target: ChatTarget | None = parts.server.target if parts.server is not None else None
        self._agents: weakref.WeakSet[Any] = weakref.WeakSet()
        maker = AgentMaker(parts, self._agents)
        self._maker = weakref.ref(maker)
        self.profile: AgentProfile | None = _profile(parts.read, maker, parts.settings)
        """None: new calls use another version."""

    def retire(self) -> None:
        """New calls use another version; those that run go on."""
        self.profile = None

    @property
    def in_use(self) -> bool:
        """It is in force, or a call has its profile, what makes its agents, or an agent."""
        return self._maker() is not None or len(self._agents) > 0


def failures_of(definition: AgentDefinition) -> FailureSentences:
    """The sentences of the file."""
    own = definition.failures
    return FailureSentences(own.apology, own.too_long, own.tool_failed)


def _profile(read: ReadAgent, make: AgentMaker, settings: Settings) -> AgentProfile:
    definition, silence, turns = read.definition, read.definition.silence, read.definition.turns
    greeting, instructions = definition.greeting, definition.instructions
    return AgentProfile(
        name=read.name,
        kind="file",
        make=make,
        greeting=phrase("greeting", definition.language or settings.language) if greeting is None else greeting,
        instructions=settings.llm_instructions if instructions is None else instructions,
        language=definition.language,
        voice=definition.voice,
        turn_detection=_turn_detection(definition),
        patience_ms=turns.patience_ms if turns is not None else None,
        silence_ms=silence.after_ms if silence is not None else None,
        silence_prompts=tuple(silence.prompts) if silence is not None else (),
        longest_call=definition.longest_call,
        failures=failures_of(definition),
    )


def _turn_detection(definition: AgentDefinition) -> dict[str, Any] | None:
    turns = definition.turns
    if turns is None:
        return None
    given = turns.model_dump(exclude={"patience_ms"}, exclude_unset=True)
    return {"type": turns.type, **given} if given else None
