"""What of a speech was sent, what is still queued, and which words of it were heard. Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from antiphon.schemas.audio import FRAME_MS, RATES

DEAF_SECONDS: Final = 10.0
"""So long after the first frame without a report of the transceiver, time alone empties its queue."""

WAY_SECONDS: Final = 0.1
"""A frame sent longer ago than this has arrived, or never will."""


class Word(NamedTuple):
    """A word and where it is in the audio it was written with."""

    text: str
    """As it is to appear in `Heard.text`."""
    start: float
    """Seconds from the first sample of the `write`."""
    end: float
    """Likewise, where the word is over."""


@dataclass(frozen=True)
class Played:
    """What of a speech the caller has heard."""

    samples: int
    """At the speech's rate, exact when the transceiver has said so (`confirmed`)."""
    rate: int
    """Hz: the speech's."""
    text: str
    """The words of which at least half was played, as they were written."""
    complete: bool
    """All that was written was played."""
    confirmed: bool = True
    """False: the transceiver did not answer, and `samples` is reckoned from the clock."""

    @property
    def seconds(self) -> float:
        """`samples` as time."""
        return self.samples / self.rate


class Ledger:
    """The samples of a speech and their words."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.samples = 0
        """Written so far."""
        self._words: list[tuple[str, float]] = []
        """Text with its blanks, and the sample in its middle: played up to there, it counts as heard."""

    def add(self, samples: int, words: str | Sequence[str] | Sequence[Word] | None) -> None:
        """Text without times is spread over the samples by its length."""
        if isinstance(words, str):
            words = words.split()
        first = self.samples
        self.samples += samples
        if not words:
            return
        letters = sum(len(word) + 1 for word in words if isinstance(word, str))
        at = 0
        for word in words:
            if isinstance(word, Word):
                middle = (word.start + word.end) / 2 * self.rate
                self._words.append((word.text, first + middle))
            else:
                length = len(word) + 1
                self._words.append((word, first + samples * (at + length / 2) / letters))
                at += length

    def text(self, played: int | None = None) -> str:
        """The words up to a sample; all of them without one."""
        return " ".join(word for word, middle in self._words if played is None or middle <= played)


class Backlog:
    """How much speech waits in the transceiver, reckoned from what was sent, the clock and its reports."""

    def __init__(self) -> None:
        self._queued_ms = 0.0
        self._at: float | None = None
        """When the queue has begun to run, or was last looked at; None: it stands still."""
        self._first_sent: float | None = None
        self._on_the_way: deque[float] = deque()
        """When the newest frames were sent, which a report may not know of yet."""

    def _advance(self, now: float) -> None:
        if self._at is not None:
            self._queued_ms = max(0.0, self._queued_ms - (now - self._at) * 1000)
            self._at = now
        elif self._first_sent is not None and now - self._first_sent > DEAF_SECONDS:
            self._at = now

    def sent(self, now: float) -> None:
        """One frame more."""
        self._advance(now)
        if self._first_sent is None:
            self._first_sent = now
        self._queued_ms += FRAME_MS
        self._on_the_way.append(now)
        while self._on_the_way[0] < now - WAY_SECONDS:
            self._on_the_way.popleft()

    def reported(self, queued_ms: int, playing: bool, now: float) -> None:
        """The transceiver said how much waits."""
        self._first_sent = now
        self._queued_ms = queued_ms + FRAME_MS * sum(at >= now - WAY_SECONDS for at in self._on_the_way)
        self._at = now if playing else None

    def held(self, now: float) -> None:
        """The speech is paused."""
        self._advance(now)
        self._at, self._first_sent = None, None

    def queued_ms(self, now: float) -> float:
        self._advance(now)
        return self._queued_ms


class Framer:
    """PCM of any length to frames of 20 ms; the last one is kept back, because it may be the end of the speech."""

    def __init__(self, rate: int) -> None:
        if rate not in RATES:
            raise ValueError(f"speech at {rate} Hz: expected one of {', '.join(map(str, RATES))}")
        self.size = rate // 50 * 2
        self._rest = bytearray()

    def push(self, pcm: bytes) -> list[bytes]:
        """s16le mono; ValueError for half a sample."""
        if len(pcm) % 2:
            raise ValueError(f"speech of {len(pcm)} bytes: samples of 16 bits come in pairs of bytes")
        self._rest += pcm
        full = max(0, (len(self._rest) - 1) // self.size)
        frames = [bytes(self._rest[at * self.size : (at + 1) * self.size]) for at in range(full)]
        del self._rest[: full * self.size]
        return frames

    def end(self) -> bytes | None:
        """The last frame, filled up with silence; None if nothing was written."""
        if not self._rest:
            return None
        last = bytes(self._rest) + bytes(self.size - len(self._rest))
        self._rest.clear()
        return last
