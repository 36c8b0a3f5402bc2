"""The transcriptions of one call: begun, promoted, dropped as the core says; its results become events of the core.

A speculative transcription begins at a short pause, before it is known that the turn has ended. While the agent's
speech is held, speech under way is transcribed too, to find out whether there are words in it. What is begun when, and
what a text means, is decided in `core.listening`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final

from opentelemetry import trace

from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.events import Event
from antiphon.inference_bridge.conversation.turn import SpokenTurn
from antiphon.inference_bridge.conversation.turn_parts import TurnMarks, last_sample
from antiphon.inference_bridge.conversation.turn_spans import TurnSpans
from antiphon.inference_bridge.input.vad_pipeline import FRAME_NS, VadPipeline
from antiphon.inference_bridge.models.clients import Pending, SttClient
from antiphon.inference_bridge.models.smart_turn import EndOfTurn
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.inference_bridge.stt.local_agreement import LocalAgreement
from antiphon.inference_bridge.turns.detector import (
    MaybeDone,
    SpeechDropped,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
    Utterance,
)
from antiphon.inference_bridge.turns.expected_answer import Expected, expected
from antiphon.inference_bridge.turns.own_words import repeats
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import RATE

log = logging.getLogger(__name__)

_HYPOTHESIS_S: Final = 0.4
"""Seconds that a transcription which ends no turn may still take: it is worth little."""
_MAX_TURNS: Final = 64
"""Turns whose times are kept; the oldest go, and are reported no more."""


class Transcriptions:
    """The recogniser's jobs for one call's caller.

    A `TurnListener`. Owned by the call's `ConversationRunner`, for as long as the call. `VadPipeline`, `ClientCommands`
    and the runner call it on the event loop.
    """

    def __init__(
        self,
        feed: Callable[[Event], object],
        pipeline: VadPipeline,
        realtime: Realtime,
        stt: SttClient,
        settings: Callable[[], SessionSettings],
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        turn_spans: TurnSpans,
        agents_words: Callable[[], str],
        is_held: Callable[[], bool],
        told: Callable[[], Expected | None],
        guess: Callable[[str | None], None],
        end_of_turn: EndOfTurn | None = None,
        owner: str = "",
    ) -> None:
        """`feed`: takes events of the core. `settings`: those in force. `spawn`: ends with the call.

        `agents_words`: the last ones, which tell what the caller is asked. `is_held`: its speech is held.
        `told`: what the agent itself says that it has asked for; None: nothing. `guess`: takes the words of a turn
        that may go on, and None where it does.
        `end_of_turn`: judges by the voice whether a turn has ended. `owner`: the call, for the models.
        """
        self._feed, self._pipeline, self._realtime, self._stt = feed, pipeline, realtime, stt
        self._settings, self._spawn, self._turn_spans = settings, spawn, turn_spans
        self._agents_words, self._is_held, self._told, self._guess = agents_words, is_held, told, guess
        self._end_of_turn, self._owner = end_of_turn, owner
        self._item = ""
        """The id of the item that the caller's speech becomes."""
        self._agreement = LocalAgreement()
        """On the words of the speech under way."""
        self._speculation: Pending[str] | None = None
        """The transcription begun in a pause."""
        self._speculated_ns = 0
        """Since when (Unix, ns)."""
        self._partial: asyncio.Task[Any] | None = None
        """The last transcription of speech under way; the next one waits until it is done."""
        self._turns: OrderedDict[int, SpokenTurn] = OrderedDict()
        """By the key of their text."""

    # ---- what the turn detector and the client bring ---------------------------------------------------

    def on_turn_event(self, event: TurnEvent) -> None:
        """What the turn detector has found: told to the client, and to the core."""
        match event:
            case SpeechStarted(first_sample):
                self._agreement = LocalAgreement()
                self._item = self._realtime.speech_started(first_sample * 1000 // RATE)
                self._turn_spans.sound_began(self._pipeline.captured_ns(first_sample))
            case SpeechDropped(speech_end):
                self._realtime.speech_stopped(self._item, speech_end * 1000 // RATE)
            case TurnEnded(utterance):
                self._realtime.speech_stopped(self._item, utterance.speech_end * 1000 // RATE)
        self._feed(event)
        if isinstance(event, MaybeDone) and self._end_of_turn is not None and self._pipeline.turns.is_judged:
            self._spawn(self._judge_voice(self._end_of_turn, event.utterance))

    def on_tick(self, now: float) -> None:
        """Each 0.1 s or so."""
        self._feed(events.Tick())

    def commit(self) -> bool:
        """The client ends the turn; False if there is less than 100 ms of audio to commit."""
        speaking = self._pipeline.turns.speaking
        utterance = self._pipeline.turns.commit()
        if utterance is None:
            return False
        if speaking:
            self._realtime.speech_stopped(self._item, utterance.speech_end * 1000 // RATE)
        else:
            self._item = self._realtime.new_id("item")
        self._feed(events.Committed(utterance, speaking))
        return True

    def clear(self) -> None:
        """The client wants the audio that is no turn yet forgotten."""
        self._take(self._pipeline.turns.clear())

    def change_detection(self, settings: TurnSettings | None) -> None:
        """Other settings of the turn detector, at once; None: the client says when a turn has ended."""
        self._take(self._pipeline.turns.change(settings))

    def _take(self, found: list[TurnEvent]) -> None:
        for event in found:
            self.on_turn_event(event)

    # ---- what the core wants ---------------------------------------------------------------------------

    def speculate(self, command: do.Speculate) -> None:
        """Begin to transcribe in a pause."""
        self.drop_speculation()
        is_judged = self._pipeline.turns.is_judged  # then the caller waits for the words
        urgency = Urgency.NOW if is_judged else Urgency.SPECULATIVE
        self._speculated_ns = time.time_ns()
        self._speculation = job = self._begin(command.utterance, urgency, self._settings().turn_prompt())
        if is_judged:
            self._spawn(self._judge_words(job, command.utterance))
        self._spawn(self._guess_turn(job))

    def drop_speculation(self) -> None:
        """Cancel the transcription that was begun in a pause."""
        if self._speculation:
            self._speculation.cancel()
            self._speculation = None
            self._guess(None)
            self._turn_spans.speculated(self._speculated_ns, used=False)

    def keep_first_words(self) -> None:
        """The caller spoke on: what was begun in the pause may make the first words certain."""
        if self._speculation:
            self._spawn(self._first_words(self._speculation, self._item, self._agreement))
            self._speculation = None
            self._guess(None)
            self._turn_spans.speculated(self._speculated_ns, used=False)

    def transcribe_partly(self, command: do.TranscribePartly) -> None:
        """Transcribe speech under way, one piece at a time."""
        if self._partial is None or self._partial.done():
            self._partial = self._spawn(self._transcribe_partial(command.utterance))

    def transcribe(self, command: do.Transcribe) -> None:
        """The turn is on record from now on, and its text is on its way."""
        utterance = command.utterance
        speech_end_ns = self._pipeline.captured_ns(utterance.speech_end)
        marks = self._marks(utterance, command.has_speech)
        span = self._turn_spans.turn(marks.began)
        turn = SpokenTurn(self._item, span, speech_end_ns, marks.ended, marks=marks)
        self._turns[command.key] = turn
        if len(self._turns) > _MAX_TURNS:
            _end(self._turns.popitem(last=False)[1].span)
        self._realtime.committed(turn.item_id)
        agreement, self._agreement = self._agreement, LocalAgreement()
        job: Pending[str] | None = None
        speculated_ns = 0
        if command.speculated and self._speculation:
            job, self._speculation = self._speculation, None
            job.promote(Urgency.NOW)
            speculated_ns = self._speculated_ns
        elif command.has_speech:
            self.drop_speculation()
            job = self._begin(utterance, Urgency.NOW, self._settings().turn_prompt(), span)
        self._spawn(self._transcribe(command.key, turn, job, utterance, agreement, speculated_ns))

    def turn(self, key: int) -> SpokenTurn | None:
        """The turn with this text; None for a text that was not spoken."""
        return self._turns.get(key)

    def close_turn(self, key: int, name: str = "", ends: bool = True) -> None:
        """Nothing more happens to this turn. `name`: its span's from now on. `ends`: False: the span goes on."""
        if (turn := self._turns.pop(key, None)) is not None and ends:
            if name:
                turn.span.update_name(name)
            _end(turn.span)

    def close(self) -> None:
        """The call has ended."""
        self.drop_speculation()
        for key in list(self._turns):
            self.close_turn(key)

    @property
    def position_ms(self) -> int:
        """Milliseconds of the call's audio that were judged."""
        return self._pipeline.position * 1000 // RATE

    # ---- inside ----------------------------------------------------------------------------------------

    def _begin(
        self, utterance: Utterance, urgency: Urgency, prompt: str, turn: trace.Span | None = None
    ) -> Pending[str]:
        with self._turn_spans.within(turn):
            return self._stt.transcribe(utterance.pcm, prompt, urgency, self._owner, self._settings().language)

    def _marks(self, utterance: Utterance, has_speech: bool) -> TurnMarks:
        """The times of a turn that has ended now."""
        now, pipeline = time.time_ns(), self._pipeline
        end = utterance.speech_end
        if has_speech:
            end = last_sample(utterance.pcm, utterance.first_sample, end)
        captured = pipeline.captured_ns(end)
        # of a frame's samples the last one has come when the frame has, and the first was spoken 20 ms before
        behind = max(0, pipeline.position - end) * 1_000_000_000 // RATE
        began = captured - FRAME_NS if captured is not None else now - behind
        return TurnMarks(min(began, now), True, max(0, end), pipeline.lag_ns, now)

    async def _transcribe(
        self,
        key: int,
        turn: SpokenTurn,
        job: Pending[str] | None,
        utterance: Utterance,
        agreement: LocalAgreement,
        speculated_ns: int = 0,
    ) -> None:
        """The text of a turn; empty if there is none. Not cancelled by an interruption: words are never lost."""
        try:
            text = await job if job is not None else ""
        except Exception as error:
            log.warning("item %s is not transcribed: %s", turn.item_id, error)
            self._realtime.transcription_failed(turn.item_id, str(error) or type(error).__name__)
            self._feed(events.TextKnown(key, "", failed=True))
            return
        turn.transcribed_ns, turn.stt_ms = time.time_ns(), job.work_ms if job is not None else 0.0
        turn.marks.transcribed = turn.transcribed_ns
        self._turn_spans.speculated(speculated_ns, used=True)
        self._turn_spans.link_speculations(turn.span)
        if self._is_echo(utterance, text):
            text = ""
        text, rest = agreement.finish(text)
        self._realtime.conversation.set_transcript(turn.item_id, text)
        if self._transcribes:
            self._realtime.transcribing(turn.item_id, rest)
            self._realtime.transcribed(turn.item_id, text, len(utterance.pcm) / 2 / RATE)
        self._feed(events.TextKnown(key, text))

    @property
    def _transcribes(self) -> bool:
        """The client gets transcription events."""
        return self._settings().transcription is not None

    async def _first_words(self, job: Pending[str], item_id: str, agreement: LocalAgreement) -> None:
        """The caller spoke on: the speculative transcription may still make the first words certain."""
        try:
            async with asyncio.timeout(_HYPOTHESIS_S):
                text = await job
        except Exception as error:  # BusyError, or the machine has more urgent work
            job.cancel()
            log.debug("no hypothesis: %s", error or type(error).__name__)
            return
        self._add_hypothesis(text, item_id, agreement)

    def _add_hypothesis(self, text: str, item_id: str, agreement: LocalAgreement) -> None:
        if agreement is self._agreement and self._transcribes:
            self._realtime.transcribing(item_id, agreement.hypothesis(text))

    async def _judge_words(self, job: Pending[str], utterance: Utterance) -> None:
        """How much silence ends the turn depends on its words, and on what the agent has asked."""
        turns = self._pipeline.turns
        asked = self._told() or expected(self._agents_words(), turns.language)
        turns.evidence(utterance, expected=asked, overlaps=self._is_held())
        try:
            words = await job
        except Exception as error:
            log.debug("the end of a turn is judged without its words: %s", error)
            words = ""  # the turn's own transcription will report what is wrong
        else:
            if self._is_echo(utterance, words):
                self._take(turns.forget(utterance))
        turns.evidence(utterance, words=words)

    def _is_echo(self, utterance: Utterance, words: str) -> bool:
        """The agent hears itself: there may be an echo, and these are its last words, or too soft to be words."""
        fewest = self._pipeline.words_of_echo(utterance)
        return fewest is not None and (not words or repeats(words, self._agents_words(), fewest))

    async def _guess_turn(self, job: Pending[str]) -> None:
        """The agent may want to know what the turn says so far, before it is over."""
        try:
            words = await job
        except Exception as error:
            log.debug("no guess of the turn: %s", error)
            return
        if job is self._speculation and words:
            self._guess(words)

    async def _judge_voice(self, model: EndOfTurn, utterance: Utterance) -> None:
        """Does the voice sound as if the caller was done?"""
        self._pipeline.turns.evidence(utterance, voice=await model.probability(utterance.pcm))

    async def _transcribe_partial(self, utterance: Utterance) -> None:
        """Are there words in the speech so far?"""
        item_id, agreement = self._item, self._agreement
        try:
            text = await self._begin(utterance, Urgency.SOON, "")
        except Exception as error:
            log.debug("speech under way is not transcribed: %s", error)
            return
        if self._is_echo(utterance, text):
            return
        self._add_hypothesis(text, item_id, agreement)
        if agreement is self._agreement:  # else the speech has ended, and its own text decides
            self._feed(events.PartialText(text))


def _end(span: trace.Span) -> None:
    if span.is_recording():  # else it ended with its response
        span.end()
