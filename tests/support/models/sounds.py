"""Sounds to speak and to listen for in tests."""

from __future__ import annotations

import math
from array import array
from itertools import count

import numpy as np
from numpy.typing import NDArray

from antiphon.schemas.audio import AudioFrame


def tone(seconds: float, rate: int = 24000, hertz: float = 440.0, level: int = 8000) -> bytes:
    """A sine, s16le mono."""
    step = 2 * math.pi * hertz / rate
    return array("h", (round(level * math.sin(step * n)) for n in range(round(seconds * rate)))).tobytes()


def speech(
    seconds: float, generation: int = 1, rate: int = 24000, end: bool = True, hertz: float = 440.0
) -> list[AudioFrame]:
    """A reply of an agent: frames of a tone, the last one flagged as the end of the utterance."""
    pcm, size = tone(seconds, rate, hertz), rate // 50 * 2
    frames = [
        AudioFrame(number, at // 2, 1, rate, 0, generation, pcm[at : at + size])
        for number, at in zip(count(), range(0, len(pcm) - size + 1, size), strict=False)
    ]
    if end:
        frames[-1] = frames[-1]._replace(flags=4)
    return frames


# What a caller's room sounds like: mono at `rate`, made the same every time.


def _shaped(noise: NDArray[np.float64], rate: int, *bands: tuple[float, float, float]) -> NDArray[np.float64]:
    """Noise with resonances: (hertz, width, share) each."""
    spectrum, hertz = np.fft.rfft(noise), np.fft.rfftfreq(noise.size, 1 / rate)
    gain = sum(share * np.exp(-(((hertz - middle) / width) ** 2)) for middle, width, share in bands)
    shaped = np.fft.irfft(spectrum * gain, noise.size)
    loudest = float(np.abs(shaped).max())
    return np.asarray(shaped / loudest, dtype=np.float64)


def _as_samples(wave: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.clip(wave, -32768, 32767).astype(np.int16)


def keyboard(seconds: float = 1.5, rate: int = 16000) -> NDArray[np.int16]:
    """Somebody types, eight keys a second: each a click and the bump of the table."""
    chance = np.random.default_rng(3)
    wave = chance.normal(0, 10, int(seconds * rate))
    for number in range(int(seconds * 8)):
        at, size = int((number / 8 + chance.uniform(0, 0.04)) * rate), int(0.03 * rate)
        key = _shaped(chance.normal(0, 1, size), rate, (3500, 1500, 1.0), (250, 120, 0.6))
        wave[at : at + size] += 9000 * chance.uniform(0.5, 1) * key * np.exp(-np.arange(size) / (0.006 * rate))
    return _as_samples(wave)


def cough(rate: int = 16000) -> NDArray[np.int16]:
    """Two coughs: a burst of air through a throat, which the voice joins, and its end."""
    chance = np.random.default_rng(4)
    wave = chance.normal(0, 10, rate)
    for begin in (0.05, 0.5):
        at, size = int(begin * rate), int(0.28 * rate)
        time = np.arange(size) / rate
        air = _shaped(chance.normal(0, 1, size), rate, (700, 300, 1.0), (1500, 500, 0.7), (3200, 900, 0.4))
        voice = np.sign(np.sin(2 * np.pi * 140 * time)) * (time > 0.12) * 0.3
        wave[at : at + size] += 14000 * (air + voice) * np.minimum(1, time / 0.005) * np.exp(-time / 0.09)
    return _as_samples(wave)


def music(seconds: float = 2.0, rate: int = 16000) -> NDArray[np.int16]:
    """Chords of an organ with a tremolo, a new one each half second."""
    time = np.arange(int(seconds * rate)) / rate
    roots = np.array([220.0, 261.6, 196.0, 246.9])[(time * 2).astype(int) % 4]
    phase = 2 * np.pi * np.cumsum(roots) / rate
    wave = sum(np.sin(phase * step * harmonic) / harmonic for step in (1, 1.25, 1.5) for harmonic in (1, 2, 3))
    return _as_samples(1800 * np.asarray(wave) * (1 + 0.2 * np.sin(2 * np.pi * 5 * time)))
