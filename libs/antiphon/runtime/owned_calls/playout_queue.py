"""The playout queue of a session: the next frame of speech, and up to which sample speech was played. Sans-IO.

An agent publishes faster than real time; every 20 ms one frame leaves. Generations fence off interrupted speech: after
a flush no frame of an older generation is played, however late it arrives.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import Final, NamedTuple

from antiphon.schemas.audio import FRAME_MS, AudioFrame, FrameFlag

_ENDS: Final = FrameFlag.END_OF_UTTERANCE.value  # a plain number: `&` of an enum costs 1 us
MAX_QUEUED: Final = 30_000 // FRAME_MS
"""Frames. More are dropped as they come, and the agent gets a `PlayoutOverflow` event."""
MAX_AHEAD: Final = 1 << 33
"""How far a generation may be above all before it: two takeovers of the agent, each of which goes 2^32 ahead. A number
without a bound would silence all speech of the session for good, and could not be written down."""


class OutgoingFrame(NamedTuple):
    """One frame that leaves now."""

    pcm: bytes
    rate: int
    starts: bool
    """The first after a pause: the packet gets the marker bit."""
    ends: bool
    """The reply ends with it."""
    queued_at: float = 0.0
    """When it was offered, by the clock of the caller of `offer`."""


class Interrupted(NamedTuple):
    """What a flush cut off."""

    generation: int
    played_samples: int
    """Of that generation, the fade included."""
    rate: int
    dropped_ms: int


class PlayoutQueue:
    """The speech of one session. Owner: its `AudioSender`, which alone calls it, on the event loop."""

    def __init__(self, generation: int = 0) -> None:
        self.generation = generation
        """The first generation that may be played."""
        self.newest_generation = generation
        """The highest one that was flushed to, or spoken in."""
        self.playing_generation = generation
        self.played_samples = 0
        """Of `playing_generation`."""
        self.rate = 24000
        self.paused = False
        """By the agent."""
        self.held = False
        """By the client, which wants no audio now."""
        self.speaking = False
        """A reply has begun and its end was not sent yet."""
        self._queue: deque[AudioFrame] = deque()
        self._queued_at: deque[float] = deque()
        """Of each frame in the queue."""
        self._fade: OutgoingFrame | None = None
        """The last frame of an interrupted reply, faded out; its samples were counted at the flush."""
        self._silent = True

    @property
    def frames(self) -> tuple[AudioFrame, ...]:
        """The frames that wait to be played."""
        return tuple(self._queue)

    def restore(self, generation: int, played_samples: int, rate: int, frames: list[AudioFrame]) -> None:
        """Continue a reply that another process began."""
        self.playing_generation, self.played_samples, self.rate = generation, played_samples, rate
        self._queue.extend(frames)
        self._queued_at.extend([0.0] * len(frames))
        self.newest_generation = max(self.newest_generation, generation, *(frame.generation for frame in frames))
        self.speaking = bool(frames)

    @property
    def queued_ms(self) -> int:
        return len(self._queue) * FRAME_MS

    @property
    def waiting(self) -> bool:
        """There is something to send at the next tick."""
        return not self.held and (self._fade is not None or (bool(self._queue) and not self.paused))

    @property
    def stands(self) -> bool:
        """What is queued waits for the agent or the client to go on."""
        return self.paused or self.held

    def hold(self, held: bool) -> None:
        """The client wants no audio, or wants it again. A fade that has not left is of no use after a hold."""
        if held and not self.held:
            self._fade, self._silent = None, True
        self.held = held

    @property
    def fading(self) -> bool:
        """The end of an interrupted reply is still to be sent."""
        return self._fade is not None

    def offer(self, frame: AudioFrame, now: float = 0.0) -> bool:
        """Queue a frame; False if the queue is full. A frame of a flushed generation is dropped in silence."""
        if frame.generation < self.generation:
            return True
        if len(self._queue) >= MAX_QUEUED:
            return False
        self._queue.append(frame)
        self._queued_at.append(now)
        if frame.generation > self.newest_generation:
            self.newest_generation = frame.generation
        return True

    def take(self) -> OutgoingFrame | None:
        """The frame to send at this tick; None: send nothing."""
        if self._fade is not None and not self.held:
            fade, self._fade = self._fade, None
            return fade
        if self.held or self.paused or not self._queue:
            self._silent = True
            return None
        frame, queued_at = self._queue.popleft(), self._queued_at.popleft()
        if frame.generation != self.playing_generation:
            self.playing_generation = frame.generation
            self.played_samples = 0
        elif frame.rate != self.rate:
            self.played_samples = self.played_samples * frame.rate // self.rate
        self.rate = frame.rate
        self.played_samples += len(frame.pcm) // 2
        starts, self._silent = self._silent, False
        ends = frame.flags & _ENDS != 0
        self.speaking = not ends
        return OutgoingFrame(frame.pcm, frame.rate, starts, ends, queued_at)

    def flush(self, generation: int) -> Interrupted:
        """Drop everything below `generation` but one last frame that fades out."""
        doomed = [frame for frame in self._queue if frame.generation < generation]
        if doomed:
            kept = [each for each in zip(self._queue, self._queued_at, strict=True) if each[0].generation >= generation]
            self._queue, self._queued_at = deque(frame for frame, _ in kept), deque(at for _, at in kept)
        self.generation = max(self.generation, generation)
        self.newest_generation = max(self.newest_generation, generation)
        self.paused = self.speaking = False
        # Only speech that is being played fades: not what follows a finished reply or a fade that has not left yet.
        was_playing = doomed and doomed[0].generation == self.playing_generation and not self._silent
        if was_playing and self._fade is None:
            last = doomed.pop(0)
            self._fade = OutgoingFrame(fade_out(last.pcm), last.rate, starts=False, ends=True)
            self.played_samples += len(last.pcm) // 2
        return Interrupted(self.playing_generation, self.played_samples, self.rate, len(doomed) * FRAME_MS)

    def begin_anew(self) -> None:
        """After a flush of everything: another agent speaks, which counts its generations for itself."""
        self.generation = self.newest_generation = self.playing_generation = self.played_samples = 0


def fade_out(pcm: bytes) -> bytes:
    """The samples (s16le) faded linearly from full level to zero: no click, and silence at the end of the frame."""
    samples = array("h", pcm)
    count = len(samples)
    return array("h", (value * (count - 1 - index) // count for index, value in enumerate(samples))).tobytes()
