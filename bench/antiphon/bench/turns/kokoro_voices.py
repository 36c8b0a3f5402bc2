"""Kokoro's voices as callers, where the extra `voices` is installed: one in English, one in Spanish."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from antiphon.inference_bridge.models.kokoro_source import kokoro_styles, kokoro_vocabulary
from antiphon.inference_bridge.models.local import load_synthesizer
from antiphon.inference_bridge.models.sources import ModelError
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.tts.synthesizer import Synthesizer

VOICES: Final = {"kokoro-en": ("af_heart", "en"), "kokoro-es": ("ef_dora", "es")}
_RATE: Final = 16000
Samples = npt.NDArray[np.int16]


@cache
def _kokoro() -> Synthesizer:
    return load_synthesizer(Settings(voice=",".join(voice for voice, _ in VOICES.values())))


def _say(name: str, text: str) -> Samples:
    voice, language = VOICES[name]
    spoken = _kokoro().synthesize(text, 1.0, voice, language)
    return np.asarray(soxr.resample(spoken, 24000, _RATE), dtype=np.int16)


def voices() -> dict[str, Callable[[str], Samples]]:
    """By name; empty where they are not installed."""
    try:
        kokoro_vocabulary()
        kokoro_styles(Settings().cache_dir)
    except ModelError as error:
        print(f"without Kokoro: {error}", file=sys.stderr)
        return {}
    return {name: partial(_say, name) for name in VOICES}
