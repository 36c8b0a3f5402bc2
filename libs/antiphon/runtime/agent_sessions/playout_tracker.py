"""Where a speech is: what was sent, what waits in the transceiver, what was played, what a kill has lost. Sans-IO.

The transceiver reports its position every 200 ms (`Playout`). Between two reports the clock tells, and when the
transceiver is killed, the clock and the caller's own frames tell what has to be sent again to its successor.

`PlayoutTracker` is what a speech uses; `Backlog` and `UnplayedFrames` are its two halves. Words are in `played_text`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from antiphon.schemas.audio import FRAME_MS
from antiphon.schemas.messages import Flushed, Playout

NO_REPORT_SECONDS: Final = 10.0
"""So long after the first frame without a report from the transceiver, the clock alone empties its queue."""
IN_FLIGHT_SECONDS: Final = 0.1
"""A frame or a report sent longer ago than this has arrived, or never will."""
MAX_FRAMES: Final = 1500
"""Unplayed frames kept: 30 s, as much as a transceiver queues. Of a speech that is never reported on, the oldest go."""
TAKEOVER_NOTICE_SECONDS: Final = 0.5
"""A transceiver that takes over reports a cut speech as `ended`, then `TakenOver` within this time."""


class Backlog:
    """How much of a speech waits in the transceiver: its last report, what was sent since, less the time that passed.

    Nothing drains before the transceiver has reported that it plays: until the client is connected, speech waits there.
    Frames sent within the last `IN_FLIGHT_SECONDS` are added to a report, which cannot know of them yet.
    While the speech is paused nothing drains, whatever time passes.
    """

    def __init__(self) -> None:
        self._queued_ms = 0.0
        self._draining_since: float | None = None
        """When `_queued_ms` was true last while it drains; None: the queue does not drain."""
        self._has_played = False
        self._report_expected_since = math.inf
        self._paused_at: float | None = None
        self._in_flight: deque[float] = deque()
        """When the newest frames were sent."""

    def _advance(self, now: float) -> None:
        if self._draining_since is not None:
            self._queued_ms = max(0.0, self._queued_ms - (now - self._draining_since) * 1000)
            self._draining_since = now
        elif self._paused_at is None and now - self._report_expected_since > NO_REPORT_SECONDS:
            self._draining_since = now

    def sent(self, now: float) -> None:
        """One more frame was sent."""
        self._advance(now)
        if self._report_expected_since == math.inf:
            self._report_expected_since = now
        self._queued_ms += FRAME_MS
        self._in_flight.append(now)
        while self._in_flight[0] < now - IN_FLIGHT_SECONDS:
            self._in_flight.popleft()

    def reported(self, queued_ms: int, playing: bool, now: float) -> None:
        """The transceiver said how much waits, and whether it plays."""
        self._report_expected_since = now
        self._queued_ms = queued_ms + FRAME_MS * sum(at >= now - IN_FLIGHT_SECONDS for at in self._in_flight)
        self._draining_since = None
        if not playing:
            return
        if self._paused_at is not None and now - self._paused_at <= IN_FLIGHT_SECONDS:
            return  # the report was sent before the pause arrived
        self._has_played, self._paused_at, self._draining_since = True, None, now

    def pause(self, now: float) -> None:
        """The transceiver was asked to hold the speech."""
        self._advance(now)
        self._draining_since, self._paused_at = None, now

    def resume(self, now: float) -> None:
        """The transceiver was asked to play on."""
        if self._paused_at is None:
            return
        self._paused_at = None
        if self._has_played:
            self._draining_since = now
        elif self._report_expected_since < math.inf:
            self._report_expected_since = now

    def queued_ms(self, now: float) -> float:
        """Milliseconds of speech that wait in the transceiver or are on their way to it."""
        self._advance(now)
        return self._queued_ms


class UnplayedFrames:
    """The frames of one speech that may not have been played, kept to be sent again. `MAX_FRAMES` at most.

    Samples are counted from the speech's beginning, at its rate.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._frames: deque[tuple[bytes, int]] = deque()
        self._first = 0
        """Sample at which the first of `_frames` begins."""
        self._base = 0
        """Sample at which the generation that is being played begins."""
        self._played = 0
        self._played_at: float | None = None
        """When that was reported, by a transceiver that plays; None: it plays nothing."""

    @property
    def sent(self) -> int:
        """Samples sent so far."""
        return self._first + sum(len(pcm) // 2 for pcm, _ in self._frames)

    @property
    def all_played(self) -> bool:
        """Every frame was reported as played."""
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
        """The transceiver was killed at this time: what to send in a new generation, (pcm, flags) per frame.

        It begins with the frame that was being played: better a syllable twice than not at all.
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


class PlayoutTracker:
    """One speech on its way to the caller.

    Owner: the speech (SDK) or the response (bridge) that sends the frames; it lives as long as that one. Called from
    the event loop: `sent` behind each frame, `reported` with each `Playout` of the speech's generation.
    """

    def __init__(self, rate: int, paused_at: float | None = None) -> None:
        """`rate` in Hz. `paused_at`: the transceiver holds the speech since then, until `resume`."""
        self.rate = rate
        self.samples = 0
        """Sent so far, without those that were sent again."""
        self.played = 0
        """The furthest sample that was reported as played."""
        self._unplayed = UnplayedFrames(rate)
        self._backlog = Backlog()
        self._paused_at = paused_at
        if paused_at is not None:
            self._backlog.pause(paused_at)

    @property
    def all_played(self) -> bool:
        """Every frame that was sent was reported as played."""
        return self._unplayed.all_played

    def sending(self, pcm: bytes, flags: int) -> None:
        """A frame is about to be sent: from now on it is kept to be sent again."""
        self._unplayed.put(pcm, flags)
        self.samples += len(pcm) // 2

    def sent(self, now: float) -> None:
        """A frame was sent, for the first time or again."""
        self._backlog.sent(now)

    def reported(self, event: Playout, now: float) -> None:
        """The transceiver says where it is in the present generation of this speech."""
        playing = event.state in ("started", "playing")
        self._backlog.reported(event.queued_ms, playing, now)
        played = self._unplayed.reported(event.played_samples * self.rate // event.rate, playing, now)
        self.played = max(self.played, played)  # what is sent again was reported before

    def pause(self, now: float) -> None:
        """The transceiver was asked to hold the speech."""
        self._paused_at = now
        self._backlog.pause(now)

    def resume(self, now: float) -> None:
        """The transceiver was asked to play on."""
        self._paused_at = None
        self._backlog.resume(now)

    def queued_ms(self, now: float) -> float:
        """Milliseconds of speech that wait in the transceiver or are on their way to it."""
        return self._backlog.queued_ms(now)

    def position(self, played_samples: int, rate: int) -> int:
        """Samples (at `rate`) of the present generation as samples of the speech."""
        return self._unplayed.position(played_samples * self.rate // rate)

    def flushed(self, event: Flushed, generation: int) -> int:
        """Samples of the speech that were played when a flush took effect; `generation` is the speech's present one."""
        played = event.played_samples if event.generation == generation else 0
        return max(self.played, self.position(played, event.rate))

    def estimate(self, now: float) -> int:
        """Samples of the speech that must have been played by the clock: where no report tells."""
        by_clock = self.samples - int(self.queued_ms(now) * self.rate / 1000)
        return max(self.played, self.position(0, self.rate), by_clock)

    def send_again(self, stopped_at: float, now: float) -> list[tuple[bytes, int]]:
        """The transceiver was killed at this time: (pcm, flags) of each frame to send in a new generation.

        The first one begins at `position(0, rate)`. Call `sent` behind each.
        """
        frames = self._unplayed.again(stopped_at)
        self._backlog = Backlog()
        if self._paused_at is not None:
            self._backlog.pause(now)
        return frames
