"""The models that run in a bridge's own process; what is not here, workers on NATS do."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from antiphon.inference_bridge.models.local import (
    load_end_of_turn,
    load_synthesizer,
    load_transcriber,
    load_voice_activity,
)
from antiphon.inference_bridge.models.smart_turn import SmartTurn
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Transcriber
from antiphon.inference_bridge.tts.synthesizer import Synthesizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalModels:
    """What runs in this process; None: workers on NATS or a service by URL do it."""

    voice_activity: VoiceActivity
    transcriber: Transcriber | None
    synthesizer: Synthesizer | None
    end_of_turn: SmartTurn | None = None


def load_local_models(settings: Settings) -> LocalModels:
    started = time.perf_counter()
    models = LocalModels(
        load_voice_activity(settings),
        load_transcriber(settings) if settings.stt == "local" else None,
        load_synthesizer(settings) if settings.tts == "local" and not settings.tts_url else None,
        load_end_of_turn(settings),
    )
    log.info("models ready in %.1f s", time.perf_counter() - started)
    return models
