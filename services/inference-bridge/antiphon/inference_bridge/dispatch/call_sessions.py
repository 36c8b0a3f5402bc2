"""The sessions of a bridge, of all its agents: accepted claims, calls of dead processes, and how each of them ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, Final, NamedTuple

from nats.aio.client import Client

from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.agents.scripted import SilentAgent
from antiphon.inference_bridge.conversation.response_playback import Speech
from antiphon.inference_bridge.conversation.session import Session
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot, read_snapshot, snapshot_of
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.dispatch.model_clients import ModelClients
from antiphon.inference_bridge.dispatch.session_services import session_services
from antiphon.inference_bridge.realtime_protocol.mcp_tools import without_secrets
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import takeover
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


class CallTerms(NamedTuple):
    """What a call has from its agent. A value."""

    profile: AgentProfile
    wishes: SessionSettings
    """In force where the client names nothing."""
    keeper: LeaseKeeper | None
    """Of the agent's leases; None: the call is kept for no other process."""


class _Call(NamedTuple):
    session: Session
    keeper: LeaseKeeper | None


class _SessionsOf(Collection[str]):
    """The table of sessions as the admission of one agent sees it: its own by id, the length of all.

    While a call goes from one agent to another of the same bridge both have its id.
    """

    def __init__(self, agent: str, calls: dict[tuple[str, str], _Call]) -> None:
        self._agent, self._calls = agent, calls

    def __contains__(self, session_id: object) -> bool:
        return (self._agent, session_id) in self._calls

    def __iter__(self) -> Iterator[str]:
        return (session_id for agent, session_id in self._calls if agent == self._agent)

    def __len__(self) -> int:
        return len(self._calls)


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
        instance: str,
        metrics: Metrics = OFF,
    ) -> None:
        """`instance`: our name among the processes of each agent."""
        self._client, self._models, self._metrics = client, models, metrics
        self._capacity, self._instance = settings.bridge_capacity, instance
        self._load = clients.load
        self._calls: dict[tuple[str, str], _Call] = {}
        """By agent and session id."""
        self._count: Counter[str] = Counter()
        self._stopping = False
        self._services = session_services(client, settings, models, clients, instance, self._save, self._verify)
        self._watchers: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many calls there are."""
        return len(self._calls)

    def count(self, agent: str) -> int:
        """How many of them are of this agent."""
        return self._count[agent]

    def register_metrics(self, metrics: Metrics) -> None:
        """Have a scraper read calls and capacity, those of all agents together."""
        metrics.gauge("antiphon_call_agent_sessions", lambda: len(self))
        metrics.gauge("antiphon_call_capacity", lambda: 0 if self._stopping else self._capacity)
        metrics.gauge("antiphon_process_draining", lambda: int(self._stopping))

    @property
    def speech(self) -> Speech:
        """The speech models that all calls share."""
        return self._services.speech

    @property
    def support(self) -> SpeechSupport:
        """What they can do."""
        return self._services.support

    def admission(self, agent: str, unfit: Callable[[], tuple[str, int]]) -> Admission:
        """Decides about the claims for one agent; the places are shared by all.

        `unfit()`: why this agent should get no further call now, and the seconds after which to try again.
        """

        def overload() -> tuple[str, int]:
            why = unfit()
            return why if why[0] else self._load.refusal(time.monotonic())

        sessions = _SessionsOf(agent, self._calls)
        return Admission(sessions, self._capacity, self._instance, _INPUT_RATE, "ANTIPHON_BRIDGE_CAPACITY", overload)

    async def accept(self, lease: messages.Lease, terms: CallTerms) -> bool:
        """Be ready for the session of a claim; False if another instance has it."""
        keeper = terms.keeper
        assert keeper is not None
        begins_with = snapshot_of(lease.handed)
        session = self._session(lease, terms, begins_with)

        kept = lease.model_copy(update={"session": without_secrets(lease.session)})

        async def hold() -> bool:
            await keeper.hold(kept)
            holds = keeper.holds(session.id)
            if holds and begins_with is not None:
                session.continue_call((), give_up=False)
            return holds

        accepted = False
        try:
            accepted = await self._run_session(session, terms, hold)
        finally:
            if not accepted:
                await keeper.release(session.id)
        return accepted

    async def take_over(self, lease: messages.Lease, terms: CallTerms) -> bool:
        """Continue a call whose process is gone; False if the call is gone too."""
        begins_with = snapshot_of(lease.handed) if not lease.state else None
        session = self._session(lease, terms, begins_with or read_snapshot(lease.state))

        async def fenced() -> bool:
            recent = await takeover.fence_and_recall(self._client, session.bus, lease)
            if recent is None:
                return False
            session.continue_call(recent, give_up=lease.deaths >= HOPELESS)
            self._metrics.add("antiphon_call_takeovers_total", how="killed")
            return True

        return await self._run_session(session, terms, fenced)

    async def apologise(self, lease: messages.Lease) -> None:
        """Apologise for an agent that is dead and not served here, and hang up."""
        snapshot = ConversationSnapshot(session_created=True, greeted=True)
        terms = CallTerms(AgentProfile(lease.agent, lambda _: SilentAgent()), SessionSettings(), None)
        session = self._session(lease, terms, snapshot, receives_audio=False)

        async def fenced() -> bool:
            if not await takeover.fence(session.bus, lease):
                return False
            session.continue_call((), give_up=True)
            return True

        if await self._run_session(session, terms, fenced):
            try:
                async with asyncio.timeout(_APOLOGY_SECONDS):
                    await session.ended.wait()
            finally:
                session.ended.set()

    def lost(self, agent: str, session_id: str) -> None:
        """Another instance holds the session now."""
        if call := self._calls.get((agent, session_id)):
            call.session.ended.set()

    def hand_over(self) -> None:
        """We leave: keep the last of each call for the process that goes on with it."""
        self._stopping = True
        for call in self._calls.values():
            call.session.hand_over()

    async def close(self) -> None:
        """End what is left here of all calls."""
        self._stopping = True
        await tasks.end(*self._watchers)

    # ---- one session ---------------------------------------------------------------------------------

    def _session(
        self,
        lease: messages.Lease,
        terms: CallTerms,
        snapshot: ConversationSnapshot | None = None,
        receives_audio: bool = True,
    ) -> Session:
        stream = self._models.voice_activity.stream()
        return Session(lease, terms.profile, terms.wishes, self._services, stream, snapshot, receives_audio)

    async def _run_session(self, session: Session, terms: CallTerms, confirm: Callable[[], Awaitable[bool]]) -> bool:
        """Subscribe, then `confirm` that the session is ours and exists; a task then sees to its end.

        If not, or if either raises, nothing is left of the session here.
        """
        agent = session.bus.agent
        self._calls[agent, session.id] = _Call(session, terms.keeper)  # before the first await: the capacity is exact
        self._count[agent] += 1
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
        watcher = asyncio.create_task(self._until_ended(session, terms.keeper))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return True

    async def _until_ended(self, session: Session, keeper: LeaseKeeper | None) -> None:
        try:
            await session.ended.wait()
        finally:
            try:
                await self._close(session)
            except Exception:  # whatever fails at its end, no other process may take the session for a live one
                log.exception("%s: did not end in order", session.id)
            if not self._stopping and keeper is not None:
                await keeper.release(session.id)

    async def _close(self, session: Session) -> None:
        agent = session.bus.agent
        call = self._calls.get((agent, session.id))
        if call is not None and call.session is session:
            del self._calls[agent, session.id]
            self._count[agent] -= 1
            if not self._count[agent]:
                del self._count[agent]
            if not any(session_id == session.id for _, session_id in self._calls):
                self._load.call_ended(session.id)  # else the agent that it was given to is ours as well
        await session.close()

    def _save(self, agent: str, session_id: str, state: dict[str, Any]) -> None:
        call = self._calls.get((agent, session_id))
        if call is None or call.keeper is None:
            return
        try:
            call.keeper.save(session_id, state)
        except MalformedError as error:
            log.warning("%s: should this process die, another one would not know: %s", session_id, error)

    def _verify(self, agent: str, session_id: str) -> None:
        call = self._calls.get((agent, session_id))
        if call is not None and call.keeper is not None:
            call.keeper.verify(session_id)
