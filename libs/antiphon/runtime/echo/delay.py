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
    size = 1 << (len(reference) + len(caller) - 1).bit_length()
    spectrum = np.fft.rfft(reference, size) * np.conj(np.fft.rfft(caller, size))
    power = np.abs(spectrum)
    if not power.any():
        return None
    spectrum /= (power + power.mean() * 1e-3) ** _WHITENED
    lags = len(reference) - len(caller) + 1
    correlation = np.fft.irfft(spectrum, size)[:lags]
    peak = int(np.argmax(np.abs(correlation)))
    deviation = float(np.std(correlation))
    if deviation == 0:
        return None
    return Delay(AFTER_S - peak / rate, abs(float(correlation[peak])) / deviation)
