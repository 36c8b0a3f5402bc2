"""The voices of scripted callers: the packaged one, Debian's flite, and Kokoro where it is installed; and sounds.

What they say is kept below the cache directory, so that a second run begins at once.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from antiphon.inference_bridge.models.local import load_synthesizer
from antiphon.inference_bridge.settings import Settings

RATE: Final = 16000
Samples = npt.NDArray[np.int16]
_LEVEL: Final = 3500.0
"""RMS of each voice's loud half, of 32767: about -19 dB."""
_LOUD: Final = 0.02
"""Of the loudest sample: below it is silence before and after a voice."""


class Speakers:
    """All voices of a run, each loaded when it first speaks. Owned by the bench; used on one thread."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._cache.mkdir(parents=True, exist_ok=True)
        self._joe: Callable[[str], Samples] | None = None
        self._speak: dict[str, Callable[[str], Samples]] = {"joe": self._say_joe}
        self.missing: list[str] = []
        """What a run has to do without, and why."""
        if shutil.which("flite"):
            self._speak["rms"] = partial(_say_flite, "rms")
        else:
            self.missing.append("flite: apt install flite")
        from antiphon.bench.turns import kokoro_voices  # it needs an extra

        found = kokoro_voices.voices()
        self._speak |= found
        if not found:
            self.missing.append("Kokoro (English and Spanish): the extra `voices`")

    def names(self, language: str) -> list[str]:
        """The voices that speak a language."""
        spanish = [name for name in self._speak if name.startswith("kokoro-es")]
        return spanish if language == "es" else [name for name in self._speak if name not in spanish]

    def say(self, name: str, text: str) -> Samples:
        """Speech at 16 kHz, from its first loud sample to its last one."""
        key = hashlib.sha256(f"{name}\n{text}".encode()).hexdigest()[:24]
        path = self._cache / f"{key}.npy"
        if path.is_file():
            return np.asarray(np.load(path), dtype=np.int16)
        speech = _levelled(trimmed(self._speak[name](text)))
        with tempfile.NamedTemporaryFile(dir=self._cache, suffix=".npy", delete=False) as file:
            np.save(file, speech)
        Path(file.name).replace(path)
        return speech

    def _say_joe(self, text: str) -> Samples:
        if self._joe is None:
            voice = load_synthesizer(Settings())
            self._joe = lambda text: np.asarray(soxr.resample(voice.synthesize(text), 24000, RATE), dtype=np.int16)
        return self._joe(text)


def _say_flite(name: str, text: str) -> Samples:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "speech.wav")
        subprocess.run(["flite", "-voice", name, "-t", text, "-o", str(path)], check=True, stdout=sys.stderr)
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
            rate = file.getframerate()
    return samples if rate == RATE else np.asarray(soxr.resample(samples, rate, RATE), dtype=np.int16)


def trimmed(speech: Samples) -> Samples:
    """Without the silence before and after it."""
    loudness = np.abs(speech.astype(np.int32))
    loud = np.flatnonzero(loudness > max(60, _LOUD * loudness.max()))
    return speech[int(loud[0]) : int(loud[-1]) + 1]


def _levelled(speech: Samples) -> Samples:
    samples = speech.astype(np.float64)
    loud = samples[np.abs(samples) > np.median(np.abs(samples))]
    scaled = samples * (_LEVEL / max(1.0, float(np.sqrt((loud**2).mean()))))
    return np.clip(scaled, -32000, 32000).astype(np.int16)


# ---- sounds without words --------------------------------------------------------------------------------


def _shaped(noise: npt.NDArray[np.float64], *bands: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Noise with resonances: (hertz, width, share) each; its loudest sample is 1."""
    spectrum, hertz = np.fft.rfft(noise), np.fft.rfftfreq(noise.size, 1 / RATE)
    gain = sum(share * np.exp(-(((hertz - middle) / width) ** 2)) for middle, width, share in bands)
    shaped = np.fft.irfft(spectrum * gain, noise.size)
    return np.asarray(shaped / np.abs(shaped).max(), dtype=np.float64)


def sound(kind: str, seed: int, seconds: float = 1.5) -> Samples:
    """A cough, keys, a door, music or hiss, another one for each seed."""
    chance = np.random.default_rng(seed)
    wave_ = chance.normal(0, 10, int(seconds * RATE))
    if kind == "hiss":
        wave_ += 400 * _shaped(chance.normal(0, 1, wave_.size), (2500, 2500, 1.0))
    elif kind == "music":
        time = np.arange(wave_.size) / RATE
        roots = chance.choice([196.0, 220.0, 246.9, 261.6], 64)[(time * 2).astype(int) % 64]
        phase = 2 * np.pi * np.cumsum(roots) / RATE
        chord = sum(np.sin(phase * step * harmonic) / harmonic for step in (1, 1.25, 1.5) for harmonic in (1, 2, 3))
        wave_ += 700 * np.asarray(chord) * (1 + 0.2 * np.sin(2 * np.pi * 5 * time))
    elif kind == "keys":
        for number in range(int(seconds * 7)):
            size = int(0.03 * RATE)
            at = min(wave_.size - size, int((number / 7 + chance.uniform(0, 0.05)) * RATE))
            key = _shaped(chance.normal(0, 1, size), (3500, 1500, 1.0), (250, 120, 0.6))
            wave_[at : at + size] += 8000 * chance.uniform(0.5, 1) * key * np.exp(-np.arange(size) / (0.006 * RATE))
    elif kind == "door":
        size = int(0.4 * RATE)
        slam = _shaped(chance.normal(0, 1, size), (90, 60, 1.0), (300, 200, 0.5), (1200, 700, 0.2))
        wave_[2000 : 2000 + size] += 16000 * slam * np.exp(-np.arange(size) / (0.05 * RATE))
    elif kind == "cough":
        for begin in (0.05, 0.05 + chance.uniform(0.35, 0.5)):
            size = int(chance.uniform(0.22, 0.32) * RATE)
            time = np.arange(size) / RATE
            air = _shaped(chance.normal(0, 1, size), (700, 300, 1.0), (1500, 500, 0.7), (3200, 900, 0.4))
            voice = np.sign(np.sin(2 * np.pi * chance.uniform(110, 200) * time)) * (time > 0.12) * 0.3
            at = int(begin * RATE)
            burst = 12000 * (air + voice) * np.minimum(1, time / 0.005) * np.exp(-time / 0.09)
            wave_[at : at + size] += burst
    else:
        raise ValueError(f"{kind} is no sound")
    return np.clip(wave_, -32000, 32000).astype(np.int16)
