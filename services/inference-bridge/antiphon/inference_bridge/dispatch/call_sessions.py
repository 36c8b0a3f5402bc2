"""The sessions of a bridge and their leases: accepted claims, calls of dead processes, and how each of them ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from nats.aio.client import Client

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.scripted import SilentAgent
from antiphon.inference_bridge.conversation.response_playback import Speech
from antiphon.inference_bridge.conversation.session import Session
from antiphon.inference_bridge.dispatch.abandoned_calls import AbandonedCalls
from antiphon.inference_bridge.dispatch.call_agents import CallAgents
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot, read_snapshot
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.dispatch.model_clients import ModelClients
from antiphon.inference_bridge.dispatch.session_services import session_services
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.agent_sessions import lease_crypto, takeover
from antiphon.runtime.agent_sessions.admission import Admission
from antiphon.runtime.agent_sessions.keeper import LeaseKeeper
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.schemas import messages
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

_INPUT_RATE: Final = 16000
"""Hz of the caller's audio, as the models need it."""
_APOLOGY_SECONDS: Final = 30.0
HOPELESS: Final = 3
"""Deaths after which the caller gets an apology instead of another try: what kills us may be in the call."""


class CallSessions:
    """All calls of this process.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        models: LocalModels,
        clients: ModelClients,
        agents: CallAgents,
        instance: str,
        metrics: Metrics = OFF,
    ) -> None:
        """`instance`: our name among the processes of this agent."""
        self._client, self._models, self._agents = client, models, agents
        self._load = clients.load
        self._metrics = metrics
        self._sessions: dict[str, Session] = {}
        admission = self.admission = Admission(
            self._sessions,
            settings.bridge_capacity,
            instance,
            _INPUT_RATE,
            "ANTIPHON_BRIDGE_CAPACITY",
            lambda: self._load.refusal(time.monotonic()),
        )
        crypto = lease_crypto.from_file(settings.lease_key_file) if settings.lease_key_file is not None else None
        self._keeper = LeaseKeeper(
            client,
            settings.agent_name,
            self._take_over,
            self._lost,
            lambda: admission.places,
            instance,
            crypto,
            lambda: admission.room,
        )
        self._services = session_services(
            client, settings, models, clients, agents, instance, self._save, self._keeper.verify
        )
        self._abandoned = AbandonedCalls(
            client, settings.agent_name, instance, settings.orphan_seconds, self._apologise
        )
        self._ends_abandoned = bool(settings.orphan_seconds)
        self._watchers: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many calls there are."""
        return len(self._sessions)

    @property
    def speech(self) -> Speech:
        """The speech models that all calls share."""
        return self._services.speech

    async def start(self) -> None:
        """Be known as alive: calls of dead processes come from then on."""
        await self._keeper.start()
        if self._ends_abandoned:
            await self._abandoned.start()

    async def accept(self, claim: messages.Claim) -> bool:
        """Be ready for the session of a claim; False if another instance has it."""
        lease = self.admission.lease(claim, telemetry.trace_headers(), time.time())
        session = self._session(lease, self._agents.make())

        async def hold() -> bool:
            await self._keeper.hold(lease)
            return self._keeper.holds(session.id)

        accepted = False
        try:
            accepted = await self._run_session(session, hold)
        finally:
            if not accepted:
                await self._keeper.release(session.id)
        return accepted

    async def close(self) -> None:
        """Leave: other processes of this agent go on with the calls, at once."""
        self.admission.stop()
        for session in self._sessions.values():
            session.hand_over()
        await self._abandoned.close()
        await self._keeper.close()
        await tasks.end(*self._watchers)

    # ---- one session ---------------------------------------------------------------------------------

    def _session(
        self,
        lease: messages.Lease,
        agent: Agent,
        snapshot: ConversationSnapshot | None = None,
        receives_audio: bool = True,
    ) -> Session:
        stream = self._models.voice_activity.stream()
        return Session(lease, agent, self._services, stream, snapshot, receives_audio)

    async def _run_session(self, session: Session, confirm: Callable[[], Awaitable[bool]]) -> bool:
        """Subscribe, then `confirm` that the session is ours and exists; a task then sees to its end.

        If not, or if either raises, nothing is left of the session here.
        """
        self._sessions[session.id] = session  # before the first await: the capacity is exact
        self._load.call_began(session.id, time.monotonic())
        confirmed = False
        try:
            await session.start()
            confirmed = await confirm()
        finally:
            if not confirmed:
                await self._close(session)
        if not confirmed:
            return False
        watcher = asyncio.create_task(self._until_ended(session))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return True

    async def _until_ended(self, session: Session) -> None:
        try:
            await session.ended.wait()
        finally:
            try:
                await self._close(session)
            except Exception:  # whatever fails at its end, no other process may take the session for a live one
                log.exception("%s: did not end in order", session.id)
            if not self.admission.stopping:
                await self._keeper.release(session.id)

    async def _close(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        self._load.call_ended(session.id)
        await session.close()

    def _lost(self, session_id: str) -> None:
        if session := self._sessions.get(session_id):
            session.ended.set()

    def _save(self, session_id: str, state: dict[str, Any]) -> None:
        try:
            self._keeper.save(session_id, state)
        except MalformedError as error:
            log.warning("%s: should this process die, another one would not know: %s", session_id, error)

    # ---- calls of dead processes ---------------------------------------------------------------------

    async def _take_over(self, lease: messages.Lease) -> bool:
        """Continue a call whose process is gone; False if the call is gone too."""
        session = self._session(lease, self._agents.make(), read_snapshot(lease.state))

        async def fenced() -> bool:
            recent = await takeover.fence_and_recall(self._client, session.bus, lease)
            if recent is None:
                return False
            session.continue_call(recent, give_up=lease.deaths >= HOPELESS)
            self._metrics.add("antiphon_call_takeovers_total", how="killed")
            return True

        return await self._run_session(session, fenced)

    async def _apologise(self, lease: messages.Lease) -> None:
        """Apologise for another agent, which is dead, and hang up."""
        snapshot = ConversationSnapshot(session_created=True, greeted=True)
        session = self._session(lease, SilentAgent(), snapshot, receives_audio=False)

        async def fenced() -> bool:
            if not await takeover.fence(session.bus, lease):
                return False
            session.continue_call((), give_up=True)
            return True

        if await self._run_session(session, fenced):
            try:
                async with asyncio.timeout(_APOLOGY_SECONDS):
                    await session.ended.wait()
            finally:
                session.ended.set()
