"""One speech: written by the author at any pace, played to the caller in real time, interrupted at any sample.

`async with session.speak() as speech` is a cancel scope, as `asyncio.timeout` is: an interruption cancels the block
wherever it waits, and the end of the block absorbs the cancellation. `speech.heard` says what became of it.
A block that is left by an exception, or cancelled from outside, is silenced too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final

from antiphon.agent.captions import SpeechCaption, as_words
from antiphon.agent.pcm import SpeechInput
from antiphon.agent.playback import Framer, Played
from antiphon.runtime.agent_sessions.played_text import PlayedText, Word
from antiphon.runtime.agent_sessions.playout_tracker import TAKEOVER_NOTICE_SECONDS, PlayoutTracker
from antiphon.runtime.agent_sessions.session_bus import SessionBus
from antiphon.schemas.audio import FRAME_MS, FrameFlag
from antiphon.schemas.messages import Flushed, Playout

_BATCH: Final = 10
"""Frames sent before the backlog is checked and other tasks get the event loop."""
_GRACE: Final = 3.0
"""Seconds behind the end by the clock after which a speech counts as played without a report."""


class Speech:
    """Something to say, made by `session.speak()`.

    It lasts as long as its `async with` block. Only the task of the block writes; the session calls the rest, from the
    same event loop.
    """

    def __init__(
        self,
        rate: int,
        ahead: float,
        bus: SessionBus,
        begin: Callable[[Speech], Awaitable[int]],
        abandon: Callable[[Speech], None],
        left: Callable[[], None],
        caption: SpeechCaption | None = None,
        first_frame: Callable[[Speech], None] = lambda speech: None,
    ) -> None:
        """`caption`: makes the events that show its words to the client; None: nothing is shown.

        `first_frame`: called as its first frame leaves.
        """
        self._input = SpeechInput(rate)
        rate = self.rate = self._input.frame_rate
        """Hz of the frames that it is sent in, and of `heard`: what is written at 11025 goes out at 16000, at 22050 at
        24000, and at 44100 at 48000."""
        self.interrupted = False
        """It was flushed, or the session ended, before all of it was played."""
        self.generation = -1
        self._final: Played | None = None
        self._text = PlayedText(rate, share=0.5)
        self._framer = Framer(rate)
        self._playout = PlayoutTracker(rate)
        self._sending = asyncio.Lock()
        """Frames keep their order while some are sent again."""
        self._ahead_ms, self._bus, self._begin = ahead * 1000, bus, begin
        self._abandon, self._left, self._caption = abandon, left, caption
        self._first_frame = first_frame
        self._first_sample = 0
        """Of the next frame."""
        self._ended = False
        """Its last frame was sent."""
        self._over = asyncio.Event()
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._cancelled_here = False
        self._left_block = False

    # ---- the author's side

    @property
    def heard(self) -> Played:
        """What was played to the caller so far; final when the block has been left."""
        return self._final or self._outcome(self._playout.played, complete=False)

    @property
    def text(self) -> str:
        """All words that were written."""
        return self._text.whole

    async def write(
        self, pcm: bytes | bytearray | memoryview, words: str | Sequence[str] | Sequence[Word] | None = None
    ) -> None:
        """Speak s16le mono at the rate of `speak`, any number of samples; waits while enough is queued.

        TypeError for what is no bytes, such as an array of floats.

        `words` is the text of just this audio, with times or without; it is what `heard.text` is made of.
        """
        if self.interrupted:  # the session ended before the block began
            await self.leave_from_inside()
        samples = self._input.take(pcm)
        frames = self._framer.push(samples)
        self._text.add(len(samples) // 2, words)
        if self._caption is not None and words:
            await self._show(self._caption.written(as_words(words)))
        for number, frame in enumerate(frames):
            if number % _BATCH == 0:
                await self._wait_for_room()
            await self._put(frame, 0)

    async def __aenter__(self) -> Speech:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self.generation = await self._begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool | None:
        try:
            if kind is None:
                try:
                    await self._finish()
                except asyncio.CancelledError:
                    if not self._absorbs_cancellation():
                        raise
            elif kind is not asyncio.CancelledError or not self._absorbs_cancellation():
                if self._playout.samples and not self._over.is_set():
                    self._abandon(self)
                return False
            if self.interrupted:
                await self.known()
            return True
        finally:
            self._left_block = True
            self._end(self._outcome(self._playout.played, complete=False))
            self._left()
            if self._caption is not None:
                await self._show(self._caption.ended(self.heard))

    async def _show(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            await self._bus.publish_data(json.dumps(event))

    def _absorbs_cancellation(self) -> bool:
        """Whether the cancellation was ours, and no other task has cancelled the block as well."""
        if not self._cancelled_here or self._task is None:
            return False
        self._cancelled_here = False
        return self._task.uncancel() <= self._cancelling

    async def _finish(self) -> None:
        last = self._framer.end()
        if self._over.is_set():
            return
        if last is None:
            if self._playout.samples == 0:
                self._end(self._outcome(0, complete=True))
                return
            last = bytes(self._framer.size)
        await self._wait_for_room()
        await self._put(last, FrameFlag.END_OF_UTTERANCE)
        self._ended = True
        while not self._over.is_set():
            left = self._playout.queued_ms(time.monotonic()) / 1000
            try:
                async with asyncio.timeout(left + _GRACE):
                    await self._over.wait()
            except TimeoutError:
                if self._playout.queued_ms(time.monotonic()) == 0:
                    self._end(self._outcome(self._text.samples, complete=True, confirmed=False))

    async def _put(self, pcm: bytes, flags: int) -> None:
        async with self._sending:
            self._playout.sending(pcm, int(flags))
            await self._send_one(pcm, int(flags))

    async def send_again(self, stopped_at: float, generation: int) -> None:
        """Send what was not played when its transceiver was killed to the next one, in a generation of its own."""
        async with self._sending:
            if self.interrupted or self._over.is_set():
                return
            self.generation = generation
            frames = self._playout.send_again(stopped_at, time.monotonic())
            self._first_sample = self._playout.position(0, self.rate)
            for number, (pcm, flags) in enumerate(frames):
                if number % _BATCH == 0:
                    await asyncio.sleep(0)
                if self.interrupted:
                    return
                await self._send_one(pcm, flags)

    async def _send_one(self, pcm: bytes, flags: int) -> None:
        first_sample = self._first_sample
        self._first_sample += self._framer.size // 2
        if first_sample == 0:
            self._first_frame(self)
        await self._bus.publish_frame(pcm, self.rate, first_sample, self.generation, flags)
        self._playout.sent(time.monotonic())

    async def _wait_for_room(self) -> None:
        await asyncio.sleep(0)
        while (excess := self._playout.queued_ms(time.monotonic()) - self._ahead_ms) > 0:  # noqa: ASYNC110
            # time itself empties the queue, and a report says when it stands still
            await asyncio.sleep(min(max(excess, FRAME_MS) / 1000, 0.2))

    # ---- the session's side

    @property
    def over(self) -> bool:
        """It was played to its end, or interrupted: `heard` is final."""
        return self._over.is_set()

    def playout(self, event: Playout, now: float) -> None:
        """A report about this speech."""
        self._playout.reported(event, now)
        if event.state != "ended" or not self._ended:
            return
        if self._playout.all_played:
            self._end(self._outcome(self._text.samples, complete=True))
        else:  # either its transceiver was killed and the rest is sent again, or frames were lost
            asyncio.get_running_loop().call_later(TAKEOVER_NOTICE_SECONDS, self._ended_short, self.generation)

    def _ended_short(self, generation: int) -> None:
        if self.generation == generation:
            self._end(self._outcome(self._playout.played, complete=False))

    def pause(self, now: float) -> None:
        """The transceiver was asked to hold it."""
        self._playout.pause(now)

    def resume(self, now: float) -> None:
        """The transceiver was asked to play on."""
        self._playout.resume(now)

    def estimate(self, now: float) -> int:
        """Samples that must have been played by the clock."""
        return self._playout.estimate(now)

    def interrupt(self) -> None:
        """End the block, wherever it waits. `flushed` or `cut` then says how much was played."""
        if self.interrupted or self._over.is_set():
            return
        self.interrupted = True
        if self._task is not asyncio.current_task():
            self._leave()

    async def leave_from_inside(self) -> None:
        """End the block of an interrupted speech if it is the caller's own."""
        if self._task is asyncio.current_task() and not self._left_block:
            self._leave()
            await asyncio.sleep(0)

    def _leave(self) -> None:
        if self._task is not None and not self._cancelled_here and not self._left_block:
            self._cancelled_here = True
            self._task.cancel()

    async def known(self) -> Played:
        """What was played of an interrupted speech, as soon as that is known."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await self._over.wait()
        return self.heard

    def flushed(self, event: Flushed) -> None:
        """The transceiver has interrupted it, and reports where."""
        self.cut(self._playout.flushed(event, self.generation))

    def cut(self, samples: int, confirmed: bool = True) -> None:
        """It was interrupted and played up to this sample. `confirmed`: the transceiver reported it."""
        samples = min(samples, self._text.samples)
        self._end(self._outcome(samples, complete=False, confirmed=confirmed))

    def close(self) -> None:
        """The session has ended: leave the block."""
        self.interrupt()
        self._end(self._outcome(min(self._playout.played, self._text.samples), complete=False))

    def _outcome(self, samples: int, complete: bool, confirmed: bool = True) -> Played:
        text = self._text.whole if complete else self._text.up_to(samples)
        return Played(samples, self.rate, text, complete, confirmed)

    def _end(self, outcome: Played) -> None:
        if self._final is None:
            self._final = outcome
        self._over.set()
