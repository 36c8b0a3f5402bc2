"""Audio frames of a call to windows for voice activity, with positions and capture times. Pure.

Frames come every 20 ms and windows are 32 ms. If frames are missing, a short gap is filled with zeros so that positions
stay true; after a long one the cutter starts afresh. Bounded: it holds less than one window of samples, and the capture
times of the last frames.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from antiphon.inference_bridge.turns.window import RATE, WINDOW, Window
from antiphon.schemas.audio import AudioFrame, FrameFlag

MAX_FILL_MS: Final = 500
"""A longer gap is not filled."""
_REMEMBERED_FRAMES: Final = 400
"""8 s: further back than any end of a turn lies behind the newest frame."""


class Gap(NamedTuple):
    """A stretch is missing that is too long to fill; the audio continues at `first_sample`. A value."""

    first_sample: int


class WindowCutter:
    """Takes frames and returns windows.

    Owned by the call's `VadPipeline`, for as long as the call; used on the event loop.
    """

    def __init__(self) -> None:
        self._pcm = bytearray()
        self._voice = bytearray()
        """As long as `_pcm`."""
        self._flags: list[tuple[int, int]] = []
        self._next: int | None = None
        self._captured: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_FRAMES)

    def push(self, frame: AudioFrame, voice: bytes | None = None) -> list[Window | Gap]:
        """The windows that a frame completes; a late or doubled one is ignored. `ValueError` if it is not at 16 kHz.

        `voice`: as long as the frame's samples, what voice activity is to be judged by; None: these samples.
        """
        if frame.rate != RATE:
            raise ValueError(f"audio frame at {frame.rate} Hz: the claim asked for {RATE}")
        out: list[Window | Gap] = []
        if self._next is not None:
            missing = frame.first_sample - self._next
            if missing < 0:
                if missing > -RATE:
                    return []
                missing = RATE  # the sender's count started over
            if missing * 1000 > MAX_FILL_MS * RATE:
                self._pcm.clear()
                self._voice.clear()
                self._flags.clear()
                self._captured.clear()
                out.append(Gap(frame.first_sample))
            elif missing:
                self._append(bytes(missing * 2), bytes(missing * 2), int(FrameFlag.CONCEALED))
        self._next = frame.first_sample + len(frame.pcm) // 2
        self._captured.append((frame.first_sample, frame.captured_ns))
        self._append(frame.pcm, frame.pcm if voice is None else voice, frame.flags)
        while len(self._pcm) >= WINDOW * 2:
            out.append(self._cut())
        return out

    def captured_ns(self, sample: int) -> int | None:
        """When `sample` entered the stack (Unix, ns); None if that is more than 8 s ago."""
        for first_sample, captured in reversed(self._captured):
            if first_sample <= sample:
                return captured + (sample - first_sample) * 1_000_000_000 // RATE
        return None

    def _append(self, pcm: bytes, voice: bytes, flags: int) -> None:
        self._pcm += pcm
        self._voice += voice
        self._flags.append((len(pcm) // 2, flags))

    def _cut(self) -> Window:
        assert self._next is not None
        first = self._next - len(self._pcm) // 2
        pcm, voice = bytes(self._pcm[: WINDOW * 2]), bytes(self._voice[: WINDOW * 2])
        del self._pcm[: WINDOW * 2], self._voice[: WINDOW * 2]
        silent = concealed = 0
        left = WINDOW
        while left:
            samples, flags = self._flags[0]
            taken = min(samples, left)
            left -= taken
            silent += taken if flags & FrameFlag.SILENCE else 0
            concealed += taken if flags & FrameFlag.CONCEALED else 0
            if taken == samples:
                self._flags.pop(0)
            else:
                self._flags[0] = (samples - taken, flags)
        return Window(first, pcm, silent == WINDOW, concealed * 2 > WINDOW, None if voice == pcm else voice)
