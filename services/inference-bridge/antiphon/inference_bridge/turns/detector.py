"""When the caller starts to speak, may be done, and is done. Pure: takes windows with probabilities, and `now`.

              onset_windows likely ones in a row               silence_ms unlikely
    LISTENING --------------------------------> SPEAKING ------------------------> LISTENING
                   SpeechStarted                    |  ^         TurnEnded, or SpeechDropped if
                                                    |  |         it was shorter than min_speech_ms
       early_ms or speculate_ms unlikely: MaybeDone    likely again: Resumed
                     max_turn_ms without an end: TurnEnded up to a pause, SpeechStarted behind it

Probabilities go through a hysteresis: speech starts at `threshold` and lasts down to `threshold - 0.15`, so that a soft
syllable does not count as silence. One click is not `onset_windows` windows.

How much silence ends a turn may depend on its words, its voice, what the agent has asked, and the caller's own pauses:
`evidence` brings what is known, as soon as it is, and `end_of_turn` decides. What is much softer than the caller is
silence (`level_gate`). Without settings the detector ends no turn: audio is kept until the client commits it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from antiphon.inference_bridge.stt.chunking import pause
from antiphon.inference_bridge.turns.end_of_turn import Known, evidence_of
from antiphon.inference_bridge.turns.expected_answer import Expected
from antiphon.inference_bridge.turns.level_gate import LevelGate
from antiphon.inference_bridge.turns.turn_settings import TurnSettings, wait_ms
from antiphon.inference_bridge.turns.window import RATE, WINDOW, Window

_HYSTERESIS: Final = 0.15
_WINDOW_MS: Final = WINDOW * 1000 / RATE
MISSING_S: Final = 0.3
"""Seconds without audio after which time itself counts as silence."""
_A_PAUSE_MS: Final = 250.0
"""Silence inside a turn from which on it is a pause: shorter ones are between two words."""
_LATEST_PAUSES: Final = 4
_GOES_ON_WITHIN: Final = RATE * 3 // 2
"""Samples after the end of a turn in which speech shows that the end was a pause."""


@dataclass(frozen=True)
class SpeechStarted:
    """The caller begins to speak. A value, as all events here."""

    first_sample: int


@dataclass(frozen=True)
class Utterance:
    """Speech, from pre-roll to the silence after it."""

    pcm: bytes
    """s16le mono at 16 kHz."""
    first_sample: int
    speech_end: int
    """Position after the last window that was speech."""
    speech_ms: float = 0.0
    """How much of it was speech."""


@dataclass(frozen=True)
class MaybeDone:
    """Enough silence to start transcribing, not enough to answer."""

    utterance: Utterance


@dataclass(frozen=True)
class Resumed:
    """The caller speaks on after `MaybeDone`: the speculative transcription is useless."""


@dataclass(frozen=True)
class TurnEnded:
    """The turn has ended; `utterance` is that of the last `MaybeDone`, if there was one."""

    utterance: Utterance


@dataclass(frozen=True)
class SpeechDropped:
    """Speech has ended that was too short for a word."""

    speech_end: int


@dataclass(frozen=True)
class StillSpeaking:
    """The caller has spoken for a while and still speaks; `utterance` is the speech so far."""

    utterance: Utterance


TurnEvent = SpeechStarted | MaybeDone | Resumed | TurnEnded | SpeechDropped | StillSpeaking

MIN_COMMIT_MS: Final = 100
"""Less audio than that can't be committed."""


class TurnDetector:
    """Finds the turns of one caller. Holds at most `max_turn_ms` of audio.

    Owned by the call's `VadPipeline`, for as long as the call. `VadPipeline` and `Transcriptions` call it on the event
    loop. Methods that return events expect the caller to pass them on in order.
    """

    def __init__(self, settings: TurnSettings | None) -> None:
        """`settings`: None if the client ends the turns."""
        self.manual = settings is None
        self._likely = 0
        self._last_window: float | None = None
        self._preroll: deque[bytes] = deque()
        self._gate = LevelGate()
        self._pauses: deque[float] = deque(maxlen=_LATEST_PAUSES)
        """The caller's pauses inside turns, ms."""
        self._last_end: int | None = None
        """Where the speech of the last turn ended."""
        self._reset()
        self.change(settings)

    def change(self, settings: TurnSettings | None) -> list[TurnEvent]:
        """Use other settings. Speech under way stays; when detection is switched off or on, it is dropped."""
        dropped: list[TurnEvent] = []
        if (settings is None) is not self.manual:
            dropped = [SpeechDropped(self._speech_end)] if self.speaking else []
            self._reset()
        self.manual = settings is None
        self._settings = settings or TurnSettings()
        kept = self._settings.onset_windows + round(self._settings.preroll_ms / _WINDOW_MS)
        self._preroll = deque(self._preroll, maxlen=kept)
        self._required_ms = wait_ms(self._settings)
        return dropped

    def _reset(self) -> None:
        self._audio = bytearray()
        self._first_sample = 0
        self._speech_start: int | None = None
        self._speech_end = 0
        self._speech_windows = 0
        self._told_ms = 0.0
        self._silence_ms = 0.0
        self._maybe: Utterance | None = None
        self._known = Known()
        self.speaking = False

    @property
    def first_sample(self) -> int | None:
        """Where the audio begins that is no turn yet; None if there is none."""
        return self._first_sample if self._audio else None

    def evidence(
        self,
        utterance: Utterance,
        words: str | None = None,
        voice: float | None = None,
        expected: Expected | None = None,
        overlaps: bool | None = None,
    ) -> None:
        """What is known of the last `MaybeDone`: its transcript, how done its voice sounds, what the agent has asked.

        `overlaps`: the agent's speech is held for it. Each comes when it is known, in any order; None leaves what came
        before. Ignored if the caller has spoken since.
        """
        if self._maybe is not utterance:
            return
        known = self._known
        self._known = Known(
            known.words if words is None else words,
            known.voice if voice is None else voice,
            known.expected if expected is None else expected,
            known.overlaps if overlaps is None else overlaps,
        )
        longest = max(self._pauses, default=0.0)
        self._required_ms = wait_ms(self._settings, evidence_of(self._known, self._settings.language, longest))

    @property
    def language(self) -> str:
        """Of the caller, a tag (BCP 47)."""
        return self._settings.language

    @property
    def is_judged(self) -> bool:
        """Evidence would change something."""
        return self._settings.semantic or self._settings.judged

    def commit(self) -> Utterance | None:
        """The client ends the turn: its audio; None if that is less than `MIN_COMMIT_MS`."""
        if len(self._audio) < MIN_COMMIT_MS * RATE // 1000 * 2:
            return None
        utterance = self._utterance()
        if self.manual and self._speech_start is not None:
            # silence before and after the speech, while the key is held down, only confuses the recogniser
            padding = self._settings.preroll_ms * RATE // 1000
            start = max(self._first_sample, self._speech_start - padding)
            end = self._speech_end + padding
            pcm = utterance.pcm[(start - self._first_sample) * 2 : (end - self._first_sample) * 2]
            utterance = Utterance(pcm, start, self._speech_end, utterance.speech_ms)
        self._reset()
        return utterance

    def clear(self) -> list[TurnEvent]:
        """Forget the audio so far, because the client asks for it."""
        dropped: list[TurnEvent] = [SpeechDropped(self._speech_end)] if self.speaking else []
        self._reset()
        self._preroll.clear()
        return dropped

    def forget(self, utterance: Utterance) -> list[TurnEvent]:
        """The speech up to the last `MaybeDone` was none of the caller's; ignored if somebody has spoken since."""
        return self.clear() if self._maybe is utterance else []

    def window(self, window: Window, probability: float, now: float, has_room: bool = True) -> list[TurnEvent]:
        """Take the next 32 ms and how likely they are speech. `has_room`: a transcription could begin at once."""
        self._last_window = now
        threshold = self._settings.threshold
        if probability >= threshold - _HYSTERESIS and not self.manual and not self._is_callers(window):
            probability = 0.0
        if self.manual:
            self._keep(window, probability >= threshold)
            return []
        if not self.speaking:
            return self._listen(window, probability >= threshold and not window.concealed)
        self._audio += window.pcm
        end = window.first_sample + WINDOW
        if probability >= (threshold - _HYSTERESIS if not self._silence_ms else threshold):
            return self._speech(end)
        events = self._silence(_WINDOW_MS, has_room)
        if self.speaking and len(self._audio) >= self._settings.max_turn_ms * RATE // 1000 * 2:
            events += self._end()
        return events

    def _is_callers(self, window: Window) -> bool:
        return not self._settings.relative_gate or self._gate.passes(window.voice or window.pcm, self.speaking)

    def tick(self, now: float) -> list[TurnEvent]:
        """Call each 0.1 s or so: when audio stops coming in mid-speech, the turn ends all the same."""
        if not self.speaking or self._last_window is None or now - self._last_window < MISSING_S:
            return []
        missing_ms = (now - self._last_window) * 1000
        self._last_window = now
        return self._silence(missing_ms)

    def gap(self) -> list[TurnEvent]:
        """A long stretch of audio is missing: the speech before it is a turn of its own."""
        self._likely = 0
        self._preroll.clear()
        if self.manual:
            self._reset()
        return self._end() if self.speaking else []

    def _keep(self, window: Window, likely: bool) -> None:
        """Without detection: all of it, the newest `max_turn_ms`, and where in it speech was."""
        if not self._audio:
            self._first_sample = window.first_sample
        self._audio += window.pcm
        end = window.first_sample + WINDOW
        if likely:
            self._speech_windows += 1
            if self._speech_start is None:
                self._speech_start = window.first_sample
            self._speech_end = end
        elif self._speech_start is None:
            self._speech_end = end
        surplus = len(self._audio) - self._settings.max_turn_ms * RATE // 1000 * 2
        if surplus > 0:
            del self._audio[:surplus]
            self._first_sample += surplus // 2

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
        if self._last_end is not None and onset - self._last_end < _GOES_ON_WITHIN:
            self._pauses.append((onset - self._last_end) * 1000 / RATE)
        self._last_end = None
        return [SpeechStarted(max(0, onset))]

    def _speech(self, end: int) -> list[TurnEvent]:
        resumed: list[TurnEvent] = [Resumed()] if self._maybe else []
        self._maybe = None
        self._known = Known()
        if self._silence_ms >= _A_PAUSE_MS:
            self._pauses.append(self._silence_ms)
        self._silence_ms = 0.0
        self._required_ms = wait_ms(self._settings)
        self._speech_windows += 1
        self._speech_end = end
        if len(self._audio) >= self._settings.max_turn_ms * RATE // 1000 * 2:
            return resumed + self._cut()
        spoken_ms = self._speech_windows * _WINDOW_MS
        if spoken_ms - self._told_ms >= self._settings.sustained_ms:
            self._told_ms = spoken_ms
            resumed.append(StillSpeaking(self._utterance()))
        return resumed

    def _silence(self, more_ms: float, has_room: bool = False) -> list[TurnEvent]:
        self._silence_ms += more_ms
        if self._silence_ms >= self._required_ms:
            return self._end()
        early_ms = self._settings.early_ms if has_room else None
        speculate_ms = self._settings.speculate_ms if early_ms is None else early_ms
        if self._silence_ms >= speculate_ms and self._maybe is None and self._long_enough():
            self._maybe = self._utterance()
            return [MaybeDone(self._maybe)]
        return []

    def _long_enough(self) -> bool:
        return self._speech_windows * _WINDOW_MS >= self._settings.min_speech_ms

    def _utterance(self) -> Utterance:
        spoken_ms = self._speech_windows * _WINDOW_MS
        return Utterance(bytes(self._audio), self._first_sample, self._speech_end, spoken_ms)

    def _cut(self) -> list[TurnEvent]:
        """The turn has lasted too long: it ends at the last pause, and the rest begins another one."""
        samples = len(self._audio) // 2
        at = pause(bytes(self._audio), samples * 3 // 4, samples - samples // 20)
        first, audio = self._first_sample, bytes(self._audio)
        rest = samples - at
        spoken = max(0, self._speech_windows - rest // WINDOW)
        ended = Utterance(audio[: at * 2], first, first + at, spoken * _WINDOW_MS)
        speech_end = self._speech_end
        self._reset()
        self.speaking = True
        self._audio += audio[at * 2 :]
        self._first_sample, self._speech_end = first + at, speech_end
        self._speech_windows = max(1, rest // WINDOW)
        return [TurnEnded(ended), SpeechStarted(first + at)]

    def _end(self) -> list[TurnEvent]:
        event = TurnEnded(self._maybe or self._utterance()) if self._long_enough() else SpeechDropped(self._speech_end)
        speech_end = self._speech_end
        self._reset()
        self._last_end = speech_end if isinstance(event, TurnEnded) else None
        self._required_ms = wait_ms(self._settings)
        return [event]
