"""The process on the bus: stands in the register, takes claims up to its capacity, drops sessions that are over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.micro.request import Request
from nats.micro.service import Service
from opentelemetry import trace
from opentelemetry.context import Context

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.chat_check import ChatCheck
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.agents.scripted import NEUTRAL_GREETING, SilentAgent, greeting_of, load_agent_class
from antiphon.inference_bridge.conversation.response_playback import SPOKEN_FALLBACKS, Speech
from antiphon.inference_bridge.conversation.session import Services, Session
from antiphon.inference_bridge.dispatch.abandoned_calls import AbandonedCalls
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot, read_record
from antiphon.inference_bridge.dispatch.local_models import LocalModels, load_local_models
from antiphon.inference_bridge.dispatch.peers import Peers
from antiphon.inference_bridge.models.clients import ChunkedStt, LocalStt, LocalTts
from antiphon.inference_bridge.models.remote.language_model import RemoteLanguageModel
from antiphon.inference_bridge.models.remote.pool import RemoteModels
from antiphon.inference_bridge.models.threads import ModelThreads, Urgency
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.tts.phrase_cache import PhraseCache
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.unless_stopped import unless
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.agent_sessions import leases, recent_audio
from antiphon.runtime.agent_sessions.keeper import LeaseKeeper
from antiphon.runtime.loop_watchdog import LoopWatchdog
from antiphon.runtime.nats import connection, service_discovery
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)

_JOBS_PER_CALL = 4
"""Waiting model jobs per call of the capacity; above that the least urgent are given up."""
_END_WITHIN = 1.5
STANDSTILL_SECONDS = 10.0
"""Another bridge takes the calls after one second without a beat; this is for the process that would stay deaf."""
_CLAIMS_MEASURED = 1000
_PASS_ON_WITHIN = 0.25
"""Seconds of the half second that a claim has; then there is time left to take it ourselves."""
_SEEN_OFF_WITHIN = 30.0
HOPELESS = 3
"""Take-overs after which the caller gets an apology instead of another try: what kills us may be in the call."""


class Bridge:
    """All calls of this process."""

    def __init__(
        self, client: Client, models: LocalModels, settings: Settings, scripted_agent: Callable[[], Agent]
    ) -> None:
        self._client, self._models, self._settings = client, models, settings
        self._scripted_agent = scripted_agent
        self._workers = ModelThreads(settings.bridge_threads, settings.bridge_capacity * _JOBS_PER_CALL)
        self._remote = RemoteModels(client)
        stt = LocalStt(models.transcriber, self._workers) if models.transcriber else self._remote
        tts = LocalTts(models.synthesizer, self._workers) if models.synthesizer else self._remote
        self._vad_executor = ThreadPoolExecutor(1, thread_name_prefix="vad")
        self._keeper = LeaseKeeper(client, settings.agent_name, self._take_over, self._lost, self._room)
        self._services = Services(
            client,
            Speech(ChunkedStt(stt), tts, PhraseCache()),
            self._vad_executor,
            TurnSettings(
                threshold=settings.vad_threshold,
                silence_ms=settings.turn_silence_ms,
                speculate_ms=min(settings.turn_speculate_ms, settings.turn_silence_ms),
                judged=models.end_of_turn is not None,
            ),
            settings.greeting_text(NEUTRAL_GREETING if settings.has_language_model else greeting_of(scripted_agent)),
            settings.llm_instructions if settings.has_language_model else "",
            settings.voice_name,
            settings.bridge_idle,
            self._save,
            self._keeper.doubt,
            self._keeper.instance,
            end_of_turn=models.end_of_turn,
        )
        self._orphanage = AbandonedCalls(
            client, settings.agent_name, self._keeper.instance, settings.orphan_seconds, self._see_off
        )
        self._about = {"agent": settings.agent_name, "instance": self._keeper.instance}
        """What the register says of this process."""
        local = settings.llm_url and settings.llm == "local"
        key = settings.llm_api_key.get_secret_value()
        self._llm = client_for(settings.llm_url, key) if local else None
        self._chat_check = (
            ChatCheck(self._llm, settings.llm_model, bool(key), settings.llm_timeout, self._on_chat_server)
            if self._llm
            else None
        )
        self._checking: asyncio.Task[None] | None = None
        self._sessions: dict[str, Session] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._peers = Peers(self._keeper.instance)
        self._claim_ms: deque[float] = deque(maxlen=_CLAIMS_MEASURED)
        self._claims = self._refused = self._passed_on = 0
        self._passing: set[asyncio.Task[None]] = set()

    async def start(self) -> bool:
        """Be able to do all that a call needs, then be known as alive: calls of dead processes come from then on."""
        await self._client.subscribe(subjects.agent_beat(self._settings.agent_name), cb=self._on_beat)
        if self._models.transcriber is None:
            await self._remote.wait_for_worker("stt")
        if self._models.synthesizer is None:
            await self._remote.wait_for_worker("tts")
        if self._settings.llm == "remote":
            await self._remote.wait_for_worker("llm")
        speech = self._services.speech
        for phrase in SPOKEN_FALLBACKS:  # must be sayable when nothing else is
            speech.phrases.keep(phrase, await speech.tts.synthesize(phrase, 1.0, Urgency.SOON))
        await self._keeper.start()
        if self._settings.orphan_seconds:
            await self._orphanage.start()
        try:
            await recent_audio.keep(self._client.jetstream(timeout=2))
        except (nats.errors.Error, TimeoutError) as error:
            log.warning("the callers' last seconds are not kept for a take-over: %s", error or type(error).__name__)
        return True

    # ---- new calls -----------------------------------------------------------------------------------

    async def join(self) -> Service:
        """Stand in the register: claims may come."""
        name = self._settings.agent_name
        if self._chat_check:
            self._checking = asyncio.create_task(self._chat_check.run())
        service = await service_discovery.register(
            self._client, service_discovery.AGENT_SERVICE, self._about, self.figures
        )
        await service.add_endpoint(
            name="claim", subject=subjects.agent_claim(name), handler=self.claim, queue_group=name
        )
        own = subjects.agent_claim_of(name, self._keeper.instance)
        await service.add_endpoint(name="claim-passed-on", subject=own, handler=self.take_claim)
        await connection.flush(self._client)
        return service

    def _on_chat_server(self, trouble: str | None) -> None:
        self._about.pop(service_discovery.TROUBLE, None)
        if trouble:
            self._about[service_discovery.TROUBLE] = (
                f"its chat server (ANTIPHON_LLM_URL) won't answer callers: {trouble}"
            )

    async def _on_beat(self, message: Msg) -> None:
        with contextlib.suppress(MalformedError):
            self._peers.heard(messages.decode(message.data, messages.AgentBeat), time.monotonic())

    def figures(self) -> dict[str, Any]:
        """How claims went: what the register's statistics show."""
        took = sorted(self._claim_ms)
        return {
            "sessions": len(self._sessions),
            "capacity": self._settings.bridge_capacity,
            "claims": self._claims,
            "claims_refused": self._refused,
            "claims_passed_on": self._passed_on,
            "claim_ms_p50": took[len(took) // 2] if took else None,
            "claim_ms_p95": took[len(took) * 95 // 100] if took else None,
        }

    async def claim(self, request: Request) -> None:
        """Answer a claim, or pass it on to a process that has more room."""
        capacity = 0 if self._leaving else self._settings.bridge_capacity
        other = self._peers.better(len(self._sessions), capacity, time.monotonic())
        if other is None:
            await self.take_claim(request)
            return
        # requests come one by one, and another process may need its time
        passing = asyncio.create_task(self._pass_on(request, other))
        self._passing.add(passing)
        passing.add_done_callback(self._passing.discard)

    async def _pass_on(self, request: Request, other: str) -> None:
        self._passed_on += 1
        subject = subjects.agent_claim_of(self._settings.agent_name, other)
        try:
            answer = await self._client.request(
                subject, request.data, timeout=_PASS_ON_WITHIN, headers=dict(request.headers or {}) or None
            )
        except (nats.errors.Error, TimeoutError) as error:
            log.warning("claim: %s does not take it: %s", other, error or type(error).__name__)
            await self.take_claim(request)
        else:
            await request.respond(answer.data)

    async def take_claim(self, request: Request) -> None:
        """Answer a claim: the session is subscribed before it is accepted."""
        started = time.perf_counter()
        context = telemetry.trace_context(request.headers)
        with tracer.start_as_current_span("claim", context=context) as span:
            try:
                claim = messages.decode(request.data, messages.Claim)
                span.set_attribute("antiphon.session", claim.session_id)
                refusal = self._refusal(claim)
                if not refusal and not await self._take(claim, trace.set_span_in_context(span, context)):
                    refusal = f"another instance has taken session {claim.session_id}"
            except MalformedError as error:
                refusal = str(error)
            reply = messages.ClaimReply(
                accepted=not refusal, input_rate=16000, instance=self._keeper.instance, message=refusal
            )
            await request.respond(messages.encode(reply))
            took_ms = (time.perf_counter() - started) * 1000
            span.set_attribute("antiphon.claim_ms", round(took_ms, 2))
            if refusal:
                self._refused += 1
                log.warning("claim refused: %s", refusal)
            else:
                self._claims += 1
                self._claim_ms.append(round(took_ms, 2))
                log.info(
                    "%s: claimed in %.1f ms (%d of %d)",
                    claim.session_id,
                    took_ms,
                    len(self._sessions),
                    self._settings.bridge_capacity,
                )

    def _room(self) -> int:
        return 0 if self._leaving else self._settings.bridge_capacity - len(self._sessions)

    def _refusal(self, claim: messages.Claim) -> str:
        subjects.audio_in(claim.session_id)  # raises for a name that no subject can hold
        if claim.session_id in self._sessions:
            return f"session {claim.session_id} is claimed already"
        if leases.is_stale(claim, time.time()):
            return f"the claim of session {claim.session_id} is too old: or do the machines' clocks differ?"
        if self._leaving:
            return "this bridge is about to stop"
        if self._room() <= 0:
            return f"this bridge has {len(self._sessions)} calls, its capacity (ANTIPHON_BRIDGE_CAPACITY)"
        return ""

    async def _take(self, claim: messages.Claim, context: Context) -> bool:
        """Be ready for the session; False if another instance has it."""
        stream = self._models.voice_activity.stream()
        first = leases.first_generation(0)
        session = Session(claim, self._agent(), self._services, stream, context, first_generation=first)
        self._sessions[claim.session_id] = session  # before the first await: the capacity is exact
        try:
            await self._keeper.hold(claim, 16000, telemetry.trace_headers())
            await session.start()
        except BaseException:
            await self._let_go(session)
            raise
        if not self._keeper.holds(claim.session_id):
            await self._let_go(session)
            return False
        self._watch(session)
        return True

    async def _let_go(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        await session.close()
        await self._keeper.release(session.id)

    def _watch(self, session: Session) -> None:
        watcher = asyncio.create_task(self._until_ended(session))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _until_ended(self, session: Session) -> None:
        try:
            await session.ended.wait()
        finally:
            self._sessions.pop(session.id, None)
            await session.close()
            if not self._leaving:
                await self._keeper.release(session.id)

    def _agent(self) -> Agent:
        if self._settings.llm == "remote":
            return RemoteLanguageModel(self._client, self._settings.llm_timeout)
        if self._llm is None or self._chat_check is None:
            return self._scripted_agent()
        model, timeout = self._settings.llm_model, self._settings.llm_timeout
        return LanguageModel(self._llm, model, timeout, self._chat_check.check_again)

    # ---- calls of others -----------------------------------------------------------------------------

    async def _take_over(self, lease: messages.Lease) -> bool:
        """Go on with a call whose process is gone; False if the call is gone too."""
        record = read_record(lease.state)
        claim = messages.Claim(session_id=lease.session_id, agent=lease.agent, session=lease.session)
        session = Session(
            claim,
            self._agent(),
            self._services,
            self._models.voice_activity.stream(),
            telemetry.trace_context(lease.trace),
            record,
            lease.takeovers,
            leases.first_generation(lease.takeovers),
        )
        self._sessions[session.id] = session
        try:
            await session.start()
            recent = asyncio.create_task(recent_audio.read(self._client, session.id))
            there = await self._keeper.fence(lease)
            frames = await recent
        except BaseException:
            self._sessions.pop(session.id, None)
            await session.close()
            raise
        if not there:
            self._sessions.pop(session.id, None)
            await session.close()
            return False
        session.go_on(frames, lease.takeovers >= HOPELESS)
        self._watch(session)
        return True

    async def _see_off(self, lease: messages.Lease) -> None:
        """Apologise for another agent, which is dead, and hang up."""
        claim = messages.Claim(session_id=lease.session_id, agent=lease.agent, session=lease.session)
        session = Session(
            claim,
            SilentAgent(),
            self._services,
            self._models.voice_activity.stream(),
            telemetry.trace_context(lease.trace),
            ConversationSnapshot(met=True, greeted=True),
            lease.takeovers,
            leases.first_generation(lease.takeovers),
            deaf=True,
        )
        self._sessions[session.id] = session
        try:
            await session.start()
            if await self._keeper.fence(lease):
                session.go_on((), hopeless=True)
                async with asyncio.timeout(_SEEN_OFF_WITHIN):
                    await session.ended.wait()
        finally:
            self._sessions.pop(session.id, None)
            await session.close()

    def _lost(self, session_id: str) -> None:
        if session := self._sessions.get(session_id):
            session.ended.set()

    def _save(self, session_id: str, state: dict[str, Any]) -> None:
        try:
            self._keeper.save(session_id, state)
        except MalformedError as error:
            log.warning("%s: should this process die, another one would not know: %s", session_id, error)

    # ---- the end -------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Leave: other processes of this agent go on with the calls, at once."""
        self._leaving = True
        for session in self._sessions.values():
            session.hand_over()
        await self._orphanage.close()
        await self._keeper.close()
        await tasks.end(*self._watchers, *self._passing, *([self._checking] if self._checking else []))
        self._workers.close()
        self._vad_executor.shutdown(wait=False, cancel_futures=True)
        if self._llm:
            await self._llm.close()


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Models are ready before the first claim can come.

    `ModelError` and `AgentNameError` for settings that can't be used.
    """
    scripted_agent = load_agent_class(settings.scripted_agent)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # in a worker, because the threads that the models' libraries start inherit its low priority
    loader = ModelThreads(1, 1)
    models = await unless(stop, loader.submit(partial(load_local_models, settings), Urgency.NOW).future)
    loader.close()
    if models is None:
        return
    client = await unless(
        stop, asyncio.ensure_future(connection.connect(settings.nats_url, "antiphon-inference-bridge"))
    )
    if client is None:
        return
    bridge = Bridge(client, models, settings, scripted_agent)
    if await unless(stop, asyncio.ensure_future(bridge.start())) is None:
        return
    service = await bridge.join()
    if settings.llm == "remote":
        who = "a language model of the workers"
    else:
        who = (
            f"{settings.llm_model} at {settings.llm_url}"
            if settings.llm_url
            else f"{settings.scripted_agent}, a scripted agent"
        )
    log.info("ready: agent %s is %s", settings.agent_name, who)
    watchdog = LoopWatchdog("inference-bridge", STANDSTILL_SECONDS)
    watchdog.start()
    await stop.wait()
    watchdog.stop()
    log.info("stopping")
    try:
        async with asyncio.timeout(_END_WITHIN):
            await service.stop()
            await bridge.close()
            await client.close()
    except TimeoutError:
        log.warning("some calls did not end in time")
