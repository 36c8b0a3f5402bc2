"""From 11025, 22050 or 44100 Hz to a rate of frames, without a library. Sans-IO.

A windowed-sinc low pass with a table of taps for each of the phases that an output sample can have, of which such rates
have hundreds: `resampling` computes all samples of a phase at once, which pays only where phases are few.
`antiphon bench resampling` has the processor time.
"""

from __future__ import annotations

import array
import math
import sys
from operator import mul
from typing import Final

HALF: Final = 8
"""Zero crossings of the sinc on each side."""
_SHIFT: Final = 15
"""Bits behind the point of a tap."""
_MAX_STEP: Final = 1 << 15


class OddRateResampler:
    """One stream, upwards. The output lags by `HALF` samples of the source."""

    def __init__(self, source: int, target: int) -> None:
        """`source` and `target` in Hz; the target is the higher one."""
        if target < source:
            raise ValueError(f"from {source} to {target} Hz: only upwards")
        common = math.gcd(source, target)
        self._up, self._down = target // common, source // common
        self._taps = [_taps(phase / self._up) for phase in range(self._up)]
        self._past = [0] * (2 * HALF - 1)
        self._phase = 0

    def push(self, pcm: bytes) -> bytes:
        """s16le in, s16le out; over the whole stream exactly `target / source` as many samples."""
        given = array.array("h", pcm)
        if sys.byteorder == "big":
            given.byteswap()
        samples = [*self._past, *given]
        up, down, taps, width, phase, at = self._up, self._down, self._taps, 2 * HALF, self._phase, 0
        made = []
        last = len(samples) - width
        while at <= last:
            made.append((sum(map(mul, taps[phase], samples[at : at + width])) + (1 << (_SHIFT - 1))) >> _SHIFT)
            phase += down
            at += phase // up
            phase %= up
        self._phase, self._past = phase, samples[at:]
        out = array.array("h", [min(max(each, -_MAX_STEP), _MAX_STEP - 1) for each in made])
        if sys.byteorder == "big":
            out.byteswap()
        return out.tobytes()


def _taps(shift: float) -> list[int]:
    """For an output sample at `shift` behind the input sample in the middle; exactly one in all."""
    found = []
    for place in range(-HALF + 1, HALF + 1):
        x = place - shift
        sinc = 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)
        found.append(sinc * (0.5 + 0.5 * math.cos(math.pi * x / (HALF + 1))))
    scale = (1 << _SHIFT) / sum(found)
    whole = [round(each * scale) for each in found]
    whole[max(range(len(found)), key=lambda at: found[at])] += (1 << _SHIFT) - sum(whole)
    return whole
