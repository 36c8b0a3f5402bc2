"""The caller's audio without the agent's echo. It costs where there is echo, and next to nothing elsewhere.

While the agent's voice may be audible and the caller's side is louder than its own noise, the delay is looked for
with which that voice comes back. Until it is found, the audio is passed on as it is: what AEC3 (WebRTC's canceller,
by `pywebrtc-audio`) leaves in its first half second tells no echo from a caller. From then on voice activity gets the
result of AEC3, or the audio as it is where more is left than of the echo; and recognition gets the result, unless the
echo is so weak that it would only take from the caller's words.

AEC3 finds delays up to 0.4 s by itself; the reference is shifted for longer ones.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pywebrtc_audio import EchoCanceller as Aec3

from antiphon.runtime.echo.delay import (
    AFTER_S,
    BEFORE_S,
    Delay,
    Signal,
    comes_back_in_both_halves,
    find_delay,
    sounds_when_it_does,
)
from antiphon.runtime.echo.played_speech import RATE, PlayedSpeech
from antiphon.schemas.audio import AudioFrame, FrameFlag

Samples = npt.NDArray[np.int16]

FRAME: Final = RATE // 50
_NS: Final = 1_000_000_000
_HISTORY: Final = 50
"""Frames that are kept: 1 s, on which the delay is looked for, and with which AEC3 begins."""
_WARM_UP: Final = 25
"""Frames that AEC3 gets before the first one whose result is used."""
_TAIL_NS: Final = 600_000_000
"""How long the agent's voice may be audible after it has left, besides a delay that is known."""
_IDLE_S: Final = 1.0
"""Seconds after the agent's last sound that an echo may take, with all that clocks and paths are off."""
_JUDGED_EVERY: Final = 12
_JUDGED_AT_FIRST: Final = 5
"""Frames between two looks for the delay, and while none is known; one takes 1.3 ms."""
_MIN_HISTORY: Final = 20
"""Frames that a look needs."""
_SURE: Final = 11.0
_LIKELY: Final = 9.0
"""Sharpness of a delay that shows an echo, and of one that goes on to show it. Of the agent's own voice as a caller, at
any time of its speech, the highest was 10.2 in 0.5 s and 9.0 in 1 s."""
_AGREE_S: Final = 0.02
_NO_ECHO_AFTER: Final = 12
"""Looks at a loud caller's side in a row without a likely delay, after which what was echo is gone: 3 s."""
_REACH_S: Final = (0.0, 0.3)
"""Delays that are left to AEC3."""
_LEAD_S: Final = 0.08
"""What is left of a delay that AEC3 does not reach, once the reference is shifted."""
_AUDIBLE: Final = 26.0
"""RMS of 16-bit samples, -62 dBFS: no voice activity is found below it."""
_ABOVE_NOISE: Final = 2.0
"""Times the noise's RMS that is loud."""
_LOUD_FRAMES: Final = 8
"""Frames of the history that a look needs to have a sound: 0.16 s. An echo holds the agent's speech, so that its first
words may be all that there is of it."""
_REMAINS: Final = 0.1
"""Share of the power, -10 dB, that AEC3 leaves at least of a caller over an echo that it knows."""
_REMAINING: Final = 82.0
"""RMS, -52 dBFS, that it leaves of one at least."""
_WEAK: Final = 180.0
"""RMS, -45 dBFS, of an echo that does a caller's words less harm than AEC3, which takes from them while it learns."""
_SURGE: Final = 10.0
"""Times the echo's power that one frame counts at most: a caller's first frames are not known to be a caller's."""
_COMPARED: Final = 6
"""Frames over which both are measured: 120 ms."""
_CLOCK_NS: Final = 5 * _NS
"""Time after which an early frame is forgotten: clocks drift, and paths change."""


class Canceller(Protocol):
    """What AEC3 does: one frame of the caller and of what was played, both 16-bit at 16 kHz, to the caller alone."""

    def process(self, near: Samples, far: Samples) -> Samples: ...


class Cleaned(NamedTuple):
    """A caller's frame as it is to be used. A value."""

    pcm: bytes
    """For recognition."""
    voice: bytes
    """For voice activity."""


class EchoCanceller:
    """Cleans one call's frames.

    Owned by what consumes the call's audio; `clean` is called for one frame after the other, by one thread at a time.
    """

    def __init__(self, speech: PlayedSpeech, make: Callable[[], Canceller] = lambda: Aec3(RATE)) -> None:
        """`speech`: what the client was sent. `make`: a canceller without any past."""
        self.found: Delay | None = None
        """The echo's delay; None: no echo was found, or none any more."""
        self.is_likely = False
        """The last look has seen a likely delay."""
        self._speech, self._make = speech, make
        self._canceller: Canceller | None = None
        """While the agent is audible and the caller's side is loud."""
        self._shift_ns = 0
        self._audible_until = 0
        self._history: deque[tuple[int, bytes, bool]] = deque(maxlen=_HISTORY)
        """(Unix ns, pcm, loud) of the newest frames without a gap."""
        self._noise = _AUDIBLE
        self._next: int | None = None
        self._clock = _EarliestClock()
        self._since_judged = 0
        self._candidate: Delay | None = None
        self._path: Delay | None = None
        """The last delay that was found: an echo that was gone comes back with it."""
        self._looks_without = 0
        self._powers: deque[tuple[float, float]] = deque(maxlen=_COMPARED)
        """Of the newest frames before and after AEC3."""
        self._echo = 0.0
        """The power of the echo that was found, where it was alone."""

    def is_idle(self, frame: AudioFrame) -> bool:
        """The agent was silent for so long that `note` is enough for this frame."""
        return self._speech.is_silent(frame.captured_ns, _IDLE_S + self._shift_ns / _NS)

    def note(self, frame: AudioFrame) -> None:
        """The next frame, at 16 kHz, in which no echo can be."""
        self.is_likely = False
        at, power = self._clock.time_ns(frame), _power(frame.pcm)
        self._follow(frame)
        self._canceller = None
        self._looks_without = 0
        self._history.append((at, frame.pcm, self._is_loud(frame, power)))

    def clean(self, frame: AudioFrame) -> Cleaned:
        """The next frame, at 16 kHz, without echo."""
        at, power = self._clock.time_ns(frame), _power(frame.pcm)
        self._follow(frame)
        loud = self._is_loud(frame, power)
        played = self._speech.between(at - self._shift_ns, FRAME)
        if played is not None:
            self._audible_until = at + _TAIL_NS
        if at >= self._audible_until or len(frame.pcm) != FRAME * 2:
            self._canceller = None
        elif self._canceller is None and (loud or self.found):
            self._start()
        self._history.append((at, frame.pcm, loud))
        if self._canceller is None:
            return Cleaned(frame.pcm, frame.pcm)
        out = self._run(self._canceller, frame.pcm, played)
        self._powers.append((power, _power(out)))
        self._since_judged += 1
        if self._since_judged >= (_JUDGED_EVERY if self.found else _JUDGED_AT_FIRST) and (loud or not self.found):
            self._since_judged = 0
            self._judge()
        if self.found is None:
            return Cleaned(frame.pcm, frame.pcm)
        caller = self._may_be_a_caller()
        if not caller and loud:
            self._echo = 0.95 * self._echo + 0.05 * min(power, _SURGE * self._echo)
        is_weak = self._echo < _WEAK**2
        return Cleaned(frame.pcm if caller and is_weak else out, frame.pcm if caller else out)

    def _follow(self, frame: AudioFrame) -> None:
        """What is kept of the frames before is worth nothing behind a gap."""
        if self._next is not None and frame.first_sample != self._next:
            self._history.clear()
            self._canceller = None
        self._next = frame.first_sample + len(frame.pcm) // 2

    def _may_be_a_caller(self) -> bool:
        """What AEC3 has left of the last frames is more than it leaves of the echo that it knows."""
        before = sum(power for power, _ in self._powers)
        after = sum(power for _, power in self._powers)
        return after > _REMAINS * before and after > _REMAINING**2 * len(self._powers)

    def _is_loud(self, frame: AudioFrame, power: float) -> bool:
        """Louder than the caller's noise, which is followed fast downwards and slowly upwards."""
        if frame.flags & FrameFlag.SILENCE:
            return False
        level = math.sqrt(power)
        self._noise = 0.7 * self._noise + 0.3 * level if level < self._noise else self._noise * 1.003
        return level > max(_AUDIBLE, _ABOVE_NOISE * self._noise)

    def _start(self) -> None:
        """A canceller that knows the last frames."""
        self._canceller = canceller = self._make()
        self._powers.clear()
        for at, pcm, _ in list(self._history)[-_WARM_UP:]:
            if len(pcm) == FRAME * 2:
                self._run(canceller, pcm, self._speech.between(at - self._shift_ns, FRAME))

    @staticmethod
    def _run(canceller: Canceller, pcm: bytes, played: Samples | None) -> bytes:
        far = np.zeros(FRAME, np.int16) if played is None else played
        cleaned: bytes = canceller.process(np.frombuffer(pcm, dtype="<i2"), far).astype("<i2").tobytes()
        return cleaned

    def _judge(self) -> None:
        """Look for the delay in the last second."""
        history = list(self._history)
        if len(history) < _MIN_HISTORY or sum(loud for *_, loud in history) < _LOUD_FRAMES:
            return
        caller = b"".join(pcm for _, pcm, _ in history)
        length = len(caller) // 2
        start = history[0][0] - int(AFTER_S * _NS)
        reference = self._speech.between(start, int((AFTER_S + BEFORE_S) * RATE) + length)
        signals = _halved(caller), _halved(b"" if reference is None else reference.tobytes()), RATE // 2
        delay = None if reference is None else find_delay(*signals)
        self.is_likely = delay is not None and delay.sharpness >= _LIKELY
        if delay is None or not self.is_likely:
            self._candidate = None
            self._looks_without += 1
            if self._looks_without >= _NO_ECHO_AFTER:
                self.found = None
            return
        agreed = self._candidate is not None and _is_same(delay, self._candidate)
        known = self._path is not None and _is_same(delay, self._path)
        self._candidate = delay
        sure = delay.sharpness >= _SURE and agreed
        if self.found is None:
            sure = self._shows_echo(history, signals, delay)
        if not (known or sure):
            return
        if self._path is None:
            self._echo = float(np.median([_power(pcm) for _, pcm, loud in history if loud]))
        self._looks_without = 0
        self.found = self._path = delay
        left = delay.seconds - self._shift_ns / _NS
        if not _REACH_S[0] <= left <= _REACH_S[1]:
            self._shift_ns = int((delay.seconds - _LEAD_S) * _NS)
            self._start()

    @staticmethod
    def _shows_echo(
        history: Sequence[tuple[int, bytes, bool]], signals: tuple[Signal, Signal, int], delay: Delay
    ) -> bool:
        """A delay is an echo's: it is sharp, and nothing else sounds with it like that."""
        if delay.sharpness < _SURE:
            return False
        loud = [each for *_, each in history]
        if sounds_when_it_does(loud, signals[1], signals[2], delay):
            return True
        powers = [_power(pcm) for _, pcm, each in history if each]
        is_weak = sum(powers) < _WEAK**2 * len(powers)  # no caller speaks that softly
        return is_weak or (_is_loud_in_both_halves(loud) and comes_back_in_both_halves(*signals, delay))


class _EarliestClock:
    """When a frame was recorded, give or take a constant: the earliest arrival of the last seconds tells it best."""

    def __init__(self) -> None:
        self._offsets: list[int] = []
        """The earliest of this stretch of `_CLOCK_NS` and of the one before."""
        self._began = 0

    def time_ns(self, frame: AudioFrame) -> int:
        position = frame.first_sample * _NS // RATE
        offset = frame.captured_ns - position
        if not self._offsets or abs(offset - self._offsets[0]) > _NS:  # the first, or the clock was set
            self._offsets, self._began = [offset, offset], frame.captured_ns
        elif frame.captured_ns - self._began > _CLOCK_NS:
            self._offsets, self._began = [offset, self._offsets[0]], frame.captured_ns
        else:
            self._offsets[0] = min(self._offsets[0], offset)
        return min(self._offsets) + position


def _is_same(one: Delay, other: Delay) -> bool:
    return abs(one.seconds - other.seconds) <= _AGREE_S


def _is_loud_in_both_halves(loud: Sequence[bool]) -> bool:
    middle = len(loud) // 2
    return all(sum(half) >= _LOUD_FRAMES // 2 for half in (loud[:middle], loud[middle:]))


def _power(pcm: bytes) -> float:
    """The mean square of its samples."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    return float(np.dot(samples, samples)) / max(1, len(samples))


def _halved(pcm: bytes) -> npt.NDArray[np.float32]:
    """At half the rate: pairs of samples added."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    halved: npt.NDArray[np.float32] = samples[: len(samples) // 2 * 2].reshape(-1, 2).sum(axis=1)
    return halved
