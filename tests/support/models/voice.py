"""Speech for tests: the stack's own voice says a question, its own recogniser reads an answer."""

from __future__ import annotations

import base64
import io
import re
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from antiphon.cli.call.wav import write_wav
from antiphon.inference_bridge.models.local import load_synthesizer, load_transcriber, load_voice_activity
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Transcriber
from antiphon.inference_bridge.tts.synthesizer import Synthesizer

Samples = NDArray[np.int16]
RATE = 24000


@dataclass(frozen=True)
class Models:
    """The models that every call uses."""

    voice_activity: VoiceActivity
    transcriber: Transcriber
    synthesizer: Synthesizer


@cache
def models() -> Models:
    """Loaded once per test run: it takes seconds."""
    settings = Settings()
    return Models(load_voice_activity(settings), load_transcriber(settings), load_synthesizer(settings))


@cache
def say(text: str) -> Samples:
    """`text` spoken, at 24 kHz."""
    return models().synthesizer.synthesize(text)


def silence(seconds: float) -> Samples:
    """A microphone in a quiet room: digital silence would be an unfair help to voice activity."""
    noise = np.random.default_rng(1).normal(0, 8, int(seconds * RATE))
    return noise.astype(np.int16)


def babble(seconds: float) -> Samples:
    """Loud and never silent, and not as steady as what a noise suppressor takes away."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 180 + 60 * np.sin(2 * np.pi * 1.3 * time)
    wave = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + 0.5 * np.sin(6 * np.pi * np.cumsum(pitch) / RATE)
    return (5000 * wave * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))).astype(np.int16)


def write_microphone(path: Path, *parts: Samples) -> Path:
    """The parts in a row as Chromium's fake microphone wants them: 48 kHz mono."""
    samples = np.concatenate(parts).astype(np.float32)
    write_wav(path, np.clip(soxr.resample(samples, RATE, 48000), -32768, 32767).astype(np.int16), 48000)
    return path


def transcribe(samples: Samples, rate: int = RATE) -> str:
    """What is said in `samples`."""
    heard = soxr.resample(samples.astype(np.float32), rate, 16000)
    return models().transcriber.transcribe(np.clip(heard, -32768, 32767).astype("<i2").tobytes())


def words(text: str) -> list[str]:
    """Lower case, without punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower())


def decode_stereo_wav(text: str) -> tuple[Samples, Samples, int]:
    """The page's recording: (microphone, agent, rate)."""
    with wave.open(io.BytesIO(base64.b64decode(text))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
        return samples[:, 0].copy(), samples[:, 1].copy(), file.getframerate()
