"""One response from the agent's first part to the last sample played: clauses, own speech, pauses, what follows it."""

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
    ExpectAnswer,
    FunctionCall,
    HandOver,
    HangUpAfterSpeech,
    Incomplete,
    McpApproval,
    OwnSpeech,
    ReplyPart,
    Retracted,
    SpokenPause,
    ToolRun,
    TransferAfterSpeech,
    Usage,
)
from antiphon.inference_bridge.conversation.clause_voice import ClauseVoice, Speech
from antiphon.inference_bridge.conversation.own_speech import OwnSpeechStream
from antiphon.inference_bridge.conversation.speech_frames import FRAME, SpeechFrames
from antiphon.inference_bridge.models.clients import StreamedTts
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.mcp_calls import ask_approval
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime, RealtimeResponse
from antiphon.inference_bridge.tts.clause_words import ClauseWords
from antiphon.inference_bridge.tts.clauses import ClauseSplitter, is_decoration, pause_ms_after
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, Samples
from antiphon.runtime.agent_sessions.played_text import PlayedText
from antiphon.runtime.agent_sessions.session_bus import SessionBus
from antiphon.schemas import messages
from antiphon.schemas.messages.replies import Expected

__all__ = ["NO_VOICE", "PlaybackListener", "ResponsePlayback", "ResponseTimes", "Speech", "spoken_fallbacks"]

log = logging.getLogger(__name__)

NO_VOICE: Final = phrase("no_voice")
"""Played in place of an answer for which no speech could be made; in the language of the call."""
_PAUSE_AFTER_ASIDE_MS: Final = 200
"""Silence behind a sign that an answer is late."""
_MS: Final = SPEECH_RATE // 1000
"""Samples of a millisecond."""


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

    def tool(self, run: ToolRun) -> None:
        """The agent has begun or ended a tool of its own."""

    def expects(self, kind: Expected) -> None:
        """What the caller will say next."""

    def wants_person(self, summary: str) -> None:
        """A person should take the call over."""

    def generated(self) -> None:
        """All of it is on its way to the caller."""


class ResponsePlayback:
    """Speaks one answer and plays it through the transceiver.

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
        self.response = response
        self.times = ResponseTimes()
        self.hang_up = False
        """The agent wants the call to end behind this answer."""
        self.transfer: TransferAfterSpeech | None = None
        """The agent wants another one to have the call behind this answer."""
        self.failed = False
        """No speech could be made."""
        self.complete = False
        """All of it is on its way to the caller."""
        self._session_id, self._realtime, self._language = bus.session_id, realtime, language
        self._listener, self._on_first_audio = listener, listener.first_audio
        self._frames = SpeechFrames(bus, generation, new_generation, held)
        self._voice = ClauseVoice(speech, bus.session_id, speed, language, voice)
        self._words = ClauseWords()
        self._own = OwnSpeechStream()
        self._splitter = ClauseSplitter(language)
        self._before = ""
        """The clause that was spoken last."""
        self._speechless = False
        self._did_something = False
        """There was more than words that could not be spoken."""
        self._written: list[str] = []
        """The answer as the agent wrote it, piece by piece."""
        self._speaking = asyncio.Lock()
        """One clause after the other."""
        self._words_played = False

    @property
    def generation(self) -> int:
        """Of its frames on NATS; another one when they were sent again."""
        return self._frames.generation

    @property
    def ledger(self) -> PlayedText:
        """Which words were played at which sample."""
        return self._frames.ledger

    @property
    def text(self) -> str:
        """All words that were sent to the caller; of an answer that can't be spoken, those that were written."""
        return (self.ledger.whole if self.response.spoken else "") or self._unspoken()

    def hold(self) -> None:
        """The transceiver plays nothing until `resume`."""
        self._frames.hold()

    def resume(self) -> None:
        """The transceiver plays on."""
        self._frames.resume()

    async def run(self, parts: AsyncGenerator[ReplyPart, None]) -> None:
        """Speak the agent's parts clause by clause while more of them come; returns when all was played."""
        async with aclosing(parts) as stream:
            async for part in stream:
                if not self.times.first_text and not isinstance(part, Usage | ExpectAnswer | ToolRun | HandOver):
                    self.times.first_text = time.time_ns()
                    self._listener.first_part()
                await self._take(part)
        await self._say_rest()
        written = "".join(self._written).strip()
        if self.response.spoken and written and not self.ledger.whole:
            await self.say_aside(phrase("no_words", self._language), in_place=True)
        self.complete = True
        self._listener.generated()
        said = self.ledger.whole or (written if self.ledger.samples or not self.response.spoken else "")
        self.failed = not (self.response.calls or said or (self._did_something and not written))
        if self.ledger.samples:
            await self._frames.end()
            await self._frames.until_played()

    async def _take(self, part: ReplyPart) -> None:
        own = OwnSpeech | SpokenPause | ToolRun | HangUpAfterSpeech | TransferAfterSpeech
        self._did_something = self._did_something or isinstance(part, own)
        match part:
            case str():
                self._written.append(part)
                if not self.response.spoken:
                    self.response.text(part)
                    return
                await self._say_own_rest()
                for clause in self._splitter.feed(part):
                    await self._say(clause)
            case OwnSpeech():
                await self._say_own(part)
            case SpokenPause(milliseconds):
                await self._say_rest()
                if self.response.spoken:
                    async with self._speaking:
                        await self._frames.send(np.zeros(milliseconds * _MS, dtype="<i2"), None)
            case FunctionCall(call_id, name, arguments):
                self._words_stand_before()
                self.response.function_call(call_id, name, arguments)
                self._listener.called(call_id, name)
            case McpApproval(label, name, arguments):
                self._words_stand_before()
                self._listener.called(ask_approval(self.response, label, name, arguments), name)
            case ToolRun():
                if part.output is None:
                    await self._say_rest()  # the caller should not wait for the tool to hear a sentence that is whole
                self._listener.tool(part)
            case ExpectAnswer(kind):
                self._listener.expects(kind)
            case Usage(taken, given):
                self.response.used(taken or 0, given or 0)
            case Incomplete(reason):
                self.response.incomplete(reason)
            case Retracted():  # what was spoken of it can't be taken back
                self._written.clear()
                self._splitter, self._before = ClauseSplitter(self._language), ""
            case HandOver(state, summary):
                self._realtime.emit("antiphon.hand_over", state=state)
                if state == "accepted":
                    self._listener.wants_person(summary)
            case HangUpAfterSpeech():
                self.hang_up = True
            case TransferAfterSpeech():
                self.transfer = part

    def _words_stand_before(self) -> None:
        """On record the words before a call stand before it."""
        if self.response.spoken and "".join(self._written).strip():
            self.response.begin_speech()

    def playout(self, event: messages.Playout) -> None:
        """The transceiver reports how far it has played."""
        if event.generation != self.generation:
            return
        self.response.audio_started()
        played = self._frames.reported(event)
        self.response.played(played)
        if played and not self._words_played:
            self._words_played = True
            self._listener.words_played()

    async def retransmit(self, stopped_at: float) -> None:
        """Send again what was not played: the transceiver was killed at `stopped_at` (`time.monotonic()`)."""
        if self.response.spoken:
            await self._frames.retransmit(stopped_at)

    async def stop(self) -> tuple[str, int]:
        """After `run` was cancelled: silence the transceiver; returns the words played and their milliseconds."""
        self._frames.is_stopped = True
        if not self.response.spoken:
            return self.text, 0
        if not self.ledger.samples:
            return "", 0
        self.complete = False  # what was written counts as spoken only behind a notice that was played to its end
        return await self._frames.stop()

    async def say_aside(self, text: str, in_place: bool = False) -> None:
        """Speak a text that is not part of the answer, and not on record.

        Only before the answer's first word, whose place nothing may take; `in_place`: the answer has none.
        """
        async with self._speaking:
            if self._may_not_say(in_place):
                return
            samples = await self._voice.synthesize(text, self._urgency)
            if samples is None or not samples.size or self._may_not_say(in_place):
                return
            if in_place:
                self.response.begin_speech()
            await self._frames.send(np.pad(samples, (0, _PAUSE_AFTER_ASIDE_MS * _MS)), None)

    def _may_not_say(self, in_place: bool) -> bool:
        late = self.times.first_text and not in_place
        return self._frames.is_stopped or not self.response.spoken or bool(late)

    def _unspoken(self) -> str:
        """What was written, where none of it can be spoken, or none of it is to be."""
        return "".join(self._written).strip() if self.complete or not self.response.spoken else ""

    # ---- the agent's own audio -----------------------------------------------------------------------------

    async def _say_own(self, speech: OwnSpeech) -> None:
        if not self.response.spoken:
            if speech.words:
                self._written.append(speech.words)
                self.response.text(f"{speech.words} ")
            return
        await self._say_rest(own=False)
        self.times.first_words = self.times.first_words or time.time_ns()
        async with self._speaking:
            try:
                for _ in self._own.resampled(speech):
                    await asyncio.sleep(0)
            except ValueError as error:
                log.warning("%s: %s: it is left out", self._session_id, error)
                return
            await self._play(*self._own.frames(), 0)
        self._before = ""
        if speech.words:
            self._listener.spoke(speech.words)

    async def _say_own_rest(self) -> None:
        samples, words = self._own.rest()
        if samples.size:
            async with self._speaking:
                await self._play(samples, words, 0)

    # ---- clauses -------------------------------------------------------------------------------------------

    async def _say_rest(self, own: bool = True) -> None:
        """Speak what waits for more of its clause; `own`: and of the agent's own audio."""
        if own:
            await self._say_own_rest()
        for clause in self._splitter.rest():
            await self._say(clause)

    async def _say(self, clause: str) -> None:
        """Speak a clause behind the last one."""
        if self._before and is_decoration(clause):
            return
        async with self._speaking:
            await self._speak(clause, self._before)
        self._listener.spoke(clause)
        self._before = clause

    @property
    def _urgency(self) -> Urgency:
        return Urgency.NOW if not self.ledger.samples else Urgency.SOON

    async def _speak(self, clause: str, before: str) -> None:
        self.times.first_words = self.times.first_words or time.time_ns()
        pause = _MS * pause_ms_after(before) if before and self.ledger.samples else 0
        pause -= pause % FRAME
        samples = self._voice.known(clause)
        if samples is None and (tts := self._voice.streams) is not None:
            if await self._speak_streamed(tts, clause, pause):
                return
        elif samples is None:
            samples = await self._voice.synthesize(clause, self._urgency)
        if samples is None and not self.ledger.samples and not self._speechless:
            self._speechless = True
            clause, samples = self._voice.excuse()
        if samples is not None and samples.size:
            await self._play(samples, clause, pause)

    async def _speak_streamed(self, tts: StreamedTts, clause: str, pause: int) -> bool:
        """Play a clause while it comes; False if nothing of it came because the service failed."""
        words, rest = self._words, np.zeros(0, dtype=np.int16)
        has_pieces = whole = False
        words.begin(clause)
        async with aclosing(self._voice.stream(tts, clause, self._urgency)) as stream:
            async for samples in stream:
                if samples is None:
                    whole = True
                    continue
                has_pieces = True
                rest = np.concatenate((rest, samples))
                if ready := rest.size - rest.size % FRAME:
                    await self._play(rest[:ready], words.piece(ready), pause)
                    rest, pause = rest[ready:], 0
        if not has_pieces:
            return whole
        if not rest.size:
            rest = np.zeros(FRAME, dtype=np.int16)
        await self._play(rest, words.rest(rest.size, whole), pause)
        return True

    async def _play(self, samples: Samples, words: str | list[str], pause: int) -> None:
        """Send samples that say `words` behind a pause, as whole frames."""
        if not samples.size:
            return
        self.times.first_clause = self.times.first_clause or time.time_ns()
        self.response.begin_speech()
        await self._frames.send(samples, words, pause, self._sent)

    def _sent(self) -> None:
        if not self.times.first_audio:
            self.times.first_audio = time.time_ns()
            self._on_first_audio()
