"""Both voices of a call as one stream for its listeners. Pure: frames in as they are played, a mixed one out each tick.

The caller's frames come as the jitter buffer gives them, the agent's as they leave for the caller. Either comes in any
rate, early or late, or not at all; each mixed frame has 20 ms at `RATE`, with silence where a voice is missing.
"""

from __future__ import annotations

from array import array
from collections import deque
from functools import cache
from typing import Final

RATE: Final = 24000
"""Hz of the mixed stream: that of most agents, and what a packet of Opus at our bitrate carries."""
SAMPLES: Final = RATE // 50
MAX_WAITING: Final = 10
"""Frames of one voice that wait to be mixed, 200 ms; the oldest is dropped first. So two clocks that differ, or a stop
of this process, never add up to a delay."""
PRIMED: Final = 2
"""Frames of a voice that wait before its first one is mixed: its frames come up to a tick earlier or later."""
PATIENCE: Final = 2
"""Ticks after which a single frame that waits is mixed all the same: the last of what was spoken."""
_LOUDEST: Final = 32767


class CallMixer:
    """The mix of one call. Owner: `ListenedCall`; called on the event loop only."""

    def __init__(self) -> None:
        self._caller, self._agent = _Voice(), _Voice()

    def caller(self, pcm: bytes, rate: int) -> None:
        """The caller's next 20 ms, s16le mono."""
        self._caller.push(pcm, rate)

    def agent(self, pcm: bytes, rate: int) -> None:
        """The agent's next 20 ms, likewise."""
        self._agent.push(pcm, rate)

    def mix(self) -> bytes:
        """The next 20 ms of both, s16le mono at `RATE`; louder than can be written is cut off. Call every 20 ms."""
        caller, agent = self._caller.take(), self._agent.take()
        if caller is None or agent is None:
            return (caller or agent or _SILENCE).tobytes()
        sums = [a + b for a, b in zip(caller, agent, strict=True)]
        if max(sums) > _LOUDEST or min(sums) < -_LOUDEST - 1:
            sums = [max(-_LOUDEST - 1, min(_LOUDEST, each)) for each in sums]
        return array("h", sums).tobytes()


_SILENCE: Final = array("h", bytes(2 * SAMPLES))


class _Voice:
    """The frames of one side that wait to be mixed. Owner: `CallMixer`."""

    def __init__(self) -> None:
        self._waiting: deque[array[int]] = deque(maxlen=MAX_WAITING)
        self._runs = False
        self._waited = 0
        self._last = 0
        """The sample before the next frame: what is interpolated begins there."""

    def push(self, pcm: bytes, rate: int) -> None:
        samples = array("h", pcm)
        if len(samples) * 50 != rate or not samples:
            return  # no 20 ms
        if rate != RATE:
            samples, self._last = _resampled(samples, rate, self._last), samples[-1]
        self._waiting.append(samples)

    def take(self) -> array[int] | None:
        if not self._waiting:
            self._runs, self._waited, self._last = False, 0, 0
            return None
        if not self._runs and len(self._waiting) < PRIMED and self._waited < PATIENCE:
            self._waited += 1
            return None
        self._runs = True
        return self._waiting.popleft()


def _resampled(samples: array[int], rate: int, before: int) -> array[int]:
    """20 ms at `RATE`: straight lines between samples, and the mean of two where there are twice as many."""
    if rate == 2 * RATE:
        return array("h", [(a + b) >> 1 for a, b in zip(samples[::2], samples[1::2], strict=True)])
    line = (before, *samples)
    return array("h", [line[at] + ((line[at + 1] - line[at]) * part >> 8) for at, part in _places(rate)])


@cache
def _places(rate: int) -> tuple[tuple[int, int], ...]:
    """For each sample of the result: behind which one of the frame (and the one before it) it lies, and by how much."""
    places = []
    for number in range(1, SAMPLES + 1):
        at, rest = divmod(number * rate * 256 // RATE, 256)
        places.append((at, rest) if at < rate // 50 else (at - 1, 256))
    return tuple(places)
