"""A bridge process on the bus: builds its parts, registers, takes calls, and leaves them to others at its end."""

from __future__ import annotations

from collections.abc import Callable

from nats.aio.client import Client
from nats.micro.service import Service

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.chat_check import Trouble
from antiphon.inference_bridge.conversation.response_playback import spoken_fallbacks
from antiphon.inference_bridge.dispatch.call_agents import CallAgents
from antiphon.inference_bridge.dispatch.call_sessions import CallSessions
from antiphon.inference_bridge.dispatch.claims import Claims
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.dispatch.model_clients import ModelClients
from antiphon.inference_bridge.dispatch.register_entry import RegisterEntry
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime.agent_sessions.keeper import new_instance
from antiphon.runtime.nats import connection, process_drain, service_discovery


class Bridge:
    """The parts of this process, from leaf to root.

    Owner: `process.run`, for the life of the process. Called from the event loop.
    """

    def __init__(
        self, client: Client, models: LocalModels, settings: Settings, scripted_agent: Callable[[], Agent]
    ) -> None:
        name, capacity, instance = settings.agent_name, settings.bridge_capacity, new_instance()
        self._client = client
        self._entry = RegisterEntry(name, instance)
        self._models = ModelClients(client, models, settings, self._entry)
        self._agents = CallAgents(client, settings, scripted_agent, self._entry)
        self._calls = CallSessions(client, settings, models, self._models, self._agents, instance)
        self._claims = Claims(client, name, capacity, instance, self._calls)

    async def start(self) -> None:
        """Be able to do all that a call needs, then be known as alive: calls of dead processes come from then on."""
        await self._claims.start()
        await self._models.until_ready()
        speech = self._calls.speech
        for sentence in spoken_fallbacks(speech.language):  # they are needed when no speech can be made
            speech.phrases.keep(sentence, await speech.tts.synthesize(sentence, 1.0, Urgency.SOON))
        await self._calls.start()

    async def chat_server_trouble(self) -> Trouble | None:
        """Have the chat server load its model; what is wrong if it does not answer then."""
        return await self._agents.chat_server_trouble()

    async def join(self, stop_process: Callable[[], None] = lambda: None) -> Service:
        """Register: claims may come. `stop_process()` does what SIGTERM does: an operator may ask for it."""
        self._agents.start_check()
        service = await service_discovery.register(
            self._client, service_discovery.AGENT_SERVICE, self._entry.metadata, self._claims.figures
        )
        await process_drain.listen(self._client, service_discovery.AGENT_SERVICE, service.id, stop_process)
        await self._claims.serve(service)
        await connection.require_allowed(self._client)
        return service

    async def close(self) -> None:
        """Leave: other processes of this agent go on with the calls, at once."""
        await self._calls.close()
        await self._claims.close()
        await self._agents.close()
        await self._models.close()
