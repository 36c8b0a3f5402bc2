"""One response from the agent's first word to the last sample played: clauses, speech, frames, and what was played."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from antiphon.inference_bridge.agents import (
    FunctionCall,
    HandOver,
    HangUpAfterSpeech,
    Incomplete,
    ReplyPart,
    Retracted,
    ToolRun,
    Usage,
)
from antiphon.inference_bridge.models.clients import StreamedTts, SttClient, TtsClient
from antiphon.inference_bridge.models.remote.speech_service import SpeechServiceError
from antiphon.inference_bridge.models.threads import BusyError, Urgency
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime, RealtimeResponse
from antiphon.inference_bridge.tts.clause_words import ClauseWords
from antiphon.inference_bridge.tts.clauses import ClauseSplitter, is_decoration, pause_ms_after
from antiphon.inference_bridge.tts.phrase_cache import PhraseCache
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, Samples
from antiphon.runtime.agent_sessions.played_text import PlayedText
from antiphon.runtime.agent_sessions.playout_tracker import TAKEOVER_NOTICE_SECONDS, PlayoutTracker
from antiphon.runtime.agent_sessions.session_bus import SessionBus
from antiphon.schemas import messages
from antiphon.schemas.audio import FRAME_MS, FrameFlag

log = logging.getLogger(__name__)

NO_VOICE: Final = phrase("no_voice")
"""Played in place of an answer for which no speech could be made; in the language of the call."""
FRAME: Final = SPEECH_RATE * FRAME_MS // 1000
"""Samples of a frame."""
MAX_BACKLOG_MS: Final = 10_000
"""Speech sent ahead of what is played; the transceiver takes 30 s."""
_BATCH: Final = 25
"""Frames published before other calls get the event loop."""
_FLUSHED_WITHIN: Final = 0.3
"""Seconds until the transceiver's `Flushed`; after that the played position is estimated."""
_PAUSE_AFTER_ASIDE_MS: Final = 200
"""Silence behind a sign that an answer is late."""
_PLAYOUT_GRACE: Final = 3.0
"""Seconds past the computed end of playout that a missing report is awaited."""


@dataclass
class Speech:
    """The speech models of a process. Made by the bridge, shared by all its calls, used on the event loop."""

    stt: SttClient
    tts: TtsClient
    phrases: PhraseCache
    language: str = "en"
    """Of calls that ask for none."""
    voice: str = ""
    """Likewise."""


def spoken_fallbacks(language: str) -> tuple[str, ...]:
    """Sentences of the process's language that are made once at the start."""
    return phrase("no_voice", language), phrase("no_words", language), phrase("patience", language)


@dataclass
class ResponseTimes:
    """`time.time_ns()` of what a caller waits for; 0: not reached. The `ResponsePlayback` that owns it writes it."""

    first_text: int = 0
    first_words: int = 0
    """The first clause went to the voice."""
    first_clause: int = 0
    """Its samples were ready."""
    first_audio: int = 0
    """Its first frame was published."""


class PlaybackListener(Protocol):
    """Is told what happens to one answer, on the event loop."""

    def first_part(self) -> None:
        """The first word, or call, has come."""

    def first_audio(self) -> None:
        """The first frame of its words was published."""

    def spoke(self, words: str) -> None:
        """These words were sent to the caller."""

    def words_played(self) -> None:
        """The caller has received the first of its words."""

    def called(self, call_id: str, name: str) -> None:
        """The client was asked to call a function."""

    def generated(self) -> None:
        """All of it is on its way to the caller."""


class ResponsePlayback:
    """Synthesises one answer and plays it through the transceiver.

    Made by `ResponseTasks` for one response. The response's task calls `run`, which ends when the answer was played. To
    cut it short, `ResponseTasks` cancels that task and awaits `stop`. All methods are called on the event loop.
    """

    def __init__(
        self,
        bus: SessionBus,
        realtime: Realtime,
        speech: Speech,
        generation: int,
        response: RealtimeResponse,
        listener: PlaybackListener,
        new_generation: Callable[[], int],
        speed: float = 1.0,
        held: bool = False,
        language: str = "en",
        voice: str = "",
    ) -> None:
        """`generation`: of its frames on NATS. `new_generation`: makes the number for frames that are sent again.

        `held`: the transceiver holds the speech until `resume`. `voice`: empty for the process's own.
        """
        self.generation = generation
        self.response = response
        self.times = ResponseTimes()
        self.hang_up = False
        """The agent wants the call to end behind this answer."""
        self.failed = False
        """No speech could be made."""
        self.complete = False
        """All of it is on its way to the caller."""
        self.ledger = PlayedText(SPEECH_RATE)
        self._bus, self._realtime, self._speech, self._speed = bus, realtime, speech, speed
        self._listener, self._on_first_audio = listener, listener.first_audio
        self._words = ClauseWords()
        self._new_generation = new_generation
        self._language = language
        # what is usual has no name for the voice, and phrases that were made at the start are kept so
        self._chosen_language = "" if language == speech.language else language
        self._voice = "" if voice == speech.voice else voice
        self._playout = PlayoutTracker(SPEECH_RATE, time.monotonic() if held else None)
        self._sending = asyncio.Lock()
        """Frames keep their order while some are sent again."""
        self._stopped = False
        self._speechless = False
        self._written: list[str] = []
        """The answer as the agent wrote it, piece by piece."""
        self._speaking = asyncio.Lock()
        """One clause after the other."""
        self._words_played = False
        self._played = asyncio.Event()

    @property
    def text(self) -> str:
        """All words that were sent to the caller; of an answer that can't be spoken, those that were written."""
        return (self.ledger.whole if self.response.spoken else "") or self._unspoken()

    def hold(self) -> None:
        """The transceiver plays nothing until `resume`."""
        self._playout.pause(time.monotonic())

    def resume(self) -> None:
        """The transceiver plays on."""
        self._playout.resume(time.monotonic())

    async def run(self, parts: AsyncGenerator[ReplyPart, None]) -> None:
        """Speak the agent's parts clause by clause while more of them come; returns when all was played."""
        splitter = ClauseSplitter(self._language)
        before = ""
        async with aclosing(parts) as stream:
            async for part in stream:
                if not self.times.first_text and not isinstance(part, ToolRun):  # a caller hears nothing of a tool
                    self.times.first_text = time.time_ns()
                    self._listener.first_part()
                match part:
                    case str():
                        self._written.append(part)
                        if not self.response.spoken:
                            self.response.text(part)
                            continue
                        for clause in splitter.feed(part):
                            before = await self._say(clause, before)
                    case FunctionCall(call_id, name, arguments):
                        if self.response.spoken and "".join(self._written).strip():
                            self.response.begin_speech()  # the words before a call stand before it on record
                        self.response.function_call(call_id, name, arguments)
                        self._listener.called(call_id, name)
                    case Usage(taken, given):
                        self.response.used(taken or 0, given or 0)
                    case Incomplete(reason):
                        self.response.incomplete(reason)
                    case Retracted():  # what was spoken of it can't be taken back
                        self._written.clear()
                        splitter, before = ClauseSplitter(self._language), ""
                    case HandOver(state):
                        self._realtime.emit("antiphon.hand_over", state=state)
                    case HangUpAfterSpeech():
                        self.hang_up = True
        for clause in splitter.rest():
            before = await self._say(clause, before)
        written = "".join(self._written).strip()
        if self.response.spoken and written and not self.ledger.whole:
            await self.say_aside(phrase("no_words", self._language), in_place=True)
        self.complete = True
        self._listener.generated()
        said = self.ledger.whole or (written if self.ledger.samples or not self.response.spoken else "")
        self.failed = not (self.response.calls or said)
        if not self.ledger.samples:
            return
        # an empty frame carries the flag: which clause is the last is known only now
        await self._send(bytes(FRAME * 2), self.ledger.samples, FrameFlag.END_OF_UTTERANCE)
        while not self._played.is_set():
            left = self._playout.queued_ms(time.monotonic()) / 1000 + _PLAYOUT_GRACE
            try:
                async with asyncio.timeout(left):
                    await self._played.wait()
            except TimeoutError:
                if self._playout.queued_ms(time.monotonic()) == 0:
                    log.warning("%s: no report that the speech was played", self._bus.session_id)
                    return

    def playout(self, event: messages.Playout) -> None:
        """The transceiver reports how far it has played."""
        if event.generation != self.generation:
            return
        self.response.audio_started()
        self._playout.reported(event, time.monotonic())
        played = self.ledger.up_to(self._playout.played)
        self.response.played(played)
        if played and not self._words_played:
            self._words_played = True
            self._listener.words_played()
        if event.state != "ended" or not self.complete:
            return
        if self._playout.all_played:
            self._played.set()
        else:  # its transceiver was killed, and the rest will be sent again; or frames were lost on their way
            asyncio.get_running_loop().call_later(TAKEOVER_NOTICE_SECONDS, self._ended_short, self.generation)

    def _ended_short(self, generation: int) -> None:
        if self.generation == generation:
            self._played.set()

    async def retransmit(self, stopped_at: float) -> None:
        """Send again what was not played: the transceiver was killed at `stopped_at`, and another one has the call.

        `stopped_at`: `time.monotonic()`.
        """
        paused = self._bus.paused
        async with self._sending:
            if self._stopped or self._played.is_set() or not self.response.spoken:
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
                if self._stopped:
                    return
                await self._bus.publish_frame(pcm, SPEECH_RATE, at + number * FRAME, self.generation, flags)
                self._playout.sent(time.monotonic())

    async def stop(self) -> tuple[str, int]:
        """After `run` was cancelled: silence the transceiver; returns the words played and their milliseconds."""
        self._stopped = True
        if not self.response.spoken:
            return self.text, 0
        if not self.ledger.samples:
            return "", 0
        self.complete = False  # what was written counts as spoken only behind a notice that was played to its end
        estimate = self._playout.estimate(time.monotonic())
        flushed = await self._bus.flush_and_wait(self.generation + 1, _FLUSHED_WITHIN)
        by_clock = max(estimate, self._playout.played)
        played = self._playout.flushed(flushed, self.generation) if flushed else by_clock
        return self.ledger.up_to(played), played * 1000 // SPEECH_RATE

    async def say_aside(self, text: str, in_place: bool = False) -> None:
        """Speak a text that is not part of the answer, and not on record.

        Only before the answer's first word, whose place nothing may take; `in_place`: the answer has none.
        """
        async with self._speaking:
            if self._stopped or not self.response.spoken or (self.times.first_text and not in_place):
                return
            samples = await self._synthesize(text)
            if samples is None or not samples.size or self._stopped or (self.times.first_text and not in_place):
                return
            pause = SPEECH_RATE * _PAUSE_AFTER_ASIDE_MS // 1000
            padded = np.zeros(-(-(samples.size + pause) // FRAME) * FRAME, dtype="<i2")
            padded[: samples.size] = samples
            first = self.ledger.samples
            self.ledger.add(padded.size, None)
            if in_place:
                self.response.begin_speech()
            pcm = padded.tobytes()
            for number, at in enumerate(range(0, len(pcm), FRAME * 2)):
                if number % _BATCH == 0:
                    await self._wait_for_room()
                await self._send(pcm[at : at + FRAME * 2], first + at // 2)

    def _unspoken(self) -> str:
        """What was written, where none of it can be spoken, or none of it is to be."""
        return "".join(self._written).strip() if self.complete or not self.response.spoken else ""

    async def _say(self, clause: str, before: str) -> str:
        """Speak a clause behind the one `before`; returns what is before the next one."""
        if before and is_decoration(clause):
            return before
        async with self._speaking:
            await self._speak(clause, before)
        self._listener.spoke(clause)
        return clause

    async def _speak(self, clause: str, before: str) -> None:
        self.times.first_words = self.times.first_words or time.time_ns()
        pause = SPEECH_RATE * pause_ms_after(before) // 1000 if before and self.ledger.samples else 0
        pause -= pause % FRAME
        tts, samples = self._speech.tts, self._known(clause)
        if samples is None and isinstance(tts, StreamedTts):
            if await self._speak_streamed(tts, clause, pause):
                return
        elif samples is None:
            samples = await self._synthesize(clause)
        if samples is None and not self.ledger.samples and not self._speechless:
            self._speechless = True
            clause = phrase("no_voice", self._language)
            samples = self._speech.phrases.kept(clause)
            if samples is None:  # the voice may be gone that speaks the call's language
                clause = phrase("no_voice", self._speech.language)
                samples = self._speech.phrases.kept(clause)
        if samples is not None and samples.size:
            await self._play(samples, clause, pause)

    async def _speak_streamed(self, tts: StreamedTts, clause: str, pause: int) -> bool:
        """Play a clause while it comes; False if nothing of it came because the service failed."""
        urgency = Urgency.NOW if not self.ledger.samples else Urgency.SOON
        words, pieces = self._words, list[Samples]()
        rest = np.zeros(0, dtype=np.int16)
        whole = False
        words.begin(clause)
        stream = tts.stream(clause, self._speed, urgency, self._bus.session_id, self._voice, self._chosen_language)
        try:
            async with aclosing(stream):
                async for samples in stream:
                    pieces.append(samples)
                    rest = np.concatenate((rest, samples))
                    if ready := rest.size - rest.size % FRAME:
                        await self._play(rest[:ready], words.piece(ready), pause)
                        rest, pause = rest[ready:], 0
            whole = True
        except (BusyError, SpeechServiceError) as error:
            log.warning("%s: a clause is left out or cut off: %s", self._bus.session_id, error)
        except Exception:
            log.exception("%s: no speech for a clause of %d characters", self._bus.session_id, len(clause))
        if not pieces:
            return whole
        if not rest.size:
            rest = np.zeros(FRAME, dtype=np.int16)
        await self._play(rest, words.rest(rest.size, whole), pause)
        if whole:
            self._speech.phrases.put(clause, self._speed, np.concatenate(pieces), self._voice, self._chosen_language)
        return True

    async def _play(self, samples: Samples, words: str | list[str], pause: int) -> None:
        """Send samples that say `words` behind a pause, as whole frames."""
        if not self.times.first_clause:
            self.times.first_clause = time.time_ns()
        padded = np.zeros(pause + -(-samples.size // FRAME) * FRAME, dtype="<i2")
        padded[pause : pause + samples.size] = samples
        first = self.ledger.samples
        self.ledger.add(padded.size - pause, words, pause)
        self.response.begin_speech()
        pcm = padded.tobytes()
        for number, at in enumerate(range(0, len(pcm), FRAME * 2)):
            if number % _BATCH == 0:
                await self._wait_for_room()
            await self._send(pcm[at : at + FRAME * 2], first + at // 2)
            if not self.times.first_audio:
                self.times.first_audio = time.time_ns()
                self._on_first_audio()

    async def _send(self, pcm: bytes, first_sample: int, flags: int = 0) -> None:
        async with self._sending:
            self._playout.sending(pcm, int(flags))
            await self._bus.publish_frame(pcm, SPEECH_RATE, first_sample, self.generation, flags)
            self._playout.sent(time.monotonic())

    async def _synthesize(self, clause: str) -> Samples | None:
        """The clause as speech; None if it could not be made."""
        if (known := self._known(clause)) is not None:
            return known
        urgency = Urgency.NOW if not self.ledger.samples else Urgency.SOON
        job = self._speech.tts.synthesize(
            clause, self._speed, urgency, self._bus.session_id, self._voice, self._chosen_language
        )
        try:
            samples = await job
        except (BusyError, SpeechServiceError) as error:
            log.warning("%s: a clause is left out: %s", self._bus.session_id, error)
            return None
        except Exception:
            log.exception("%s: no speech for a clause of %d characters", self._bus.session_id, len(clause))
            return None
        finally:
            job.cancel()
        self._speech.phrases.put(clause, self._speed, samples, self._voice, self._chosen_language)
        return samples

    def _known(self, clause: str) -> Samples | None:
        return self._speech.phrases.get(clause, self._speed, self._voice, self._chosen_language)

    async def _wait_for_room(self) -> None:
        await asyncio.sleep(0)
        while (ahead := self._playout.queued_ms(time.monotonic()) - MAX_BACKLOG_MS) > 0:  # noqa: ASYNC110
            # Time empties the queue, no event says when. While speech is paused it is not emptied: look once a frame.
            await asyncio.sleep(max(ahead, FRAME_MS) / 1000)
