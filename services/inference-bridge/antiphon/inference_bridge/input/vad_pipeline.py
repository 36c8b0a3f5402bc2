"""A call's audio to turn events: frames into windows, voice activity off the event loop, turns.

The queue between NATS and the model is bounded: when the machine is so late that five seconds of a caller's frames
wait, the oldest are dropped, and the turn detector sees a gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from antiphon.inference_bridge.input.vad_framing import Gap, WindowCutter
from antiphon.inference_bridge.models.voice_activity import VoiceActivityStream
from antiphon.inference_bridge.turns.detector import TurnDetector, TurnEvent, Utterance
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import Window
from antiphon.runtime.echo.canceller import EchoCanceller
from antiphon.schemas.audio import FRAME_MS, AudioFrame

MAX_FRAMES: Final = 250
"""Frames that may wait: 5 s."""
_TICK: Final = 0.1
FRAME_NS: Final = FRAME_MS * 1_000_000
WORDS_OF_ECHO: Final = 1
WORDS_PAST_CANCELLER: Final = 3
"""Words of the agent's in a row that show an echo: where one is only likely, and where the canceller works on it. There
a single word of the agent's is more likely the caller's, who repeats it."""


class TurnListener(Protocol):
    """Gets what a `VadPipeline` finds, on the event loop."""

    def on_turn_event(self, event: TurnEvent) -> None:
        """A turn began, may have ended, has ended, ..."""

    def on_tick(self, now: float) -> None:
        """`now`: `time.monotonic()`; at least each 0.1 s."""


class VadPipeline:
    """Finds the turns in one caller's audio.

    Owned by the call's session, for as long as the call. Its methods are called on the event loop, where one task runs
    `listen`; the model itself runs on the thread of `executor`.
    """

    def __init__(
        self,
        stream: VoiceActivityStream,
        executor: ThreadPoolExecutor,
        settings: TurnSettings | None,
        has_room: Callable[[], bool] = lambda: False,
        echo: EchoCanceller | None = None,
    ) -> None:
        """`executor`: has one thread, shared by all calls: a hop costs more than the 0.2 ms of a window.

        `settings`: None where the client says when a turn has ended. `has_room`: a transcription could begin at
        once, so that it may be tried after less silence. `echo`: takes the agent's own voice out first.
        """
        self.turns = TurnDetector(settings)
        self.position = 0
        """Samples of the call that were judged."""
        self._stream, self._executor, self._has_room, self._echo = stream, executor, has_room, echo
        self._cutter = WindowCutter()
        self._frames: deque[AudioFrame] = deque(maxlen=MAX_FRAMES)
        self._arrived = asyncio.Event()
        self._pushed = self._judged = 0
        """Frames so far; one that was dropped counts as judged."""
        self._progress = asyncio.Event()
        self._was_silent = False
        self._likely_until = -1
        """Position at which an echo was likely last."""
        self._judged_ns = 0
        """Unix time at which the newest window was judged."""

    @property
    def consumed_until(self) -> int:
        """Position up to which all audio has become turns, or was no speech."""
        return self.turns.first_sample if self.turns.first_sample is not None else self.position

    def push(self, frame: AudioFrame) -> None:
        """The next frame at 16 kHz; when `MAX_FRAMES` wait, the oldest is dropped."""
        self._judged += len(self._frames) == MAX_FRAMES
        self._pushed += 1
        self._frames.append(frame)
        self._arrived.set()

    async def caught_up(self, within: float) -> None:
        """Return when every frame that was pushed before has been judged, or after `within` seconds.

        A commit is about the audio before it, which a client may have sent faster than it is judged.
        """
        until = self._pushed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._judged < until:
                    self._progress.clear()
                    await self._progress.wait()

    def words_of_echo(self, utterance: Utterance) -> int | None:
        """So many words of the agent's in a row are its echo in this speech; None: no echo was near."""
        if self._echo is None:
            return None
        if self._echo.found is not None:
            return WORDS_PAST_CANCELLER
        return WORDS_OF_ECHO if self._likely_until > utterance.first_sample else None

    def captured_ns(self, sample: int) -> int | None:
        """When the sample at this position entered the stack (Unix, ns); None if that is more than 8 s ago."""
        return self._cutter.captured_ns(sample)

    @property
    def lag_ns(self) -> int:
        """From the arrival of the newest sample that was judged until it was; 0 where that is not known."""
        captured = self.captured_ns(self.position)
        # a frame is stamped when it has come, so that its last sample is younger by its length than `captured_ns` says
        return max(0, self._judged_ns - captured + FRAME_NS) if captured is not None and self._judged_ns else 0

    async def listen(self, listener: TurnListener) -> None:
        """Report turn events to `listener` until cancelled."""
        loop = asyncio.get_running_loop()
        ticked = 0.0
        while True:
            try:
                async with asyncio.timeout(_TICK):
                    await self._arrived.wait()
            except TimeoutError:
                _report(self.turns.tick(time.monotonic()), listener)
            if time.monotonic() - ticked > _TICK:
                ticked = time.monotonic()
                listener.on_tick(ticked)
            self._arrived.clear()
            cut: list[Window | Gap] = []
            frames = list(self._frames)
            self._frames.clear()
            if self._echo is None or all(map(self._echo.is_idle, frames)):
                for frame in frames:
                    if self._echo is not None:
                        self._echo.note(frame)
                    cut += self._cutter.push(frame)
                if not cut:
                    self._are_judged(frames)
                    continue
                # all that waits in one hop: the later we are, the cheaper a window gets
                likely = await loop.run_in_executor(self._executor, self._probabilities, cut)
            else:
                known = self._echo.found is not None
                cut, likely = await loop.run_in_executor(self._executor, self._cleaned, self._echo, frames)
                if self._echo.found is not None and not known and not self.turns.manual:  # it was the agent's own
                    _report(self.turns.clear(), listener)
                if self._echo.is_likely and frames:
                    self._likely_until = frames[-1].first_sample
            self._judged_ns = time.time_ns()
            for piece, probability in zip(cut, likely, strict=True):
                if isinstance(piece, Gap):
                    _report(self.turns.gap(), listener)
                else:
                    self.position = piece.first_sample + len(piece.pcm) // 2
                    now = time.monotonic()
                    _report(self.turns.window(piece, probability, now, self._has_room()), listener)
            self._are_judged(frames)

    def _are_judged(self, frames: list[AudioFrame]) -> None:
        self._judged += len(frames)
        self._progress.set()

    def _cleaned(self, echo: EchoCanceller, frames: list[AudioFrame]) -> tuple[list[Window | Gap], list[float]]:
        """The windows of these frames without the agent's echo, and the probabilities of speech in them."""
        cut: list[Window | Gap] = []
        for frame in frames:
            cleaned = echo.clean(frame)
            cut += self._cutter.push(frame._replace(pcm=cleaned.pcm), cleaned.voice)
        return cut, self._probabilities(cut)

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
                out.append(self._stream.probability(piece.voice or piece.pcm))
        return out


def _report(events: list[TurnEvent], listener: TurnListener) -> None:
    for event in events:
        listener.on_turn_event(event)
