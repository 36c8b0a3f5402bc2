"""Synthesised speech of a caller, for those without a recording: the voice of the built-in agent."""

from __future__ import annotations

import numpy as np
import soxr
from pydantic import ValidationError

from antiphon.cli.call.wav import Samples
from antiphon.cli.errors import UsageError, installing

PAUSE: float = 0.25
"""Seconds of background noise before and after the speech."""


def say(texts: list[str], rate: int) -> list[Samples]:
    """Each text as speech, mono at `rate` Hz. Loads the voice, about a second."""
    try:
        from antiphon.inference_bridge.models.sources import ModelError, lexicon_files, voice_file
        from antiphon.inference_bridge.settings import Settings, what_is_wrong
        from antiphon.inference_bridge.tts.g2p import Lexicon, Phonemizer
        from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, PiperVoice
    except ModuleNotFoundError as error:
        raise UsageError(
            f"speaking a text needs {error.name}: {installing('inference-bridge')}, or give a recording"
        ) from None
    try:
        settings = Settings()
        path = voice_file(settings.voice_path, settings.voice_sha256)
        voice = PiperVoice(path, Phonemizer(Lexicon.read(lexicon_files())))
    except ValidationError as error:
        raise UsageError(what_is_wrong(error)) from None
    except ModelError as error:
        raise UsageError(str(error)) from None
    noise = np.random.default_rng(0).normal(0, 8, int(PAUSE * rate)).astype(np.int16)
    spoken = []
    for text in texts:
        samples = voice.synthesize(text).astype(np.float32)
        if not len(samples):
            raise UsageError(f"there is nothing to say in {text!r}")
        resampled = soxr.resample(samples, SPEECH_RATE, rate)
        speech = np.clip(resampled, -32768, 32767).astype(np.int16)
        spoken.append(np.concatenate([noise, speech, noise]))
    return spoken
