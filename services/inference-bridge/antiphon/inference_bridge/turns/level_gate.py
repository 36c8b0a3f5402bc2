"""Tells the caller from softer voices and noises behind it, by loudness alone. Pure.

A television or a colleague is speech as well, so voice activity keeps a turn open over it, and has the agent stop for
it. But the caller is close to the microphone: what is `SPEECH_DB` softer than the caller's loud windows counts as
silence inside a turn, and what is `ONSET_DB` softer begins none.

The caller's own level is the 85th percentile of the last 3 s of its speech. It rises at once with a louder voice. A
caller who turns soft for good is let in again: after `PATIENCE_S` of speech that was left out, without one loud window
between, the gate opens by `OPENING_DB_PER_S`, until that speech passes and sets the level anew. Speech of another
voice that lasts that long passes too, for its loudness is then all that is known of the caller.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import numpy as np

from antiphon.inference_bridge.turns.window import RATE, WINDOW

SPEECH_DB: Final = 16.0
"""At 14 dB and less the gate cuts into the caller's own speech: soft ends of words lie so far below its vowels."""
ONSET_DB: Final = 12.0
"""A turn begins with a few windows in a row, and among them is a vowel."""
PATIENCE_S: Final = 10.0
OPENING_DB_PER_S: Final = 3.0
_LOUD_DB: Final = 10.0
"""A window within this of the level is the caller's."""
_REMEMBERED: Final = 94
"""Windows: 3 s."""
_FEWEST: Final = 8
"""Windows of speech before there is a level: a quarter of a second."""
_WINDOW_S: Final = WINDOW / RATE
_FULL_SCALE: Final = 32768.0


def level_db(pcm: bytes) -> float:
    """RMS of s16le samples, in dB of full scale; -100 for silence."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    power = float(samples @ samples) / max(1, samples.size)
    return 10 * math.log10(power / _FULL_SCALE**2) if power > 0 else -100.0


class LevelGate:
    """Decides of each window of likely speech whether it is loud enough to be the caller's.

    Owned by the call's `TurnDetector`, for as long as the call; used where that is.
    """

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=_REMEMBERED)
        self._level: float | None = None
        self._left_out_s = 0.0

    @property
    def level(self) -> float | None:
        """The caller's own level, dB of full scale; None: not known yet."""
        return self._level

    def passes(self, pcm: bytes, speaking: bool) -> bool:
        """Whether a window of likely speech is the caller's. `speaking`: inside a turn, where soft ends count."""
        level = level_db(pcm)
        if self._level is not None:
            if level < self._level - self._margin(speaking):
                self._left_out_s += _WINDOW_S
                return False
            if level >= self._level - _LOUD_DB:
                self._left_out_s = 0.0
        self._levels.append(level)
        if len(self._levels) >= _FEWEST:
            ordered = sorted(self._levels)
            self._level = ordered[int(len(ordered) * 0.85)]
        return True

    def _margin(self, speaking: bool) -> float:
        opened = max(0.0, self._left_out_s - PATIENCE_S) * OPENING_DB_PER_S
        return (SPEECH_DB if speaking else ONSET_DB) + opened
