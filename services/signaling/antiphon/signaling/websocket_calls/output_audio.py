"""The agent's speech: what leaves for the client ahead of real time, and what counts as played. Sans-IO.

The client plays what it gets by itself. So the clock tells what it has played, from the first frame of a reply on, and
where the client truncates an item, its own word counts. At most `AHEAD_SECONDS` leave ahead of the clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from antiphon.runtime.owned_calls.playout_queue import MAX_AHEAD, MAX_QUEUED
from antiphon.schemas import messages
from antiphon.schemas.audio import FRAME_MS, AudioFrame, FrameFlag

AHEAD_SECONDS: Final = 5.0
BLOCK_SECONDS: Final = 0.1
"""What leaves at a time once so much is ahead: a message for each frame would cost five times the work."""
POSITION_EVERY: Final = 10
"""Frames between two reports while speech plays, as over WebRTC."""
CUT_SECONDS: Final = 1.0
"""After a cut by the client, for the agent to flush; then the reply counts as ended."""
FRAME: Final = FRAME_MS / 1000
_ENDS: Final = FrameFlag.END_OF_UTTERANCE.value

Notify = Callable[[messages.Message], None]


class _Sent(NamedTuple):
    """A frame that has left, and is played at this time by the clock."""

    at: float
    frame: AudioFrame


class OutputAudio:
    """The speech of one call. Owner: the `WebSocketCall`, which calls it on the event loop only.

    Generations fence off interrupted speech as `PlayoutQueue` of a transceiver does.
    """

    def __init__(self, notify: Notify) -> None:
        """`notify`: takes the events `Playout`, `Flushed` and `PlayoutOverflow` for the agent."""
        self.frames_sent = 0
        self._notify = notify
        self._queue: deque[AudioFrame] = deque()
        """Not sent yet."""
        self._in_flight: deque[_Sent] = deque()
        """Sent, and not played yet by the clock."""
        self._played_until = -math.inf
        """When all that was sent is played."""
        self._generation = self._newest = self._playing = 0
        """The first that may be played; the highest that came; the one that plays."""
        self._played_samples = 0
        """Of `_playing`."""
        self._rate = 24000
        self._paused = False
        self._announced = False
        """The reply that plays was reported as started, and not yet as ended."""
        self._since_position = 0
        self._overflowed = 0
        self._cut: tuple[int, float] | None = None
        """Up to this generation the client takes no more speech; from this time on the reply counts as ended."""

    @property
    def generation_limit(self) -> int:
        """The highest generation that a flush or a frame may have now."""
        return self._newest + MAX_AHEAD

    @property
    def played_until(self) -> float:
        """When the last frame that has left will have been played, by the clock."""
        return self._played_until

    @property
    def playing(self) -> int | None:
        """The generation that plays now by the clock, or is about to; None: nothing does."""
        if self._announced:
            return self._playing
        return self._in_flight[0].frame.generation if self._in_flight else None

    def offer(self, frame: AudioFrame) -> None:
        """Queue a frame. One of a flushed generation is dropped in silence; one too many is reported."""
        if frame.generation < self._generation or self._is_cut(frame):
            return
        if len(self._queue) + len(self._in_flight) >= MAX_QUEUED:
            self._overflowed += 1
            if self._overflowed % 50 == 1:
                self._notify(messages.PlayoutOverflow(dropped_frames=self._overflowed))
            return
        self._queue.append(frame)
        self._newest = max(self._newest, frame.generation)

    def poll(self, now: float, may_leave: Callable[[int, float], bool]) -> list[AudioFrame]:
        """Frames of one reply that leave for the client now; call again until there are none.

        `may_leave(generation, now)`: a reply of this generation has a place to go to.
        """
        self._advance(now)
        leaving: list[AudioFrame] = []
        if not self._paused and self._played_until - now <= AHEAD_SECONDS - BLOCK_SECONDS:
            while self._queue:
                at = max(now, self._played_until)
                if at + FRAME > now + AHEAD_SECONDS or not may_leave(self._queue[0].generation, now):
                    break
                frame = self._queue.popleft()
                leaving.append(frame)
                self._in_flight.append(_Sent(at, frame))
                self._played_until = at + FRAME
                if frame.flags & _ENDS or (self._queue and self._queue[0].generation != frame.generation):
                    break
            self.frames_sent += len(leaving)
            self._advance(now)
        if self._cut is not None and now >= self._cut[1]:
            self._cut = self._cut[0], math.inf
            if self._announced and self._playing <= self._cut[0]:
                self._position("ended")
        return leaving

    def next_at(self, now: float) -> float:
        """When `poll` has something to do; infinite: not before the next call of another method."""
        times = [math.inf if self._cut is None else self._cut[1]]
        if self._queue and not self._paused:
            times.append(max(now + FRAME, self._played_until - AHEAD_SECONDS + BLOCK_SECONDS))
        if self._in_flight:
            times.append(max(now + FRAME, self._in_flight[0].at))
        return min(times)

    def flush(self, generation: int, now: float) -> None:
        """Drop everything below `generation`: what has left, the client is to drop."""
        self._advance(now)
        dropped = sum(frame.generation < generation for frame in self._queue)
        dropped += sum(sent.frame.generation < generation for sent in self._in_flight)
        self._drop(lambda frame: frame.generation < generation, now)
        self._generation = max(self._generation, generation)
        self._newest = max(self._newest, generation)
        self._paused, self._cut = False, None
        if self._playing < generation:
            self._announced = False  # the next frame begins another reply
        self._notify(
            messages.Flushed(
                generation=self._playing,
                played_samples=self._played_samples,
                rate=self._rate,  # type: ignore[arg-type]
                dropped_ms=dropped * FRAME_MS,
            )
        )

    def sent_samples(self, generation: int) -> int:
        """Of this generation, played or not."""
        sent = sum(len(each.frame.pcm) // 2 for each in self._in_flight if each.frame.generation == generation)
        return sent + (self._played_samples if generation == self._playing else 0)

    def cut(self, now: float, played_ms: int | None = None, first_sample: int = 0) -> None:
        """The client has stopped playing, after `played_ms` of the reply where it says so, else by the clock.

        `first_sample`: of the reply in its generation. The client takes no more of it. The agent is expected to flush;
        if it does not, the reply has ended.
        """
        self._advance(now)
        generation = self.playing
        if generation is None:
            return
        if played_ms is not None:
            rate = self._rate if generation == self._playing else self._in_flight[0].frame.rate
            played = min(first_sample + played_ms * rate // 1000, self.sent_samples(generation))
            self._playing, self._rate, self._played_samples = generation, rate, played
        self._drop(lambda frame: frame.generation <= generation, now)
        self._cut = generation, now + CUT_SECONDS

    def pause(self, now: float) -> None:
        """Nothing more leaves. What has left is played: the client can't be told to hold it."""
        self._advance(now)
        self._paused = True
        if self._announced:
            self._position("paused")

    def resume(self) -> None:
        """What waits may leave again."""
        self._paused = False

    def change_agent(self, now: float) -> None:
        """Another agent speaks from now on, which counts its generations for itself."""
        self._advance(now)
        if self._queue or self._in_flight or self._announced:
            self.flush(max(self._newest, self._playing) + 1, now)
        self._generation = self._newest = self._playing = self._played_samples = 0
        self._paused = self._announced = False
        self._cut = None

    def _is_cut(self, frame: AudioFrame) -> bool:
        return self._cut is not None and frame.generation <= self._cut[0]

    def _drop(self, doomed: Callable[[AudioFrame], bool], now: float) -> None:
        self._queue = deque(frame for frame in self._queue if not doomed(frame))
        kept = [sent.frame for sent in self._in_flight if not doomed(sent.frame)]
        if len(kept) < len(self._in_flight):
            self._in_flight = deque(_Sent(now + FRAME * number, frame) for number, frame in enumerate(kept))
            self._played_until = now + FRAME * len(kept)

    def _advance(self, now: float) -> None:
        while self._in_flight and self._in_flight[0].at <= now:
            frame = self._in_flight.popleft().frame
            if frame.generation != self._playing:
                self._playing, self._played_samples, self._announced = frame.generation, 0, False
            elif frame.rate != self._rate:
                self._played_samples = self._played_samples * frame.rate // self._rate
            self._rate = frame.rate
            self._played_samples += len(frame.pcm) // 2
            self._since_position += 1
            if not self._announced:
                self._announced = True
                self._position("started")
            if frame.flags & _ENDS:
                self._position("ended")
            elif self._since_position >= POSITION_EVERY:
                self._position("playing")

    def _position(self, state: str) -> None:
        self._since_position = 0
        if state == "ended":
            self._announced = False
        self._notify(
            messages.Playout(
                generation=self._playing,
                played_samples=self._played_samples,
                rate=self._rate,  # type: ignore[arg-type]
                queued_ms=(len(self._queue) + len(self._in_flight)) * FRAME_MS,
                state=state,  # type: ignore[arg-type]
            )
        )
