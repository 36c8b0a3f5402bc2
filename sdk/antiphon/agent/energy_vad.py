"""Does the caller speak? By loudness alone: a floor that follows the noise, hysteresis, a hangover. Sans-IO.

Good enough to be interrupted and to know when to answer on a quiet line; it takes a slammed door for speech. An agent
with a voice-activity model of its own switches it off (`Agent(detect_speech=False)`).
"""

from __future__ import annotations

from array import array
from operator import mul
from typing import Final

from antiphon.agent.events import SpeechStarted, SpeechStopped
from antiphon.schemas.audio import FRAME_MS, AudioFrame, FrameFlag

MIN_LEVEL: Final = 250.0
"""RMS of 32767 (-42 dBFS) below which nothing is speech, however quiet the line."""
ABOVE_FLOOR: Final = 3.0
"""Speech is this much louder than the noise floor (10 dB)."""
START_MS: Final = 60
"""Loud for so long: speech, and not a click."""
STOP_MS: Final = 500
_FLOOR_RISE: Final = 1.01
"""Per frame: noise that sets in is taken for speech for some two seconds."""


class EnergyVad:
    """One caller's."""

    def __init__(self) -> None:
        self.speaking = False
        self._floor = MIN_LEVEL / ABOVE_FLOOR
        self._run_ms = 0
        """Of loud frames while silent, of quiet ones while speaking."""
        self._started_at = 0.0

    def push(self, frame: AudioFrame) -> SpeechStarted | SpeechStopped | None:
        """20 ms of the caller; an event if it changes anything."""
        level = 0.0 if frame.flags & FrameFlag.SILENCE else rms(frame.pcm)
        loud = level >= max(MIN_LEVEL, self._floor * ABOVE_FLOOR)
        self._floor = max(1.0, min(self._floor * _FLOOR_RISE, level))
        if loud == self.speaking:
            self._run_ms = 0
            return None
        self._run_ms += FRAME_MS
        at = frame.first_sample / frame.rate + FRAME_MS / 1000
        if not self.speaking and self._run_ms >= START_MS:
            self.speaking, self._started_at = True, at - self._run_ms / 1000
            self._run_ms = 0
            return SpeechStarted(self._started_at)
        if self.speaking and self._run_ms >= STOP_MS:
            over_at = at - self._run_ms / 1000
            self.speaking, self._run_ms = False, 0
            return SpeechStopped(over_at, over_at - self._started_at)
        return None


def rms(pcm: bytes) -> float:
    """Root mean square of s16le samples."""
    samples = array("h", pcm)
    return float((sum(map(mul, samples, samples)) / len(samples)) ** 0.5)
