"""What the client was sent, on the clock of its own audio: the reference of an echo canceller. Sans-IO.

The agent's frames say what is played, `Playout` events when. Both the events and the caller's frames (`captured_ns`)
carry the transceiver's time, give or take the way to this process: an event can only come late, so the earliest of all
that agree says when its samples left.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from antiphon.schemas.audio import AudioFrame
from antiphon.schemas.messages import Flushed, Playout

Samples = npt.NDArray[np.int16]

RATE: Final = 16000
"""Samples per second of what `between` returns."""
KEPT_S: Final = 3
"""Seconds that stay readable after they were played."""
MAX_AHEAD_S: Final = 40
"""Seconds of one generation that are kept; the transceiver queues 30 s. Beyond it the oldest go."""
MAX_PIECES: Final = 64
"""Stretches of playing that are remembered: one for each response, pause and resumption."""
_SAME_NS: Final = 80_000_000
"""A report that is at most this much off the clock continues the stretch before it."""
_MARGIN: Final = 160
"""Samples at `RATE` on both sides of what is resampled, so that nothing is heard of where it was cut."""


@dataclass
class _Generation:
    """The frames of one generation, in the order in which they were sent."""

    number: int
    rate: int
    pcm: bytearray
    first: int = 0
    """Sample with which `pcm` begins: what is older was dropped."""


@dataclass
class _Piece:
    """A stretch of time in which one generation was played without a break."""

    generation: int
    start_ns: int
    """Unix ns at which its first sample left."""
    first: int
    """That sample, of the generation."""
    end: int | None = None
    """The sample at which it stopped; None: it plays."""
    paused: bool = False
    """It stopped because it is held, and may play on."""


class PlayedSpeech:
    """Remembers the speech of one call's agent for as long as it may come back as echo.

    Owned by the call's session. The event loop tells it of frames and events in their order; an `EchoCanceller` reads
    it on another thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generations: list[_Generation] = []
        self._pieces: list[_Piece] = []

    def sent(self, frame: AudioFrame) -> None:
        """A frame of the agent was published."""
        with self._lock:
            newest = self._generations[-1] if self._generations else None
            if newest is None or newest.number != frame.generation or newest.rate != frame.rate:
                newest = _Generation(frame.generation, frame.rate, bytearray())
                self._generations = [*self._generations, newest][-2:]
            newest.pcm += frame.pcm
            excess = len(newest.pcm) // 2 - MAX_AHEAD_S * frame.rate
            if excess > 0:
                self._drop(newest, newest.first + excess)

    def playout(self, event: Playout, now_ns: int) -> None:
        """The transceiver reports how far it has played. `now_ns`: Unix, when the report came."""
        with self._lock:
            generation = self._generation(event.generation)
            if generation is None or event.rate != generation.rate:
                return
            piece = self._pieces[-1] if self._pieces and self._pieces[-1].generation == event.generation else None
            if event.state in ("paused", "ended"):
                if piece is not None and (piece.end is None or piece.paused):
                    piece.end = max(piece.first, event.played_samples)
                    piece.paused = event.state == "paused"
            else:
                start_ns = (
                    now_ns - (event.played_samples - (piece.first if piece else 0)) * 1_000_000_000 // generation.rate
                )
                if piece is not None and piece.end is None and abs(start_ns - piece.start_ns) <= _SAME_NS:
                    piece.start_ns = min(start_ns, piece.start_ns)
                else:
                    self._begin(generation, event.played_samples, now_ns)
            self._drop(generation, event.played_samples - KEPT_S * generation.rate)

    def paused(self, now_ns: int) -> None:
        """The speech is to be held; the transceiver may report later where."""
        with self._lock:
            piece = self._pieces[-1] if self._pieces else None
            if piece is not None and piece.end is None and (generation := self._generation(piece.generation)):
                played = max(0, now_ns - piece.start_ns) * generation.rate // 1_000_000_000
                piece.end, piece.paused = piece.first + played, True

    def resumed(self, now_ns: int) -> None:
        """The speech that was paused plays on; its next report may take 200 ms."""
        with self._lock:
            piece = self._pieces[-1] if self._pieces else None
            if (
                piece is not None
                and piece.end is not None
                and piece.paused
                and (generation := self._generation(piece.generation))
            ):
                self._begin(generation, piece.end, now_ns)

    def flushed(self, event: Flushed) -> None:
        """The transceiver has dropped the rest of a generation."""
        with self._lock:
            piece = self._pieces[-1] if self._pieces else None
            if piece is not None and piece.generation == event.generation:
                piece.end, piece.paused = max(piece.first, event.played_samples), False

    def is_silent(self, at_ns: int, seconds: float) -> bool:
        """Nothing was played in the `seconds` before `at_ns` (Unix), as far as is known."""
        with self._lock:
            piece = self._pieces[-1] if self._pieces else None
            generation = self._generation(piece.generation) if piece else None
            if piece is None or generation is None:
                return True
            last = generation.first + len(generation.pcm) // 2 if piece.end is None else piece.end
            ended_ns = piece.start_ns + (last - piece.first) * 1_000_000_000 // generation.rate
            return at_ns > ended_ns + int(seconds * 1_000_000_000)

    def between(self, start_ns: int, samples: int) -> Samples | None:
        """What left within `samples` at `RATE` from `start_ns` (Unix) on; None if nothing did."""
        with self._lock:
            out: Samples | None = None
            for piece in reversed(self._pieces):
                generation = self._generation(piece.generation)
                if generation is None:
                    break
                at = (start_ns - piece.start_ns) * RATE // 1_000_000_000  # of the wanted first sample, in the piece
                last = generation.first + len(generation.pcm) // 2 if piece.end is None else piece.end
                length = (last - piece.first) * RATE // generation.rate
                low, high = max(at, 0), min(at + samples, length)
                if low < high:
                    if out is None:
                        out = np.zeros(samples, np.int16)
                    out[low - at : high - at] = self._read(
                        generation, piece.first * RATE // generation.rate + low, high - low
                    )
                if at >= 0:
                    break  # the pieces before it had ended then
            return out

    def _read(self, generation: _Generation, first: int, samples: int) -> Samples:
        """`samples` at `RATE` of a generation, from `first` on, in samples at `RATE` too."""
        from_, to = first - _MARGIN, first + samples + _MARGIN
        low, high = from_ * generation.rate // RATE, to * generation.rate // RATE
        begin = max(low, generation.first)
        end = min(high, generation.first + len(generation.pcm) // 2)
        own = np.zeros(high - low, np.int16)
        if begin < end:
            pcm = memoryview(generation.pcm)[(begin - generation.first) * 2 : (end - generation.first) * 2]
            own[begin - low : end - low] = np.frombuffer(bytes(pcm), dtype="<i2")
        if generation.rate == RATE:
            return own[_MARGIN : _MARGIN + samples]
        resampled: Samples = soxr.resample(own, generation.rate, RATE, quality="LQ")
        out = np.zeros(samples, np.int16)
        part = resampled[_MARGIN : _MARGIN + samples]
        out[: len(part)] = part
        return out

    def _begin(self, generation: _Generation, first: int, now_ns: int) -> None:
        if self._pieces and self._pieces[-1].end is None:
            before = self._pieces[-1]
            rate = next((each.rate for each in self._generations if each.number == before.generation), generation.rate)
            before.end = before.first + max(0, (now_ns - before.start_ns) * rate // 1_000_000_000)
        self._pieces = [*self._pieces, _Piece(generation.number, now_ns, first)][-MAX_PIECES:]

    def _generation(self, number: int) -> _Generation | None:
        return next((each for each in self._generations if each.number == number), None)

    @staticmethod
    def _drop(generation: _Generation, before: int) -> None:
        """Forget samples of a generation that no echo can bring back any more."""
        count = min(before - generation.first, len(generation.pcm) // 2)
        if count > 0:
            del generation.pcm[: count * 2]
            generation.first += count
