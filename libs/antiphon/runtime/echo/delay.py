"""How late the agent's voice comes back in the caller's audio: correlation with whitened spectra (GCC-PHAT). Pure.

C. Knapp and G. Carter, "The generalized correlation method for estimation of time delay", IEEE Transactions on
Acoustics, Speech and Signal Processing 24 (1976).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float32]

BEFORE_S: Final = 0.3
"""An echo may seem to come before its sound: the clocks of two machines differ."""
AFTER_S: Final = 1.2
"""The longest delay that is looked for."""
_WHITENED: Final = 0.8
"""Exponent: 1 takes all of the spectrum's shape away, and makes noise as loud as speech."""
_HALF_SHARPNESS: Final = 5.0
"""Of the delay in half a second of an echo. Of 320 callers with the agent's own voice, at any time of its speech, 29 %
showed a delay that was sure by one look at a second, 3 % one in both halves of it; of 256 with a voice 5 % higher or
6 % lower 18 and 1 %. An echo of -6 to -20 dB showed it within 0.9 s (p90), without this after 0.1 to 0.3 s."""
_LAGS: Final = 4
"""Samples that a half may be off."""
_FRAME_S: Final = 0.02
_SOUNDING, _LOUD = 0.1, 0.4
"""Shares of the loudest frame's RMS: what an echo may be heard of, and what it must be heard of."""
_ROOM_FRAMES: Final = 6
"""For which a room goes on to sound: 0.12 s."""
_FEWEST: Final = 8
"""Frames that sound on both sides, and frames that are silent on both: without either there is nothing to compare."""
_COVERED: Final = 0.8
"""Share of the agent's loud frames that the caller's side sounds in."""
_EXPLAINED: Final = 0.9
"""Share of the caller's sounds that the agent's explain."""


class Delay(NamedTuple):
    """Where the correlation is highest. A value."""

    seconds: float
    sharpness: float
    """The peak's height in standard deviations of the whole correlation. With 1 s of audio: an echo 6 to 30 dB below
    the speech that made it 8 to 20, another voice alone 9 at most, 6 in the median."""


def find_delay(caller: Signal, reference: Signal, rate: int) -> Delay | None:
    """The delay with which `reference` most likely comes back in `caller`; None for silence.

    `reference` begins `AFTER_S` before `caller` and ends `BEFORE_S` behind it; both at `rate`.
    """
    correlation = _correlation(caller, reference)
    if correlation is None:
        return None
    peak = int(np.argmax(np.abs(correlation)))
    return Delay(AFTER_S - peak / rate, abs(float(correlation[peak])) / float(np.std(correlation)))


def comes_back_in_both_halves(caller: Signal, reference: Signal, rate: int, delay: Delay) -> bool:
    """Whether either half of `caller` shows this delay by itself. Signals as `find_delay` takes them.

    A sound of the caller that is like one of the agent's fits one moment of the agent's speech; an echo fits all of it.
    """
    half = len(caller) // 2
    lag = round((AFTER_S - delay.seconds) * rate)
    for start in (0, half):
        correlation = _correlation(caller[start : start + half], reference[start : len(reference) - half + start])
        if correlation is None:
            return False
        there = correlation[max(0, lag - _LAGS) : lag + _LAGS + 1]
        if float(np.abs(there).max()) < _HALF_SHARPNESS * float(np.std(correlation)):
            return False
    return True


def sounds_when_it_does(loud: Sequence[bool], reference: Signal, rate: int, delay: Delay) -> bool:
    """Whether the caller's side sounds when the delayed reference does, and is silent when that is.

    `loud`: of each 20 ms of the caller. `reference` as `find_delay` takes it. An echo begins and ends with the agent's
    speech, which is held as soon as somebody seems to speak; a caller begins in the middle of it, and goes on. False
    where the agent was never silent: there is nothing to be told from that.
    """
    size = round(_FRAME_S * rate)
    first = round((AFTER_S - delay.seconds) * rate)
    levels = [0.0] * len(loud)
    for number in range(len(loud)):
        frame = reference[max(0, first + number * size) : max(0, first + (number + 1) * size)]
        levels[number] = float(np.sqrt(np.dot(frame, frame) / size))
    loudest = max(levels, default=0.0)
    if not loudest:
        return False
    sounds = [level > _SOUNDING * loudest for level in levels]
    may_be_heard = [any(sounds[max(0, at - _ROOM_FRAMES) : at + 2]) for at in range(len(loud))]
    heard = [any(loud[max(0, at - 1) : at + 2]) for at in range(len(loud))]
    due = [at for at, level in enumerate(levels) if level > _LOUD * loudest]
    explained = sum(map(bool.__and__, loud, may_be_heard))
    silent = sum(not sound and not might for sound, might in zip(loud, may_be_heard, strict=True))
    return (
        explained >= max(_FEWEST, _EXPLAINED * sum(loud))
        and silent >= _FEWEST
        and sum(heard[at] for at in due) >= _COVERED * len(due)
    )


def _correlation(caller: Signal, reference: Signal) -> npt.NDArray[np.float64] | None:
    """By lag of `caller` in `reference`; None where one of them is silent."""
    size = 1 << (len(reference) + len(caller) - 1).bit_length()
    spectrum = np.fft.rfft(reference, size) * np.conj(np.fft.rfft(caller, size))
    power = np.abs(spectrum)
    if not power.any():
        return None
    spectrum /= (power + power.mean() * 1e-3) ** _WHITENED
    correlation = np.fft.irfft(spectrum, size)[: len(reference) - len(caller) + 1]
    return correlation if correlation.any() else None
