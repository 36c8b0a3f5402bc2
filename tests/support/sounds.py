"""Sounds to speak and to listen for in tests."""

from __future__ import annotations

import math
from array import array
from itertools import count

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
