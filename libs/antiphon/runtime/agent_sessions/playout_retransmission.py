"""Speech that was sent and may not have been heard: kept until it was played, to be sent again. Sans-IO.

When a transceiver is killed, what was queued in it is lost, and whoever takes the session over says so (`TakenOver`).
Up to where the speech was played is known from the last report, and from the frames of the caller, which come every
20 ms and stop with the process.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_FRAMES: Final = 1500
"""30 s, as much as a transceiver queues; of a speech that is never reported on the oldest is not sent again."""
GAP_SECONDS: Final = 0.06
"""Without a frame of the caller: its transceiver stands still, or is gone."""
_RECENT_SECONDS: Final = 5.0
LOST_SECONDS: Final = 0.5
"""A speech that is told as ended before its end was cut short; the word of a take-over follows within this, or none."""


class CallerClock:
    """When the caller was last heard through a transceiver that is gone by now."""

    def __init__(self) -> None:
        self._last = self._before_gap = float("-inf")

    def frame(self, now: float) -> None:
        """A frame of the caller came."""
        if now - self._last > GAP_SECONDS:
            self._before_gap = self._last
        self._last = now

    def stopped_at(self, now: float) -> float:
        """Told of a take-over: when the frames stopped. Some of the new process may have come already."""
        resumed = now - self._last < GAP_SECONDS and now - self._before_gap < _RECENT_SECONDS
        return self._before_gap if resumed else self._last


class Unplayed:
    """The frames of one speech. Samples are counted from its beginning, at its rate."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._frames: deque[tuple[bytes, int]] = deque()
        self._first = 0
        """Sample at which the first of `_frames` begins."""
        self._base = 0
        """Sample at which the generation that is being played begins."""
        self._played = 0
        self._played_at: float | None = None
        """When that was reported, by a transceiver that plays on; None: it stands still."""

    @property
    def sent(self) -> int:
        """Samples sent so far."""
        return self._first + sum(len(pcm) // 2 for pcm, _ in self._frames)

    @property
    def all_played(self) -> bool:
        return not self._frames

    def put(self, pcm: bytes, flags: int) -> None:
        """A frame is sent."""
        self._frames.append((pcm, flags))
        if len(self._frames) > MAX_FRAMES:
            self._drop()

    def reported(self, played_samples: int, playing: bool, now: float) -> int:
        """The transceiver has played so much of the present generation; returns the samples of the whole speech."""
        self._played = self.position(played_samples)
        self._played_at = now if playing else None
        while self._frames and self._first + len(self._frames[0][0]) // 2 <= self._played:
            self._drop()
        return self._played

    def position(self, played_samples: int) -> int:
        """Samples of the present generation as samples of the speech."""
        return self._base + played_samples

    def again(self, stopped_at: float) -> list[tuple[bytes, int]]:
        """The transceiver was gone at this time: what is to be sent in a new generation, (pcm, flags) per frame.

        From the frame on that was being played then: a syllable is rather heard twice than not at all.
        """
        played = self._played
        if self._played_at is not None:
            played += max(0, int((stopped_at - self._played_at) * self._rate))
        while self._frames and self._first + len(self._frames[0][0]) // 2 <= played:
            self._drop()
        self._base = self._played = self._first
        self._played_at = None
        return list(self._frames)

    def _drop(self) -> None:
        pcm, _ = self._frames.popleft()
        self._first += len(pcm) // 2
