"""`python -m antiphon.inference_bridge --worker stt|tts|llm`: a process with one model that any bridge may use.

It registers as a service when the model is loaded, checked and warm, and refuses work that would wait for too long.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from functools import partial
from typing import Any, Final, Literal

from nats.aio.client import Client
from nats.micro.request import Request
from nats.micro.service import Service
from opentelemetry.trace import SpanKind

from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.models.local import load_synthesizer, load_transcriber
from antiphon.inference_bridge.models.remote import wire
from antiphon.inference_bridge.models.remote.llm_worker import LanguageModelWorker
from antiphon.inference_bridge.models.threads import Job, ModelThreads, Urgency
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Transcriber, UnknownLanguageError
from antiphon.inference_bridge.tts.synthesizer import Synthesizer
from antiphon.inference_bridge.unless_stopped import Stopped, unless_stopped
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.metrics import OFF, Metrics, MetricsService
from antiphon.runtime.metrics.health import DRAINING
from antiphon.runtime.metrics.model_meter import ModelMeter
from antiphon.runtime.metrics.settings import MetricsSettings
from antiphon.runtime.nats import connection, process_drain, service_discovery
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

_WAITING_PER_THREAD = 2
"""Jobs that may wait here; behind more of them a bridge is better served by another worker."""
MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 4.0
"""A speed near zero would make one word last, and fill memory, for hours."""
_MAX_NAME: Final = 64
"""Characters of a voice's name or a language's tag."""
_END_WITHIN = 1.5


class Worker:
    """Answers requests for speech to text or for speech with the one model of this process.

    Owned by `run`, for the life of the process. nats-py calls `on_request` on the event loop.
    """

    def __init__(
        self,
        threads: int,
        transcriber: Transcriber | None,
        voice: Synthesizer | None,
        metrics: Metrics = OFF,
    ) -> None:
        """One of `transcriber` and `voice` is given; it runs on `threads` threads."""
        self._meter = ModelMeter(metrics, "stt" if transcriber is not None else "tts", "local")
        metrics.gauge("antiphon_model_busy", lambda: {"threads": self._threads.running})
        metrics.gauge("antiphon_model_queue_length", lambda: {"threads": self._threads.waiting})
        self._transcriber, self._voice = transcriber, voice
        self._threads = ModelThreads(threads, threads * _WAITING_PER_THREAD)
        self._max_jobs = threads * (1 + _WAITING_PER_THREAD)
        self._jobs: set[asyncio.Task[None]] = set()

    async def on_request(self, request: Request) -> None:
        """Start the work of a request, or refuse it when all threads and places are taken."""
        if len(self._jobs) >= self._max_jobs:
            await request.respond(wire.pack("error", "all threads are taken", True))
            return
        job = asyncio.create_task(self._answer(request))  # requests come one by one, work goes on side by side
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _answer(self, request: Request) -> None:
        began, failed = self._meter.begin(), False
        name = names.SPEECH_TO_TEXT if self._transcriber is not None else names.TEXT_TO_SPEECH
        context = telemetry.trace_context(request.headers)
        try:
            with spans.current(f"{name} worker", context, kind=SpanKind.SERVER, attributes={names.OPERATION: name}):
                if self._transcriber is not None:
                    await self._transcribe(request, self._transcriber)
                elif self._voice is not None:
                    await self._synthesize(request, self._voice)
            self._meter.answered(began)
        except Exception as error:
            failed = True
            if not isinstance(error, MalformedError | UnknownLanguageError):
                log.exception("a job failed")
            await request.respond(wire.pack("error", str(error)[:500] or type(error).__name__, False))
        finally:
            self._meter.end(failed)

    async def _transcribe(self, request: Request, model: Transcriber) -> None:
        prompt, pcm, *more = wire.unpack(request.data, str, bytes)
        language = more[0] if more else ""
        if type(language) is not str or len(language) > wire.MAX_LANGUAGE:
            raise MalformedError(f"the language {language!r:.40} is no tag of at most {wire.MAX_LANGUAGE} characters")
        if len(prompt) > wire.MAX_TEXT:
            raise MalformedError(f"a prompt of {len(prompt)} characters: at most {wire.MAX_TEXT}")
        if len(pcm) > wire.MAX_PCM:
            raise MalformedError(f"{len(pcm)} bytes of audio: at most {wire.MAX_PCM}, longer turns go in pieces")
        job: Job[str] = self._threads.submit(partial(model.transcribe, pcm, prompt, language), Urgency.NOW)
        text = await job
        await request.respond(wire.pack("text", text, job.work_ms))

    async def _synthesize(self, request: Request, voice: Synthesizer) -> None:
        text, speed, *chosen = wire.unpack(request.data, str, float)
        voice_name, language = _chosen(chosen)
        if not MIN_SPEED <= speed <= MAX_SPEED:
            raise MalformedError(f"a speed of {speed!r}: {MIN_SPEED} to {MAX_SPEED} is possible")
        work = partial(voice.synthesize, text[: wire.MAX_TEXT], speed, voice_name, language)
        job = self._threads.submit(work, Urgency.NOW)
        pcm = (await job).astype("<i2").tobytes()
        for at in range(0, max(1, len(pcm)), wire.PIECE):
            last = at + wire.PIECE >= len(pcm)
            await request.respond(wire.pack("pcm", pcm[at : at + wire.PIECE], job.work_ms, last))

    async def close(self) -> None:
        """Cancel what is under way."""
        await tasks.end(*self._jobs)
        self._threads.close()


def _chosen(fields: list[Any]) -> tuple[str, str]:
    """Voice and language of a request; empty where it names none, as older bridges do."""
    if not fields:
        return "", ""
    if len(fields) < 2 or not all(isinstance(field, str) for field in fields[:2]):
        raise MalformedError("a worker's message names a voice or a language that is no text")
    return fields[0][:_MAX_NAME], fields[1][:_MAX_NAME]


async def run(settings: Settings, kind: wire.Kind, metrics: MetricsSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    shown = MetricsService("worker", metrics, name=kind)
    try:
        if kind == "llm":
            await _run_language_model(settings, stop, shown)
        else:
            await _run_speech_model(settings, kind, stop, shown)
    except Stopped:
        return


async def _run_speech_model(
    settings: Settings, kind: Literal["stt", "tts"], stop: asyncio.Event, shown: MetricsService
) -> None:
    loader = ModelThreads(1, 1)  # in a worker: the threads that the libraries start inherit its low priority
    load = partial(load_transcriber if kind == "stt" else load_synthesizer, settings)
    try:
        model = await unless_stopped(stop, loader.submit(load, Urgency.NOW).future)
    finally:
        loader.close()
    connecting = connection.connect(settings.nats_url, f"antiphon-worker-{kind}", settings.nats_access("worker"))
    client = await unless_stopped(stop, connecting)
    transcriber, voice = (model, None) if kind == "stt" else (None, model)
    worker = Worker(settings.bridge_threads, transcriber, voice, shown.metrics)  # type: ignore[arg-type]
    await shown.start(lambda: client)
    service = await service_discovery.register(client, wire.SERVICE, {"kind": kind, **shown.metadata()})
    await service.add_endpoint(
        name=kind, subject=subjects.worker(kind), handler=worker.on_request, queue_group=wire.QUEUE
    )
    await connection.require_allowed(client)
    await process_drain.listen(client, wire.SERVICE, service.id, stop.set)
    await _serve(kind, stop, service, worker, client, shown)


async def _run_language_model(settings: Settings, stop: asyncio.Event, shown: MetricsService) -> None:
    async with client_for(settings.llm_url, settings.llm_api_key.get_secret_value()) as server:
        connecting = connection.connect(settings.nats_url, "antiphon-worker-llm", settings.nats_access("worker"))
        client = await unless_stopped(stop, connecting)
        meter = ModelMeter(shown.metrics, "llm", settings.llm_model)
        shown.metrics.gauge("antiphon_model_busy", lambda: {"llm": meter.busy})
        model = LanguageModel(
            server, settings.llm_model, settings.llm_timeout, load_timeout=settings.llm_load_timeout, meter=meter
        )
        worker = LanguageModelWorker(client, model, settings.llm_at_once)
        warming = asyncio.create_task(worker.warm())
        try:
            await unless_stopped(stop, warming)
        except Stopped:
            await tasks.end(warming)
            raise
        await worker.start()
        await shown.start(lambda: client)
        service = await service_discovery.register(client, wire.SERVICE, {"kind": "llm", **shown.metadata()})
        await connection.require_allowed(client)
        await process_drain.listen(client, wire.SERVICE, service.id, stop.set)
        await _serve("llm", stop, service, worker, client, shown)


async def _serve(
    kind: wire.Kind,
    stop: asyncio.Event,
    service: Service,
    worker: Worker | LanguageModelWorker,
    client: Client,
    shown: MetricsService,
) -> None:
    shown.started(lambda: DRAINING if stop.is_set() else {})
    log.info("ready: worker %s", kind)
    await stop.wait()
    log.info("stopping")
    try:
        async with asyncio.timeout(_END_WITHIN):
            await service.stop()
            await worker.close()
            await shown.close()
            await client.close()
    except TimeoutError:
        log.warning("some work did not end in time")
