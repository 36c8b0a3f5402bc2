"""The process on the bus: stands in the register, takes claims up to its capacity, drops sessions that are over."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.micro.request import Request
from opentelemetry import trace
from opentelemetry.context import Context

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.concierge import Concierge
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.hearing.turns import TurnSettings
from antiphon.inference_bridge.models import Models, load_models
from antiphon.inference_bridge.reply import Speech
from antiphon.inference_bridge.session import Services, Session
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.speech.phrase_cache import PhraseCache
from antiphon.inference_bridge.workers import Urgency, Workers
from antiphon.schemas import bus, messages, subjects, tasks
from antiphon.schemas.errors import MalformedError

T = TypeVar("T")

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)

_JOBS_PER_CALL = 4
"""Waiting model jobs per call of the capacity; above that the least urgent are given up."""
_END_WITHIN = 1.5


class Bridge:
    """All calls of this process."""

    def __init__(self, client: Client, models: Models, settings: Settings) -> None:
        self._client, self._models, self._settings = client, models, settings
        self._workers = Workers(settings.bridge_threads, settings.bridge_capacity * _JOBS_PER_CALL)
        self._vad_executor = ThreadPoolExecutor(1, thread_name_prefix="vad")
        self._services = Services(
            client,
            models.transcriber,
            Speech(models.synthesizer, self._workers, PhraseCache()),
            self._vad_executor,
            TurnSettings(
                threshold=settings.vad_threshold,
                silence_ms=settings.turn_silence_ms,
                speculate_ms=min(settings.turn_speculate_ms, settings.turn_silence_ms),
            ),
            settings.greeting_text,
            settings.bridge_idle,
        )
        self._llm = client_for(settings.llm_url, settings.llm_api_key.get_secret_value()) if settings.llm_url else None
        self._sessions: dict[str, Session] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._instance = f"{socket.gethostname()}-{os.getpid()}"

    async def claim(self, request: Request) -> None:
        """Answer a claim: the session is subscribed before it is accepted."""
        context = bus.trace_context(request.headers)
        with tracer.start_as_current_span("claim", context=context) as span:
            try:
                claim = messages.decode(request.data, messages.Claim)
                span.set_attribute("antiphon.session", claim.session_id)
                refusal = self._refusal(claim)
                if not refusal:
                    await self._take(claim, trace.set_span_in_context(span, context))
            except MalformedError as error:
                refusal = str(error)
            reply = messages.ClaimReply(
                accepted=not refusal, input_rate=16000, instance=self._instance, message=refusal
            )
            await request.respond(messages.encode(reply))
            if refusal:
                log.warning("claim refused: %s", refusal)

    def _refusal(self, claim: messages.Claim) -> str:
        subjects.audio_in(claim.session_id)  # raises for a name that no subject can hold
        if claim.session_id in self._sessions:
            return f"session {claim.session_id} is claimed already"
        if len(self._sessions) >= self._settings.bridge_capacity:
            return f"this bridge has {len(self._sessions)} calls, its capacity (ANTIPHON_BRIDGE_CAPACITY)"
        return ""

    async def _take(self, claim: messages.Claim, context: Context) -> None:
        stream = self._models.voice_activity.stream()
        session = Session(claim, self._agent(claim), self._services, stream, context)
        self._sessions[claim.session_id] = session  # before the first await: the capacity is exact
        try:
            await session.start()
        except BaseException:
            del self._sessions[claim.session_id]
            await session.close()
            raise
        watcher = asyncio.create_task(self._until_ended(session))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        log.info("%s: claimed (%d of %d)", session.id, len(self._sessions), self._settings.bridge_capacity)

    async def _until_ended(self, session: Session) -> None:
        try:
            await session.ended.wait()
        finally:
            self._sessions.pop(session.id, None)
            await session.close()

    def _agent(self, claim: messages.Claim) -> Agent:
        if self._llm is None:
            return Concierge()
        asked = claim.session.get("instructions")
        instructions = asked if isinstance(asked, str) and asked.strip() else self._settings.llm_instructions
        return LanguageModel(self._llm, self._settings.llm_model, instructions, self._settings.llm_timeout)

    async def close(self) -> None:
        await tasks.end(*self._watchers)
        self._workers.close()
        self._vad_executor.shutdown(wait=False, cancel_futures=True)
        if self._llm:
            await self._llm.close()


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Models are ready before the first claim can come."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # in a worker, because the threads that the models' libraries start inherit its low priority
    loader = Workers(1, 1)
    models = await _unless(stop, loader.submit(partial(load_models, settings), Urgency.NOW).future)
    loader.close()
    if models is None:
        return
    client = await _unless(stop, asyncio.ensure_future(bus.connect(settings.nats_url, "antiphon-inference-bridge")))
    if client is None:
        return
    bridge = Bridge(client, models, settings)
    service = await bus.register(client, bus.AGENT_SERVICE, {"agent": settings.agent_name})
    await service.add_endpoint(
        name="claim",
        subject=subjects.agent_claim(settings.agent_name),
        handler=bridge.claim,
        queue_group=settings.agent_name,
    )
    await bus.flush(client)
    who = f"{settings.llm_model} at {settings.llm_url}" if settings.llm_url else "the scripted concierge"
    log.info("ready: agent %s is %s", settings.agent_name, who)
    await stop.wait()
    log.info("stopping")
    try:
        async with asyncio.timeout(_END_WITHIN):
            await service.stop()
            await bridge.close()
            await client.close()
    except TimeoutError:
        log.warning("some calls did not end in time")


async def _unless(stop: asyncio.Event, work: asyncio.Future[T]) -> T | None:
    """The result of `work`, or None if `stop` is set before there is one."""
    stopping = asyncio.create_task(stop.wait())
    waited: list[asyncio.Future[Any]] = [work, stopping]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if work.done():
        return work.result()
    work.cancel()
    return None
