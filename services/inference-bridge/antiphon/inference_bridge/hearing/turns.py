"""When the caller starts to speak, may be done, and is done. Pure: takes windows with probabilities, and `now`.

              onset_windows likely ones in a row               silence_ms unlikely
    LISTENING --------------------------------> SPEAKING ------------------------> LISTENING
                   SpeechStarted                    |  ^         TurnEnded, or SpeechDropped if
                                                    |  |         it was shorter than min_speech_ms
                     speculate_ms unlikely: MaybeDone  likely again: Resumed

Probabilities go through a hysteresis: speech starts at `threshold` and goes on down to `threshold - 0.15`, so
that a soft syllable does not count as silence. One click is not `onset_windows` windows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from antiphon.inference_bridge.hearing.voice_activity import RATE, WINDOW
from antiphon.inference_bridge.hearing.windows import Window

_HYSTERESIS: Final = 0.15
_WINDOW_MS: Final = WINDOW * 1000 / RATE
MISSING_S: Final = 0.3
"""Seconds without audio after which time itself counts as silence."""


@dataclass(frozen=True)
class TurnSettings:
    """Milliseconds, unless said otherwise."""

    threshold: float = 0.5
    onset_windows: int = 3
    silence_ms: int = 400
    speculate_ms: int = 160
    preroll_ms: int = 300
    """Kept from before the onset: a soft first consonant is not yet likely speech."""
    min_speech_ms: int = 120
    max_turn_ms: int = 25_000
    """A turn is cut here, because the recogniser takes 30 s at most."""


@dataclass(frozen=True)
class SpeechStarted:
    """The caller speaks; whatever the agent says is now talked over."""

    first_sample: int


@dataclass(frozen=True)
class Utterance:
    """Speech, from pre-roll to the silence after it."""

    pcm: bytes
    """s16le mono at 16 kHz."""
    first_sample: int
    speech_end: int
    """Position after the last window that was speech."""


@dataclass(frozen=True)
class MaybeDone:
    """Enough silence to start transcribing, not enough to answer."""

    utterance: Utterance


@dataclass(frozen=True)
class Resumed:
    """It was not the end: what was transcribed on suspicion is worthless."""


@dataclass(frozen=True)
class TurnEnded:
    """The caller is done; `utterance` has the speech of the last `MaybeDone`, if there was one."""

    utterance: Utterance


@dataclass(frozen=True)
class SpeechDropped:
    """Too short to be a word."""

    speech_end: int


TurnEvent = SpeechStarted | MaybeDone | Resumed | TurnEnded | SpeechDropped


class TurnDetector:
    """One caller's turns. Holds at most `max_turn_ms` of audio."""

    def __init__(self, settings: TurnSettings) -> None:
        self._settings = settings
        self._preroll: deque[bytes] = deque(maxlen=settings.onset_windows + round(settings.preroll_ms / _WINDOW_MS))
        self._likely = 0
        self._last_window: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._audio = bytearray()
        self._first_sample = 0
        self._speech_end = 0
        self._speech_windows = 0
        self._silence_ms = 0.0
        self._maybe: Utterance | None = None
        self.speaking = False

    def window(self, window: Window, probability: float, now: float) -> list[TurnEvent]:
        """Take the next 32 ms and how likely they are speech."""
        self._last_window = now
        threshold = self._settings.threshold
        if not self.speaking:
            return self._listen(window, probability >= threshold and not window.concealed)
        self._audio += window.pcm
        end = window.first_sample + WINDOW
        if probability >= (threshold - _HYSTERESIS if not self._silence_ms else threshold):
            return self._speech(end)
        events = self._silence(_WINDOW_MS)
        if self.speaking and len(self._audio) >= self._settings.max_turn_ms * RATE // 1000 * 2:
            events += self._end()
        return events

    def tick(self, now: float) -> list[TurnEvent]:
        """Call now and then: when audio stops coming in mid-speech, the turn ends all the same."""
        if not self.speaking or self._last_window is None or now - self._last_window < MISSING_S:
            return []
        missing_ms = (now - self._last_window) * 1000
        self._last_window = now
        return self._silence(missing_ms)

    def gap(self) -> list[TurnEvent]:
        """A long stretch of audio is missing: what came before it is a turn of its own."""
        self._likely = 0
        self._preroll.clear()
        return self._end() if self.speaking else []

    def _listen(self, window: Window, likely: bool) -> list[TurnEvent]:
        self._likely = self._likely + 1 if likely else 0
        self._preroll.append(window.pcm)
        if self._likely < self._settings.onset_windows:
            return []
        onset = window.first_sample - (self._likely - 1) * WINDOW
        self.speaking = True
        self._speech_windows = self._likely
        self._first_sample = window.first_sample + WINDOW - len(self._preroll) * WINDOW
        self._audio += b"".join(self._preroll)
        self._speech_end = window.first_sample + WINDOW
        self._preroll.clear()
        self._likely = 0
        return [SpeechStarted(max(0, onset))]

    def _speech(self, end: int) -> list[TurnEvent]:
        resumed: list[TurnEvent] = [Resumed()] if self._maybe else []
        self._maybe = None
        self._silence_ms = 0.0
        self._speech_windows += 1
        self._speech_end = end
        if len(self._audio) >= self._settings.max_turn_ms * RATE // 1000 * 2:
            return resumed + self._end()
        return resumed

    def _silence(self, more_ms: float) -> list[TurnEvent]:
        self._silence_ms += more_ms
        if self._silence_ms >= self._settings.silence_ms:
            return self._end()
        if self._silence_ms >= self._settings.speculate_ms and self._maybe is None and self._long_enough():
            self._maybe = self._utterance()
            return [MaybeDone(self._maybe)]
        return []

    def _long_enough(self) -> bool:
        return self._speech_windows * _WINDOW_MS >= self._settings.min_speech_ms

    def _utterance(self) -> Utterance:
        return Utterance(bytes(self._audio), self._first_sample, self._speech_end)

    def _end(self) -> list[TurnEvent]:
        event = TurnEnded(self._maybe or self._utterance()) if self._long_enough() else SpeechDropped(self._speech_end)
        self._reset()
        return [event]
