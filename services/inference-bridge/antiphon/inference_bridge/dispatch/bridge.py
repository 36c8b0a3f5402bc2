"""A bridge process on the bus: registers, accepts claims up to its capacity, takes calls over, runs its sessions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.micro.request import Request
from nats.micro.service import Service
from opentelemetry import trace

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.chat_check import ChatCheck
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.agents.scripted import SilentAgent, greeting_of, load_agent_class
from antiphon.inference_bridge.conversation.response_playback import Speech, spoken_fallbacks
from antiphon.inference_bridge.conversation.session import Services, Session
from antiphon.inference_bridge.dispatch.abandoned_calls import AbandonedCalls
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot, read_snapshot
from antiphon.inference_bridge.dispatch.local_models import LocalModels, load_local_models
from antiphon.inference_bridge.dispatch.peers import Peers
from antiphon.inference_bridge.dispatch.speech_support_of import speech_support
from antiphon.inference_bridge.models.clients import ChunkedStt, LocalStt, LocalTts, TtsClient
from antiphon.inference_bridge.models.local import own_voice_language
from antiphon.inference_bridge.models.remote.http_tts import HttpTts
from antiphon.inference_bridge.models.remote.language_model import RemoteLanguageModel
from antiphon.inference_bridge.models.remote.pool import RemoteModels
from antiphon.inference_bridge.models.remote.speech_service import SpeechServiceError
from antiphon.inference_bridge.models.sources import ModelError
from antiphon.inference_bridge.models.threads import ModelThreads, Urgency
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.tts.normalization import for_remote_voice
from antiphon.inference_bridge.tts.phrase_cache import PhraseCache
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.unless_stopped import Stopped, unless_stopped
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.agent_sessions import lease_crypto, takeover
from antiphon.runtime.agent_sessions.admission import Admission, read_claim
from antiphon.runtime.agent_sessions.keeper import LeaseKeeper, new_instance
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
"""Another bridge takes the calls after one second without a beat; this ends the process that no longer reacts."""
_INPUT_RATE: Final = 16000
"""Hz of the caller's audio, as the models need it."""
_PASS_ON_WITHIN = 0.25
"""Seconds of the half second that a claim has; then there is time left to take it ourselves."""
_APOLOGY_SECONDS = 30.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
"""Seconds between two tries at the start to have the speech service say a word; doubled from the first on."""
HOPELESS = 3
"""Take-overs after which the caller gets an apology instead of another try: what kills us may be in the call."""


def _turn_settings(settings: Settings) -> TurnSettings:
    """Of a call whose client asks for nothing else."""
    usual, early_ms = TurnSettings(), settings.turn_speculate_ms
    busy_ms = max(usual.speculate_ms, early_ms)
    if settings.turn_silence_ms is None:
        return TurnSettings(
            threshold=settings.vad_threshold,
            speculate_ms=busy_ms,
            early_ms=early_ms,
            judged=True,
            language=settings.language,
        )
    silence_ms = settings.turn_silence_ms
    return TurnSettings(
        threshold=settings.vad_threshold,
        silence_ms=silence_ms,
        speculate_ms=min(busy_ms, silence_ms),
        early_ms=min(early_ms, silence_ms),
        language=settings.language,
    )


class Bridge:
    """All calls of this process.

    Owner: `run`, for the life of the process. Called from the event loop.
    """

    def __init__(
        self, client: Client, models: LocalModels, settings: Settings, scripted_agent: Callable[[], Agent]
    ) -> None:
        self._client, self._models, self._settings = client, models, settings
        self._about = {"agent": settings.agent_name}
        """What the service register says of this process."""
        self._troubles: dict[str, str] = {}
        self._scripted_agent = scripted_agent
        self._workers = ModelThreads(settings.bridge_threads, settings.bridge_capacity * _JOBS_PER_CALL)
        self._remote = RemoteModels(client)
        stt = LocalStt(models.transcriber, self._workers) if models.transcriber else self._remote
        self._speech_service = self._speech_by_url(settings) if settings.tts_url else None
        local_tts = LocalTts(models.synthesizer, self._workers) if models.synthesizer else self._remote
        tts: TtsClient = self._speech_service or local_tts
        self._vad_executor = ThreadPoolExecutor(1, thread_name_prefix="vad")
        self._sessions: dict[str, Session] = {}
        instance = new_instance()
        admission = self._admission = Admission(
            self._sessions, settings.bridge_capacity, instance, _INPUT_RATE, "ANTIPHON_BRIDGE_CAPACITY"
        )
        crypto = lease_crypto.from_file(settings.lease_key_file) if settings.lease_key_file is not None else None
        self._keeper = LeaseKeeper(
            client, settings.agent_name, self._take_over, self._lost, lambda: admission.room, instance, crypto
        )
        support = speech_support(settings, own_voice_language(settings))
        self._services = Services(
            client,
            Speech(ChunkedStt(stt), tts, PhraseCache(), support.language, support.voice),
            self._vad_executor,
            _turn_settings(settings),
            settings.greeting_text(
                phrase("greeting", settings.language) if settings.has_language_model else greeting_of(scripted_agent)
            ),
            settings.llm_instructions if settings.has_language_model else "",
            support,
            settings.bridge_idle,
            self._save,
            self._keeper.verify,
            instance,
            self._agent,
            is_scripted=not settings.has_language_model,
            patience_ms=settings.patience_ms,
            end_of_turn=models.end_of_turn,
            has_room=lambda: models.transcriber is None or self._workers.has_room,
        )
        self._abandoned = AbandonedCalls(
            client, settings.agent_name, instance, settings.orphan_seconds, self._apologise
        )
        self._about["instance"] = instance
        local = settings.llm_url and settings.llm == "local"
        key = settings.llm_api_key.get_secret_value()
        self._llm = client_for(settings.llm_url, key) if local else None
        self._chat_check = (
            ChatCheck(self._llm, settings.llm_model, bool(key), settings.llm_timeout, self._on_chat_server)
            if self._llm
            else None
        )
        self._checking: asyncio.Task[None] | None = None
        self._watchers: set[asyncio.Task[None]] = set()
        self._peers = Peers(instance)
        self._passed_on = 0
        self._passing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Be able to do all that a call needs, then be known as alive: calls of dead processes come from then on."""
        await self._client.subscribe(subjects.agent_beat(self._settings.agent_name), cb=self._on_beat)
        if self._models.transcriber is None:
            await self._remote.wait_for_worker("stt")
        if self._speech_service:
            await self._until_it_speaks(self._speech_service)
        elif self._models.synthesizer is None:
            await self._remote.wait_for_worker("tts")
        if self._settings.llm == "remote":
            await self._remote.wait_for_worker("llm")
        speech = self._services.speech
        for sentence in spoken_fallbacks(speech.language):  # they are needed when no speech can be made
            speech.phrases.keep(sentence, await speech.tts.synthesize(sentence, 1.0, Urgency.SOON))
        await self._keeper.start()
        if self._settings.orphan_seconds:
            await self._abandoned.start()

    def _speech_by_url(self, settings: Settings) -> HttpTts:
        key = settings.tts_api_key.get_secret_value()
        voice, language = settings.voice_name, settings.service_language
        return HttpTts(
            settings.tts_url, settings.tts_model, key, voice, for_remote_voice, language, self._on_speech_service
        )

    async def _until_it_speaks(self, service: HttpTts) -> None:
        """Return when the service speaks; `ModelError` for what only the operator can mend, such as a wrong key."""
        pause = _FIRST_PAUSE
        while True:
            log.info("asking the speech service %s for a word", self._settings.tts_url)
            try:
                return await service.check()
            except SpeechServiceError as error:  # the service's client has logged it
                if error.lasting:
                    problem = f"the speech service {self._settings.tts_url} does not speak: {error.what}"
                    raise ModelError(problem, error.fix) from None
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    # ---- new calls -----------------------------------------------------------------------------------

    async def join(self) -> Service:
        """Register: claims may come."""
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
        await service.add_endpoint(
            name="claim-passed-on", subject=own, handler=self.take_claim, queue_group=connection.NO_GROUP
        )
        await connection.require_allowed(self._client)
        return service

    def _on_chat_server(self, trouble: str | None) -> None:
        self._tell_trouble("chat", f"its chat server (ANTIPHON_LLM_URL) won't answer callers: {trouble}", trouble)

    def _on_speech_service(self, trouble: str | None) -> None:
        self._tell_trouble("speech", f"its speech service (ANTIPHON_TTS_URL) does not speak: {trouble}", trouble)

    def _tell_trouble(self, of: str, text: str, trouble: str | None) -> None:
        """What the service register shows of this process, and through it the health page and `antiphon doctor`."""
        self._troubles.pop(of, None)
        if trouble:
            self._troubles[of] = text
        self._about.pop(service_discovery.TROUBLE, None)
        if self._troubles:
            self._about[service_discovery.TROUBLE] = "; ".join(self._troubles.values())

    async def _on_beat(self, message: Msg) -> None:
        with contextlib.suppress(MalformedError):
            self._peers.received(messages.decode(message.data, messages.AgentBeat), time.monotonic())

    def figures(self) -> dict[str, Any]:
        """How claims went: what the register's statistics show."""
        return {**self._admission.figures(), "claims_passed_on": self._passed_on}

    async def claim(self, request: Request) -> None:
        """Answer a claim, or pass it on to a process that has more room."""
        capacity = 0 if self._admission.stopping else self._settings.bridge_capacity
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
                claim = read_claim(request.data, self._settings.agent_name)
            except MalformedError as error:
                await request.respond(self._admission.reply(str(error)))
                return
            span.set_attribute("antiphon.session", claim.session_id)
            refusal = self._admission.refusal(claim, time.time())
            if not refusal and not await self._accept(claim):
                refusal = self._admission.lost(claim.session_id)
            await request.respond(self._admission.reply(refusal))
            took_ms = (time.perf_counter() - started) * 1000
            span.set_attribute("antiphon.claim_ms", round(took_ms, 2))
            if not refusal:
                self._admission.accepted(claim.session_id, took_ms)

    async def _accept(self, claim: messages.Claim) -> bool:
        """Be ready for the session; False if another instance has it."""
        lease = self._admission.lease(claim, telemetry.trace_headers(), time.time())
        session = self._session(lease, self._agent())

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

    # ---- sessions ------------------------------------------------------------------------------------

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
            if not self._admission.stopping:
                await self._keeper.release(session.id)

    async def _close(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        await session.close()

    def _agent(self) -> Agent:
        if self._settings.llm == "remote":
            return RemoteLanguageModel(self._client, self._settings.llm_timeout)
        if self._llm is None or self._chat_check is None:
            return self._scripted_agent()
        model, timeout = self._settings.llm_model, self._settings.llm_timeout
        return LanguageModel(self._llm, model, timeout, self._chat_check.check_again)

    # ---- calls of dead processes -----------------------------------------------------------------------------

    async def _take_over(self, lease: messages.Lease) -> bool:
        """Continue a call whose process is gone; False if the call is gone too."""
        session = self._session(lease, self._agent(), read_snapshot(lease.state))

        async def fenced() -> bool:
            recent = await takeover.fence_and_recall(self._client, session.bus, lease)
            if recent is None:
                return False
            session.continue_call(recent, give_up=lease.takeovers >= HOPELESS)
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
        self._admission.stopping = True
        for session in self._sessions.values():
            session.hand_over()
        await self._abandoned.close()
        await self._keeper.close()
        await tasks.end(*self._watchers, *self._passing, *([self._checking] if self._checking else []))
        self._workers.close()
        self._vad_executor.shutdown(wait=False, cancel_futures=True)
        if self._llm:
            await self._llm.close()
        if self._speech_service:
            await self._speech_service.close()


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Models are ready before the first claim can come.

    `ModelError`, `AgentNameError` and `SpeechSettingsError` for settings that can't be used.
    """
    speech_support(settings, own_voice_language(settings))  # settings that contradict end here, not after the loading
    scripted_agent = load_agent_class(settings.scripted_agent)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # in a worker, because the threads that the models' libraries start inherit its low priority
    loader = ModelThreads(1, 1)
    try:
        try:
            models = await unless_stopped(stop, loader.submit(partial(load_local_models, settings), Urgency.NOW).future)
        finally:
            loader.close()
        connecting = connection.connect(settings.nats_url, "antiphon-inference-bridge", settings.nats_access())
        client = await unless_stopped(stop, connecting)
        bridge = Bridge(client, models, settings, scripted_agent)
        await unless_stopped(stop, bridge.start())
    except Stopped:
        return
    service = await bridge.join()
    if settings.llm == "remote":
        answers = "a language model of the workers"
    else:
        answers = (
            f"{settings.llm_model} at {settings.llm_url}"
            if settings.llm_url
            else f"{settings.scripted_agent}, a scripted agent"
        )
    log.info("ready: agent %s is %s", settings.agent_name, answers)
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
