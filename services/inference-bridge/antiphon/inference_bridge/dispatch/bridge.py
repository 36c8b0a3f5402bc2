"""A bridge process on the bus: builds its parts, registers, takes calls, and leaves them to others at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nats.aio.client import Client
from nats.micro.service import Service

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.chat_check import Trouble
from antiphon.inference_bridge.agents.profile import RunningSource
from antiphon.inference_bridge.conversation.response_playback import spoken_fallbacks
from antiphon.inference_bridge.dispatch.abandoned_calls import AbandonedCalls
from antiphon.inference_bridge.dispatch.agent_beats import AgentBeats
from antiphon.inference_bridge.dispatch.agent_directory import AgentDirectory, NamedSource
from antiphon.inference_bridge.dispatch.call_agents import CallAgents
from antiphon.inference_bridge.dispatch.call_sessions import CallSessions
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.dispatch.model_clients import ModelClients
from antiphon.inference_bridge.dispatch.plug_in_names import PlugInNames
from antiphon.inference_bridge.dispatch.register_entry import RegisterEntries
from antiphon.inference_bridge.dispatch.served_agents import ServedAgents
from antiphon.inference_bridge.dispatch.text_agents import TextAgents
from antiphon.inference_bridge.models.measured import WaitsOfModel
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime.agent_sessions.keeper import new_instance
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.nats import connection

MakeFileAgents = Callable[[WaitsOfModel, Callable[[Mapping[str, str]], None]], RunningSource]
"""Takes what is told how long callers wait for answers, and what is told which agents are in trouble."""


class Bridge:
    """The parts of this process, from leaf to root.

    Owner: `process.run`, for the life of the process. Called from the event loop.
    """

    def __init__(
        self,
        client: Client,
        models: LocalModels,
        settings: Settings,
        scripted_agent: Callable[[], Agent] | None,
        metrics: Metrics = OFF,
        metadata: Mapping[str, str] | None = None,
        file_agents: MakeFileAgents | None = None,
    ) -> None:
        """`metadata`: what the services register says besides agent and troubles.

        `file_agents`: makes the source of agents that files describe, which the bridge starts and closes.
        """
        name, instance = settings.agent_name, new_instance()
        self._client = client
        entries = RegisterEntries(name, instance, metadata)
        self._models = ModelClients(client, models, settings, entries, metrics)
        waits = self._models.load.waits["agent"]
        self._agents = CallAgents(client, settings, scripted_agent, entries, waits, metrics)
        self._text_agents = TextAgents(client, metrics, lambda: self._served.changed())
        self._file_agents = file_agents(waits, entries.agent_files) if file_agents is not None else None
        sources = [
            NamedSource("settings", self._agents),
            *([NamedSource("agent files", self._file_agents)] if self._file_agents is not None else []),
            NamedSource("text agents", self._text_agents),
        ]
        self._calls = CallSessions(client, settings, models, self._models, instance, metrics)
        self._calls.register_metrics(metrics)
        plug_ins = PlugInNames()
        self._abandoned: AbandonedCalls | None = None
        if settings.orphan_seconds:
            self._abandoned = AbandonedCalls(
                client,
                name,
                instance,
                settings.orphan_seconds,
                self._calls.apologise,
                lambda agent: self._served.serves(agent),
            )
        self._served = ServedAgents(
            client,
            settings,
            self._agents.profile,
            AgentDirectory(sources),
            plug_ins,
            self._calls,
            entries,
            instance,
            metrics,
            self._abandoned.look_at if self._abandoned else lambda agent: None,
        )
        listeners = [plug_ins.received, self._served.received]
        self._beats = AgentBeats(
            client, [*listeners, self._abandoned.received] if self._abandoned is not None else listeners
        )

    async def start(self) -> None:
        """Be able to do all that a call needs, then be known as alive: calls of dead processes come from then on."""
        await self._beats.start()
        await self._models.until_ready()
        speech = self._calls.speech
        for sentence in spoken_fallbacks(speech.language):  # they are needed when no speech can be made
            samples = await speech.tts.synthesize(sentence, 1.0, Urgency.SOON)
            speech.phrases.keep(sentence, samples)
            await self._models.measure(samples)
        if self._file_agents is not None:
            await self._file_agents.start()
        await self._text_agents.start()
        await self._served.start()
        if self._abandoned is not None:
            await self._abandoned.start()

    async def chat_server_trouble(self) -> Trouble | None:
        """Have the chat server load its model; what is wrong if it does not answer then."""
        return await self._agents.chat_server_trouble()

    async def join(self, stop_process: Callable[[], None] = lambda: None) -> Service | None:
        """Register: claims may come. `stop_process()` does what SIGTERM does: an operator may ask for it.

        The entry in the register is that of the agent of the settings, if there is one; the others follow.
        """
        self._agents.start_check()
        service = await self._served.join(stop_process)
        await connection.require_allowed(self._client)
        return service

    async def close(self) -> None:
        """Leave: other processes of the same agents go on with the calls, at once."""
        await self._served.stop()
        self._calls.hand_over()
        if self._abandoned is not None:
            await self._abandoned.close()
        await self._served.close()
        await self._calls.close()
        await self._text_agents.close()
        if self._file_agents is not None:
            await self._file_agents.close()
        await self._agents.close()
        await self._models.close()
