"""A call's audio to turn events: frames into windows, voice activity off the loop, turns.

The queue between NATS and the model is bounded: when the machine is so late that five seconds of a
caller's frames wait, the oldest go, and the turn detector sees a gap.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from antiphon.inference_bridge.input.vad_framing import Gap, WindowCutter
from antiphon.inference_bridge.models.voice_activity import VoiceActivityStream
from antiphon.inference_bridge.turns.detector import TurnDetector, TurnEvent
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import Window
from antiphon.schemas.audio import AudioFrame

MAX_FRAMES: Final = 250
_TICK: Final = 0.1


class VadPipeline:
    """One caller's."""

    def __init__(
        self,
        stream: VoiceActivityStream,
        executor: ThreadPoolExecutor,
        settings: TurnSettings | None,
        on_event: Callable[[TurnEvent], None],
        on_tick: Callable[[float], None],
    ) -> None:
        """`executor`: has one thread, shared by all calls: a hop costs more than the 0.2 ms of a window.

        `on_tick`: called with `time.monotonic()` at least each 0.1 s.
        """
        self.turns = TurnDetector(settings)
        self.position = 0
        """Samples of the call that were looked at."""
        self._stream, self._executor, self._on_event, self._on_tick = stream, executor, on_event, on_tick
        self._cutter = WindowCutter()
        self._frames: deque[AudioFrame] = deque(maxlen=MAX_FRAMES)
        self._arrived = asyncio.Event()
        self._was_silent = False

    @property
    def heard_until(self) -> int:
        """Position up to which everything was made into turns."""
        return self.turns.first_sample if self.turns.first_sample is not None else self.position

    def push(self, frame: AudioFrame) -> None:
        self._frames.append(frame)
        self._arrived.set()

    def change(self, settings: TurnSettings | None) -> None:
        """Other settings, at once."""
        self.report(self.turns.change(settings))

    def captured_ns(self, sample: int) -> int | None:
        """When the sample at this position entered the stack (Unix, ns)."""
        return self._cutter.captured_ns(sample)

    async def listen(self) -> None:
        """Runs for as long as the call."""
        loop = asyncio.get_running_loop()
        ticked = 0.0
        while True:
            try:
                async with asyncio.timeout(_TICK):
                    await self._arrived.wait()
            except TimeoutError:
                self.report(self.turns.tick(time.monotonic()))
            if time.monotonic() - ticked > _TICK:
                ticked = time.monotonic()
                self._on_tick(ticked)
            self._arrived.clear()
            cut: list[Window | Gap] = []
            while self._frames:
                cut += self._cutter.push(self._frames.popleft())
            if not cut:
                continue
            # all that waits in one hop: the later we are, the cheaper a window gets
            likely = await loop.run_in_executor(self._executor, self._probabilities, cut)
            for piece, probability in zip(cut, likely, strict=True):
                if isinstance(piece, Gap):
                    self.report(self.turns.gap())
                else:
                    self.position = piece.first_sample + len(piece.pcm) // 2
                    self.report(self.turns.window(piece, probability, time.monotonic()))

    def report(self, events: list[TurnEvent]) -> None:
        for event in events:
            self._on_event(event)

    def _probabilities(self, cut: list[Window | Gap]) -> list[float]:
        out = []
        for piece in cut:
            if isinstance(piece, Gap) or piece.silent:
                if not self._was_silent:
                    self._stream.reset()
                self._was_silent = True
                out.append(0.0)
            else:
                self._was_silent = False
                out.append(self._stream.probability(piece.pcm))
        return out
