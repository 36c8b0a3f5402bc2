"""The client's audio: what it appends, of any size and speed, becomes frames of 20 ms for the agent. Sans-IO.

What the client sends behind its audio (a commit, a question) waits until the agent has that audio. A client that sends
faster than real time is read at up to `SPEED` times real time, so that a whole file at once neither floods the agent
nor takes as long as it plays. When the client pauses, silence is made up, as for a caller that sends none, so that an
agent finds the end of the turn.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, NamedTuple

from antiphon.runtime.resampling import Resampler
from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas.audio import FRAME_MS, AudioFrame, FrameFlag
from antiphon.signaling.websocket_calls.audio_format import AudioFormat

SPEED: Final = 4
"""Times real time at which audio that waits is passed on. A bridge keeps 5 s that it has not judged, and drops more: so
it may stand still for more than a second."""
AT_ONCE: Final = 25
"""Frames that pass without waiting: a client's chunk of half a second."""
SETTLE_SECONDS: Final = 0.1
"""Between the last frame and a commit: the agent has received the frame by then, whose way is another one."""
GRACE_SECONDS: Final = 0.3
"""Without audio until silence is made up; a chunk of audio covers the time that it lasts."""
LONGEST_CHUNK: Final = 2.0
"""Seconds of a longer append cover no time: it is a recording, and no part of a stream."""
FILL_SECONDS: Final = 10.0
"""Silence that is made up at most, as for a caller over WebRTC."""
FRAME: Final = FRAME_MS / 1000


class _Audio(NamedTuple):
    octets: memoryview
    format: AudioFormat


class _Message(NamedTuple):
    text: str
    settles: bool
    """It is about the audio before it: a commit, or the forgetting of what is no turn yet."""


class InputAudio:
    """The client's side of one call. Owner: the `WebSocketCall`, which calls it on the event loop only.

    `append` takes any amount: the one who reads the WebSocket looks at `waiting_bytes` and reads no more above a bound.
    """

    def __init__(self, rate: int) -> None:
        """`rate`: that at which the agent wants the audio, Hz."""
        self.waiting_bytes = 0
        """Of audio that was not passed on yet."""
        self._fills = True
        """Silence is made up in pauses: False where the client says when a turn ends."""
        self.frames = 0
        """Passed on so far, silence included."""
        self._rate = rate
        self._samples = 0
        self._queue: deque[_Audio | _Message] = deque()
        self._odd: tuple[AudioFormat, bytes] | None = None
        """Half a sample at the end of an append."""
        self._resampler: tuple[AudioFormat, Resampler] | None = None
        self._pcm = bytearray()
        """At `rate`, less than a frame."""
        self._bucket = TokenBucket(SPEED / FRAME, AT_ONCE)
        self._frame_at = -math.inf
        self._audio_at = -math.inf
        """When the last frame of the client's own was passed on."""
        self._covered_until = -math.inf
        """Until when the client's audio lasts by the clock."""
        self._chunk_seconds = 0.0

    def fill_pauses(self, fills: bool) -> None:
        """Whether silence is made up in pauses."""
        self._fills = fills

    def append(self, octets: bytes, format: AudioFormat) -> None:
        """Audio of the client; half a sample at its end waits for the other half."""
        if self._odd is not None and self._odd[0] is format:
            octets = self._odd[1] + octets
        self._odd = None
        whole = len(octets) - len(octets) % format.sample_bytes
        if whole < len(octets):
            self._odd = format, octets[whole:]
        if whole:
            self._queue.append(_Audio(memoryview(octets)[:whole], format))
            self.waiting_bytes += whole
            seconds = format.milliseconds(whole) / 1000
            self._chunk_seconds = seconds if seconds <= LONGEST_CHUNK else 0.0

    def put(self, text: str, settles: bool = False) -> None:
        """A message that goes behind the audio so far."""
        self._queue.append(_Message(text, settles))

    def clear(self) -> None:
        """Forget the audio that waits behind the last commit."""
        commits = [at for at, each in enumerate(self._queue) if isinstance(each, _Message) and each.settles]
        kept = commits[-1] + 1 if commits else 0
        self._queue = deque(each for at, each in enumerate(self._queue) if at < kept or not isinstance(each, _Audio))
        self.waiting_bytes = sum(len(each.octets) for each in self._queue if isinstance(each, _Audio))
        self._odd = None
        if not kept:
            self._pcm.clear()

    def change_rate(self, rate: int) -> None:
        """Another agent wants another rate: positions go on at it. Less than a frame is lost."""
        self._samples = self._samples * rate // self._rate
        self._rate = rate
        self._resampler = None
        self._pcm.clear()

    def poll(self, now: float, unix_ns: int) -> list[AudioFrame | str]:
        """Frames and messages that go to the agent now, in their order."""
        out: list[AudioFrame | str] = []
        while self._queue:
            head = self._queue[0]
            if isinstance(head, _Message):
                if head.settles and self._pcm:
                    self._pcm += bytes(self._frame_bytes - len(self._pcm))
                    self._cut(out, now, unix_ns)
                if head.settles and now < self._frame_at + SETTLE_SECONDS:
                    break
                self._queue.popleft()
                out.append(head.text)
            elif self._bucket.wait(1, now) > 0:
                break
            else:
                self._convert(head)
                self._cut(out, now, unix_ns)
        if not self._queue and self._fills:
            self._fill(out, now, unix_ns)
        return out

    def next_at(self, now: float) -> float:
        """When `poll` has something to do; infinite: not before the next call of another method."""
        if self._queue:
            head = self._queue[0]
            if isinstance(head, _Message):
                return self._frame_at + SETTLE_SECONDS if head.settles else now
            return now + self._bucket.wait(1, now)
        if self._fills and now < self._audio_at + FILL_SECONDS:
            return self._covered_until + GRACE_SECONDS
        return math.inf

    @property
    def _frame_bytes(self) -> int:
        return self._rate // 50 * 2

    def _convert(self, head: _Audio) -> None:
        """20 ms of the client's audio, or what is left of an append."""
        octets, format = head
        size = format.rate // 50 * format.sample_bytes
        piece, rest = bytes(octets[:size]), octets[size:]
        self._queue.popleft()
        if rest:
            self._queue.appendleft(_Audio(rest, format))
        self.waiting_bytes -= len(piece)
        pcm = format.decode(piece)
        if format.rate != self._rate:
            if self._resampler is None or self._resampler[0] is not format:
                self._resampler = format, Resampler(format.rate, self._rate)
            pcm = self._resampler[1].push(pcm)
        self._pcm += pcm

    def _cut(self, out: list[AudioFrame | str], now: float, unix_ns: int) -> None:
        while len(self._pcm) >= self._frame_bytes:
            self._bucket.spend(1)
            out.append(self._frame(bytes(self._pcm[: self._frame_bytes]), 0, unix_ns))
            del self._pcm[: self._frame_bytes]
            self._frame_at = self._audio_at = now
            covered = max(self._covered_until, now) + FRAME
            self._covered_until = min(covered, now + max(FRAME, self._chunk_seconds))

    def _fill(self, out: list[AudioFrame | str], now: float, unix_ns: int) -> None:
        if now >= self._audio_at + FILL_SECONDS:
            return
        self._covered_until = max(self._covered_until, now - 1.0 - GRACE_SECONDS)  # this process was stopped
        while self._covered_until + GRACE_SECONDS <= now:
            pcm = bytes(self._pcm) + bytes(self._frame_bytes - len(self._pcm))
            flags = 0 if self._pcm else FrameFlag.SILENCE
            self._pcm.clear()
            out.append(self._frame(pcm, flags, unix_ns))
            self._frame_at = now
            self._covered_until += FRAME

    def _frame(self, pcm: bytes, flags: int, unix_ns: int) -> AudioFrame:
        frame = AudioFrame(self.frames, self._samples, unix_ns, self._rate, int(flags), 0, pcm)
        self.frames += 1
        self._samples += len(pcm) // 2
        return frame
