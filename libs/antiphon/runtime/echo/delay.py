"""How late the agent's voice comes back in the caller's audio: correlation with whitened spectra (GCC-PHAT). Pure.

C. Knapp and G. Carter, "The generalized correlation method for estimation of time delay", IEEE Transactions on
Acoustics, Speech and Signal Processing 24 (1976).
"""

from __future__ import annotations

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
