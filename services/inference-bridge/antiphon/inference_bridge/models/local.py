"""Load, check and warm up a model for this process; each takes 1 to 3 s.

`ModelError` says which file is wrong and what to do. Called on a worker thread, before the first call is taken.
"""

from __future__ import annotations

import logging

import numpy as np

from antiphon.inference_bridge.models.smart_turn import SmartTurn
from antiphon.inference_bridge.models.sources import (
    ModelError,
    lexicon_files,
    silero_file,
    smart_turn_file,
    voice_file,
    whisper_directory,
)
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Transcriber, UnknownLanguageError, Whisper
from antiphon.inference_bridge.tts.g2p import Lexicon, Phonemizer
from antiphon.inference_bridge.tts.synthesizer import PiperVoice, Synthesizer
from antiphon.inference_bridge.turns.window import WINDOW

log = logging.getLogger(__name__)


def load_voice_activity(settings: Settings) -> VoiceActivity:
    """Silero, or the model of `ANTIPHON_VAD_PATH`."""
    log.info("loading voice activity: silero")
    voice_activity = VoiceActivity(silero_file(settings.vad_path, settings.vad_sha256))
    voice_activity.stream().probability(bytes(WINDOW * 2))
    return voice_activity


def load_end_of_turn(settings: Settings) -> SmartTurn | None:
    """Smart-turn; None unless `ANTIPHON_SMART_TURN` is on."""
    if settings.smart_turn == "off":
        return None
    log.info("loading end of turn: %s", settings.smart_turn_path or "smart-turn")
    model = SmartTurn(smart_turn_file(settings.smart_turn_path, settings.smart_turn_sha256))
    model.judge(bytes(32000))
    return model


def load_transcriber(settings: Settings, language: str = "en") -> Transcriber:
    """Whisper base, or the model of `ANTIPHON_WHISPER_PATH`. `language`: of calls that ask for none."""
    log.info("loading speech-to-text: %s", settings.whisper_path or "whisper base")
    directory = whisper_directory(settings.whisper_path, settings.whisper_sha256, settings.cache_dir)
    try:
        transcriber = Whisper(directory, settings.bridge_threads, language)
    except UnknownLanguageError as error:
        fix = "correct ANTIPHON_LANGUAGE, or set ANTIPHON_WHISPER_PATH to a model that knows it"
        raise ModelError(str(error), fix) from None
    # the first run of a graph allocates and plans: a caller would wait for it; silence would need no model
    transcriber.transcribe(np.random.default_rng(0).normal(0, np.linspace(10, 3000, 16000)).astype("<i2").tobytes())
    return transcriber


def load_synthesizer(settings: Settings) -> Synthesizer:
    """The Piper voice joe, or the voice of `ANTIPHON_VOICE_PATH`."""
    log.info("loading speech: %s", settings.voice_path or "piper joe")
    phonemizer = Phonemizer(Lexicon.read(lexicon_files()))
    synthesizer = PiperVoice(voice_file(settings.voice_path, settings.voice_sha256), phonemizer)
    for clause in ("Sure,", "I have booked you for tomorrow at half past ten."):
        synthesizer.synthesize(clause)
    return synthesizer
