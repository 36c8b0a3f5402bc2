"""Where speech that is longer than the recogniser's window is cut: at pauses. Pure.

The recogniser takes 30 s at most. A cut depends on the audio of its own piece only, so the pieces of an utterance that
still grows stay the same: what was transcribed of them need not be transcribed again.
"""

from __future__ import annotations

from typing import Final

import numpy as np

RATE: Final = 16000
LONGEST_S: Final = 29.0
"""Seconds in one piece; with the silence behind it that is Whisper's window."""
_EARLIEST_S: Final = 14.0
_LATEST_S: Final = 26.5
"""A piece that is cut ends between these. The difference to `LONGEST_S` keeps the last piece longer than a word."""
_PAUSE_S: Final = 0.3
"""The quietest stretch of that length is the pause. Where there is none at all it lies between two words, or in a soft
consonant: the word there may be misread, no sample is lost."""
_STEP: Final = RATE // 50
_BYTES: Final = 2


def cut(pcm: bytes, longest_s: float = LONGEST_S) -> list[bytes]:
    """`pcm`: s16le mono at 16 kHz. Its pieces in order, together all of it, each at most `longest_s` long."""
    pieces = []
    longest = int(longest_s * RATE) * _BYTES
    earliest, latest = (int(limit / LONGEST_S * longest_s * RATE) for limit in (_EARLIEST_S, _LATEST_S))
    while len(pcm) > longest:
        end = pause(pcm, earliest, latest) * _BYTES
        pieces.append(pcm[:end])
        pcm = pcm[end:]
    return [*pieces, pcm]


def pause(pcm: bytes, earliest: int, latest: int) -> int:
    """The position of a pause: the middle of the quietest stretch of `pcm` between two positions, in samples."""
    if latest - earliest < 2 * _STEP:
        return latest
    samples = np.frombuffer(pcm, dtype="<i2", count=latest)[earliest:].astype(np.float32)
    steps = samples[: len(samples) // _STEP * _STEP].reshape(-1, _STEP)
    loudness = np.sqrt((steps**2).mean(axis=1))
    width = min(int(_PAUSE_S * RATE) // _STEP, len(loudness))
    quiet = np.convolve(loudness, np.ones(width), mode="valid")
    last = len(quiet) - 1 - int(np.argmin(quiet[::-1]))  # of several the last: fewer pieces
    return earliest + last * _STEP + width * _STEP // 2
