"""From one of the four rates to another, 20 ms at a time, without a library. Sans-IO.

A windowed-sinc low pass, evaluated only where an output sample lies. In plain Python a frame takes 1-2 ms:
`Agent(input_rate=...)` lets the transceiver do it for nothing.
"""

from __future__ import annotations

import math
from array import array
from operator import mul
from typing import Final

HALF: Final = 8
"""Zero crossings of the sinc on each side, at the lower of the two rates."""


class Resampler:
    """One stream. The output lags by `HALF` samples of the lower rate (1 ms at 8 kHz)."""

    def __init__(self, source: int, target: int) -> None:
        common = math.gcd(source, target)
        self._up, self._down = target // common, source // common
        cutoff = min(1.0, target / source)
        self._reach = math.ceil(HALF / cutoff)
        self._phases = [self._taps(phase / self._up, cutoff) for phase in range(self._up)]
        self._past: array[int] = array("h", bytes(2 * (2 * self._reach - 1)))
        self._phase = 0

    def _taps(self, shift: float, cutoff: float) -> list[float]:
        """For an output sample at `shift` after the input sample in the middle."""
        taps = []
        for place in range(-self._reach + 1, self._reach + 1):
            x = place - shift
            sinc = cutoff if x == 0 else math.sin(math.pi * cutoff * x) / (math.pi * x)
            taps.append(sinc * (0.5 + 0.5 * math.cos(math.pi * x / (self._reach + 1))))
        total = sum(taps)
        return [tap / total for tap in taps]

    def push(self, pcm: bytes) -> bytes:
        """s16le in, s16le out; over the whole stream exactly `target / source` as many samples."""
        samples = self._past + array("h", pcm)
        width = 2 * self._reach
        out: array[int] = array("h")
        at, phase = 0, self._phase
        while at + width <= len(samples):
            value = round(sum(map(mul, samples[at : at + width], self._phases[phase])))
            out.append(max(-32768, min(32767, value)))
            phase += self._down
            at += phase // self._up
            phase %= self._up
        self._past, self._phase = samples[at:], phase
        return out.tobytes()
