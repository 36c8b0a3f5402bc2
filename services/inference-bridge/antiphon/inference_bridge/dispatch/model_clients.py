"""The speech models of a bridge as its calls use them: on threads here, on workers on NATS, or at services by URL."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import soxr
from nats.aio.client import Client

from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.dispatch.model_load import Model, ModelLoad
from antiphon.inference_bridge.dispatch.register_entry import RegisterEntries
from antiphon.inference_bridge.models.clients import LocalStt, LocalTts, SttClient, TtsClient
from antiphon.inference_bridge.models.measured import MeasuredStt, measured_tts
from antiphon.inference_bridge.models.metered import MeteredStt, metered_tts
from antiphon.inference_bridge.models.remote.http_stt import HttpStt
from antiphon.inference_bridge.models.remote.http_tts import HttpTts
from antiphon.inference_bridge.models.remote.pool import RemoteModels
from antiphon.inference_bridge.models.remote.speech_service import SpeechServiceError
from antiphon.inference_bridge.models.sources import ModelError
from antiphon.inference_bridge.models.threads import ModelThreads, Urgency
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.chunking import RATE
from antiphon.inference_bridge.tts.normalization import for_remote_voice
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, Samples
from antiphon.runtime import tasks
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.metrics.model_meter import ModelMeter

log = logging.getLogger(__name__)

_JOBS_PER_CALL: Final = 4
"""Waiting model jobs per call of the capacity; above that the least urgent are given up."""
REMOTE_AT_ONCE: Final = 8
"""Requests that a service or the workers of a model are taken to serve at once, before they are seen to be slow."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
"""Seconds between two tries at the start to have the speech service say a word; doubled from the first on."""


class ModelClients:
    """Makes the clients of all models, waits at the start until they work, and closes them.

    Owner: the bridge, for the life of the process. Used on the event loop, by all its calls.
    """

    def __init__(
        self, client: Client, models: LocalModels, settings: Settings, entries: RegisterEntries, metrics: Metrics = OFF
    ) -> None:
        """`entries` are told when a service fails, and when it works again."""
        self._models, self._settings = models, settings
        self._threads = ModelThreads(settings.bridge_threads, settings.bridge_capacity * _JOBS_PER_CALL)
        self._remote = RemoteModels(client, settings.service_language)
        self._transcription = _transcription_service(settings, entries) if settings.stt_url else None
        self._speech = _speech_service(settings, entries) if settings.tts_url else None
        stt: SttClient = self._transcription or (
            LocalStt(models.transcriber, self._threads) if models.transcriber else self._remote
        )
        tts: TtsClient = self._speech or (
            LocalTts(models.synthesizer, self._threads) if models.synthesizer else self._remote
        )
        transcribes = settings.stt_model if self._transcription else "local" if models.transcriber else "worker"
        speaks = settings.tts_model if self._speech else "local" if models.synthesizer else "worker"
        stt_meter, tts_meter = ModelMeter(metrics, "stt", transcribes), ModelMeter(metrics, "tts", speaks)
        if metrics.on:
            stt, tts = MeteredStt(stt, stt_meter), metered_tts(tts, tts_meter)
        metrics.gauge(
            "antiphon_model_busy",
            lambda: {"stt": stt_meter.busy, "tts": tts_meter.busy, "threads": self._threads.running},
        )
        metrics.gauge("antiphon_model_queue_length", lambda: {"threads": self._threads.waiting})
        threads = settings.bridge_threads
        here, there = min(threads, os.cpu_count() or threads), REMOTE_AT_ONCE
        parallel: dict[Model, int] = {
            "stt": here if models.transcriber else there,
            "agent": there,
            "tts": here if models.synthesizer else there,
        }
        self.load = ModelLoad(settings.bridge_max_wait, parallel)
        waits = self.load.waits
        self.stt: SttClient = MeasuredStt(stt, waits["stt"], lambda owner: self.load.spoke(owner, time.monotonic()))
        self.tts: TtsClient = measured_tts(tts, waits["tts"])
        self.vad_executor = ThreadPoolExecutor(1, thread_name_prefix="vad")
        self._watching: asyncio.Task[None] | None = None

    async def measure(self, spoken: Samples) -> None:
        """Have the recogniser of this process transcribe speech of ours, so that the first callers are no surprise."""
        if self._models.transcriber is not None:
            samples = soxr.resample(spoken, SPEECH_RATE, RATE).astype("<i2")
            await self.stt.transcribe(samples.tobytes(), "", Urgency.SOON)

    def has_room(self) -> bool:
        """A transcription could begin at once."""
        return self._models.transcriber is None or self._threads.has_room

    async def until_ready(self) -> None:
        """Return when workers are there and the speech service speaks; a transcription service is asked meanwhile."""
        if self._transcription:
            self._watching = asyncio.create_task(self._transcription.watch())
        elif self._models.transcriber is None:
            await self._remote.wait_for_worker("stt")
        if self._speech:
            await self._until_it_speaks(self._speech)
        elif self._models.synthesizer is None:
            await self._remote.wait_for_worker("tts")
        if self._settings.llm == "remote":
            await self._remote.wait_for_worker("llm")

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

    async def close(self) -> None:
        """End threads, checks and connections; no call may use the models any more."""
        if self._watching:
            await tasks.end(self._watching)
        self._threads.close()
        self.vad_executor.shutdown(wait=False, cancel_futures=True)
        if self._speech:
            await self._speech.close()
        if self._transcription:
            await self._transcription.close()


def _transcription_service(settings: Settings, entries: RegisterEntries) -> HttpStt:
    key = settings.stt_api_key.get_secret_value()
    language, timeout = settings.language, settings.stt_timeout
    return HttpStt(
        settings.stt_url, settings.stt_model, key, language, timeout, on_change=entries.transcription_service
    )


def _speech_service(settings: Settings, entries: RegisterEntries) -> HttpTts:
    key = settings.tts_api_key.get_secret_value()
    voice, language = settings.voice_name, settings.service_language
    return HttpTts(settings.tts_url, settings.tts_model, key, voice, for_remote_voice, language, entries.speech_service)
