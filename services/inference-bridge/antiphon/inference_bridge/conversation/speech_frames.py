"""The frames of one response: sent ahead of what is played, held, flushed, sent again, and which words were played."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, Samples
from antiphon.runtime.agent_sessions.played_text import PlayedText
from antiphon.runtime.agent_sessions.playout_tracker import TAKEOVER_NOTICE_SECONDS, PlayoutTracker
from antiphon.runtime.agent_sessions.session_bus import SessionBus
from antiphon.schemas import messages
from antiphon.schemas.audio import FRAME_MS, FrameFlag

log = logging.getLogger(__name__)

FRAME: Final = SPEECH_RATE * FRAME_MS // 1000
"""Samples of a frame."""
MAX_BACKLOG_MS: Final = 10_000
"""Speech sent ahead of what is played; the transceiver takes 30 s."""
_BATCH: Final = 25
"""Frames published before other calls get the event loop."""
_FLUSHED_WITHIN: Final = 0.3
"""Seconds until the transceiver's `Flushed`; after that the played position is estimated."""
_PLAYOUT_GRACE: Final = 3.0
"""Seconds past the computed end of playout that a missing report is awaited."""


class SpeechFrames:
    """Sends the speech of one response to the transceiver, and knows what of it was played.

    Owned by the response's `ResponsePlayback`, for as long as that; used on the event loop.
    """

    def __init__(self, bus: SessionBus, generation: int, new_generation: Callable[[], int], held: bool) -> None:
        """`generation`: of its frames on NATS. `new_generation`: makes the number for frames that are sent again.

        `held`: the transceiver holds the speech until `resume`.
        """
        self.generation = generation
        self.ledger = PlayedText(SPEECH_RATE)
        self.is_stopped = False
        self._bus, self._new_generation = bus, new_generation
        self._playout = PlayoutTracker(SPEECH_RATE, time.monotonic() if held else None)
        self._sending = asyncio.Lock()
        """Frames keep their order while some are sent again."""
        self._is_ended = False
        """The frame with the end flag is on its way."""
        self._played = asyncio.Event()

    def hold(self) -> None:
        """The transceiver plays nothing until `resume`."""
        self._playout.pause(time.monotonic())

    def resume(self) -> None:
        """The transceiver plays on."""
        self._playout.resume(time.monotonic())

    # ---- sending -----------------------------------------------------------------------------------------

    async def send(
        self,
        samples: Samples,
        words: str | Sequence[str] | None,
        pause: int = 0,
        on_frame: Callable[[], None] = lambda: None,
    ) -> None:
        """Samples that say `words`, behind `pause` samples of silence, as whole frames; `on_frame` behind each.

        Returns when all are sent, which is at most `MAX_BACKLOG_MS` before they are played.
        """
        padded = np.zeros(pause + -(-samples.size // FRAME) * FRAME, dtype="<i2")
        padded[pause : pause + samples.size] = samples
        first = self.ledger.samples
        self.ledger.add(padded.size - pause, words, pause)
        pcm = padded.tobytes()
        for number, at in enumerate(range(0, len(pcm), FRAME * 2)):
            if number % _BATCH == 0:
                await self._wait_for_room()
            await self._send(pcm[at : at + FRAME * 2], first + at // 2)
            on_frame()

    async def end(self) -> None:
        """Nothing follows: an empty frame carries the flag, because which clause is the last is known only now."""
        self._is_ended = True
        await self._send(bytes(FRAME * 2), self.ledger.samples, FrameFlag.END_OF_UTTERANCE)

    async def _send(self, pcm: bytes, first_sample: int, flags: int = 0) -> None:
        async with self._sending:
            self._playout.sending(pcm, int(flags))
            await self._bus.publish_frame(pcm, SPEECH_RATE, first_sample, self.generation, flags)
            self._playout.sent(time.monotonic())

    async def _wait_for_room(self) -> None:
        await asyncio.sleep(0)
        while (ahead := self._playout.queued_ms(time.monotonic()) - MAX_BACKLOG_MS) > 0:  # noqa: ASYNC110
            # Time empties the queue, no event says when. While speech is paused it is not emptied: look once a frame.
            await asyncio.sleep(max(ahead, FRAME_MS) / 1000)

    async def retransmit(self, stopped_at: float) -> None:
        """Send again what was not played: the transceiver was killed at `stopped_at`, and another one has the call.

        `stopped_at`: `time.monotonic()`.
        """
        paused = self._bus.paused
        async with self._sending:
            if self.is_stopped or self._played.is_set():
                return
            self.generation = self._new_generation()
            await self._bus.flush(self.generation)  # frames that the new one has got meanwhile
            frames = self._playout.send_again(stopped_at, time.monotonic())
            log.info("%s: %d ms of speech are sent again", self._bus.session_id, len(frames) * FRAME_MS)
            if paused:
                await self._bus.pause()
            at = self._playout.position(0, SPEECH_RATE)
            for number, (pcm, flags) in enumerate(frames):
                if number % _BATCH == 0:
                    await asyncio.sleep(0)
                if self.is_stopped:
                    return
                await self._bus.publish_frame(pcm, SPEECH_RATE, at + number * FRAME, self.generation, flags)
                self._playout.sent(time.monotonic())

    # ---- what was played -----------------------------------------------------------------------------------

    def reported(self, event: messages.Playout) -> str:
        """The transceiver reports how far it has played; returns the words played so far."""
        self._playout.reported(event, time.monotonic())
        if event.state == "ended" and self._is_ended:
            if self._playout.all_played:
                self._played.set()
            else:  # its transceiver was killed, and the rest will be sent again; or frames were lost on their way
                loop = asyncio.get_running_loop()
                loop.call_later(TAKEOVER_NOTICE_SECONDS, self._ended_short, self.generation)
        return self.ledger.up_to(self._playout.played)

    def _ended_short(self, generation: int) -> None:
        if self.generation == generation:
            self._played.set()

    async def until_played(self) -> None:
        """Return when all was played, or no report of it comes."""
        while not self._played.is_set():
            left = self._playout.queued_ms(time.monotonic()) / 1000 + _PLAYOUT_GRACE
            try:
                async with asyncio.timeout(left):
                    await self._played.wait()
            except TimeoutError:
                if self._playout.queued_ms(time.monotonic()) == 0:
                    log.warning("%s: no report that the speech was played", self._bus.session_id)
                    return

    async def stop(self) -> tuple[str, int]:
        """Silence the transceiver; returns the words played and their milliseconds."""
        self._is_ended = False  # what was written counts as spoken only behind a notice that was played to its end
        estimate = self._playout.estimate(time.monotonic())
        flushed = await self._bus.flush_and_wait(self.generation + 1, _FLUSHED_WITHIN)
        by_clock = max(estimate, self._playout.played)
        played = self._playout.flushed(flushed, self.generation) if flushed else by_clock
        return self.ledger.up_to(played), played * 1000 // SPEECH_RATE
