"""Turn events become transcriptions, and decisions about the response: hold, interrupt, resume, answer.

A speculative transcription begins at a short pause, before it is known that the turn has ended. While the agent's
speech is held, speech under way is transcribed too, to find out whether there are words in it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from antiphon.inference_bridge.conversation.responses import Responses
from antiphon.inference_bridge.conversation.turn import Turn
from antiphon.inference_bridge.input.vad_pipeline import VadPipeline
from antiphon.inference_bridge.models.clients import Pending, SttClient
from antiphon.inference_bridge.models.smart_turn import EndOfTurn
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.session_settings import SemanticVad, ServerVad
from antiphon.inference_bridge.stt.local_agreement import LocalAgreement
from antiphon.inference_bridge.turns.backchannel import is_backchannel, sounds_complete
from antiphon.inference_bridge.turns.barge_in import MIN_WORD_MS, Act
from antiphon.inference_bridge.turns.detector import (
    MaybeDone,
    Resumed,
    SpeechDropped,
    SpeechStarted,
    StillSpeaking,
    TurnEnded,
    TurnEvent,
    Utterance,
)
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import RATE

log = logging.getLogger(__name__)

_WORDS_WITHOUT_TEXT_MS: Final = 700
"""Speech of that length counts as words when its transcription has failed."""
_HYPOTHESIS_S: Final = 0.4
"""Seconds that a transcription which ends no turn may still take: it is worth little."""
_MAX_PROMPTS: Final = 3
"""Times in a row that the agent speaks to a silent caller (`idle_timeout_ms`)."""


class TurnHandling:
    """Transcribes the turns of one call's caller and passes them to `Responses`.

    A `TurnListener`. Owned by the call's session, for as long as the call. `VadPipeline` and `ClientCommands` call it
    on the event loop.
    """

    def __init__(
        self,
        pipeline: VadPipeline,
        responses: Responses,
        realtime: Realtime,
        stt: SttClient,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        end_of_turn: EndOfTurn | None = None,
        owner: str = "",
    ) -> None:
        """`spawn`: makes tasks that end with the call. `end_of_turn`: judges by the voice whether a turn has ended.

        `owner`: the call, for the models, which it shares with others.
        """
        self._pipeline = pipeline
        self._responses, self._realtime, self._stt, self._spawn = responses, realtime, stt, spawn
        self._end_of_turn, self._owner = end_of_turn, owner
        self._item = ""
        """The id of the item that the caller's speech becomes."""
        self._has_interrupted = False
        """The speech under way has interrupted the agent."""
        self._agreement = LocalAgreement()
        """On the words of the speech under way."""
        self._speculation: tuple[Pending[str], Utterance] | None = None
        """The transcription begun in a pause, and of what."""
        self._partial: asyncio.Task[Any] | None = None
        """The last transcription of speech under way; the next one waits until it is done."""
        self._prompts = 0
        """Times in a row that the agent spoke to a silent caller."""

    def on_turn_event(self, event: TurnEvent) -> None:
        """What the turn detector has found."""
        responses, now = self._responses, time.monotonic()
        match event:
            case SpeechStarted(first_sample):
                self._prompts = 0
                self._has_interrupted = False
                self._agreement = LocalAgreement()
                self._item = self._realtime.speech_started(first_sample * 1000 // RATE)
                active = responses.turn is not None and responses.settings.interrupts
                responses.apply(responses.barge_in.speech_started(now, active))
            case StillSpeaking(utterance):
                if responses.barge_in.holding and (self._partial is None or self._partial.done()):
                    self._partial = self._spawn(self._transcribe_partial(utterance))
            case MaybeDone(utterance):
                semantic = isinstance(responses.settings.turn_detection, SemanticVad)
                urgency = Urgency.NOW if semantic else Urgency.SPECULATIVE
                job = self._stt.transcribe(utterance.pcm, responses.settings.turn_prompt(), urgency, self._owner)
                self._speculation = job, utterance
                if semantic:
                    self._spawn(self._judge_words(job, utterance))
                if self._end_of_turn is not None and self._pipeline.turns.asks_the_voice:
                    self._spawn(self._judge_voice(self._end_of_turn, utterance))
            case Resumed():
                if self._speculation and self._transcribes:  # no turn, but its first words may be certain
                    self._spawn(self._first_words(self._speculation[0], self._item, self._agreement))
                    self._speculation = None
                self.drop_speculation()
            case SpeechDropped(speech_end):
                self.drop_speculation()
                self._realtime.speech_stopped(self._item, speech_end * 1000 // RATE)
                responses.apply(responses.barge_in.speech_stopped(now, text_follows=False))
            case TurnEnded(utterance):
                self._ended(utterance)

    def on_tick(self, now: float) -> None:
        """Each 0.1 s or so: ends holds that last too long, and has the agent speak to a silent caller."""
        responses = self._responses
        responses.apply(responses.barge_in.tick(now))
        detection = responses.settings.turn_detection
        limit = detection.idle_timeout_ms if isinstance(detection, ServerVad) else None
        if (
            limit is None
            or responses.idle_since is None
            or self._pipeline.turns.speaking
            or self._prompts >= _MAX_PROMPTS
        ):
            return
        if responses.turn is None and (now - responses.idle_since) * 1000 > limit:
            self._prompts += 1
            item_id = self._realtime.new_id("item")
            end_ms = self._pipeline.position * 1000 // RATE
            self._realtime.emit(
                "input_audio_buffer.timeout_triggered",
                audio_start_ms=max(0, end_ms - limit),
                audio_end_ms=end_ms,
                item_id=item_id,
            )
            self._realtime.committed(item_id)
            responses.respond(None)

    def commit(self) -> bool:
        """The client ends the turn; False if there is less than 100 ms of audio to commit."""
        speaking = self._pipeline.turns.speaking
        utterance = self._pipeline.turns.commit()
        if utterance is None:
            return False
        responses = self._responses
        if speaking:
            self._realtime.speech_stopped(self._item, utterance.speech_end * 1000 // RATE)
            responses.apply(responses.barge_in.speech_stopped(time.monotonic(), text_follows=False))
        else:
            self._item = self._realtime.new_id("item")
        turn = self._transcribed_turn(utterance)
        assert turn.transcription is not None
        responses.add_unanswered(turn.transcription)
        turn.span.end()
        return True

    def clear(self) -> None:
        """The client wants the audio that is no turn yet forgotten."""
        self._take(self._pipeline.turns.clear())

    def change_detection(self, settings: TurnSettings | None) -> None:
        """Other settings of the turn detector, at once; None: the client says when a turn has ended."""
        self._take(self._pipeline.turns.change(settings))

    def drop_speculation(self) -> None:
        """Cancel the transcription that was begun in a pause."""
        if self._speculation:
            self._speculation[0].cancel()
            self._speculation = None

    # ---- inside ----------------------------------------------------------------------------------------

    def _take(self, events: list[TurnEvent]) -> None:
        for event in events:
            self.on_turn_event(event)

    def _ended(self, utterance: Utterance) -> None:
        responses = self._responses
        self._realtime.speech_stopped(self._item, utterance.speech_end * 1000 // RATE)
        turn = self._transcribed_turn(utterance)
        if responses.barge_in.holding:
            responses.barge_in.speech_stopped(time.monotonic(), text_follows=True)
            self._spawn(self._decide(turn))
        else:
            responses.barge_in.speech_stopped(time.monotonic(), text_follows=False)
            responses.answer(turn)

    def _transcribed_turn(self, utterance: Utterance) -> Turn:
        """A turn whose transcription is under way, on record as the item announced last."""
        speech_end_ns = self._pipeline.captured_ns(utterance.speech_end)
        turn = Turn(
            self._responses.span("turn", speech_end_ns),
            item_id=self._item,
            speech_end_ns=speech_end_ns,
            speech_ms=utterance.speech_ms,
            ended_ns=time.time_ns(),
            interrupts=self._has_interrupted,
        )
        self._realtime.committed(self._item)
        agreement, self._agreement = self._agreement, LocalAgreement()
        job, seconds = self._transcription(utterance), len(utterance.pcm) / 2 / RATE
        turn.transcription = self._spawn(self._transcribe(turn, job, seconds, agreement))
        return turn

    def _transcription(self, utterance: Utterance) -> Pending[str]:
        """The one that was begun in the pause, if it was of this utterance; else a new one."""
        if self._speculation and self._speculation[1] is utterance:
            job, self._speculation = self._speculation[0], None
            job.promote(Urgency.NOW)
            return job
        self.drop_speculation()
        return self._stt.transcribe(utterance.pcm, self._responses.settings.turn_prompt(), Urgency.NOW, self._owner)

    async def _transcribe(self, turn: Turn, job: Pending[str], seconds: float, agreement: LocalAgreement) -> str:
        """The text of a turn; empty if there is none. Not cancelled by an interruption: words are never lost."""
        assert turn.item_id is not None
        try:
            text = await job
        except Exception as error:
            log.warning("item %s is not transcribed: %s", turn.item_id, error)
            self._realtime.transcription_failed(turn.item_id, str(error) or type(error).__name__)
            turn.transcription_failed = True  # the response asks the caller to say it again
            return ""
        turn.transcribed_ns, turn.stt_ms = time.time_ns(), job.work_ms
        text, rest = agreement.finish(text)
        self._realtime.conversation.set_transcript(turn.item_id, text)
        if self._transcribes:
            self._realtime.transcribing(turn.item_id, rest)
            self._realtime.transcribed(turn.item_id, text, seconds)
        return text

    @property
    def _transcribes(self) -> bool:
        """The client gets transcription events."""
        return self._responses.settings.transcription is not None

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
        """For semantic turn detection: is the sentence complete?"""
        try:
            complete = sounds_complete(await job)
        except Exception as error:
            log.debug("no verdict: %s", error)
            complete = True  # the turn's own transcription will report what is wrong
        self._pipeline.turns.verdict(utterance, complete=complete)

    async def _judge_voice(self, model: EndOfTurn, utterance: Utterance) -> None:
        """Does the voice sound as if the caller was done?"""
        self._pipeline.turns.verdict(utterance, likely=await model.probability(utterance.pcm))

    async def _transcribe_partial(self, utterance: Utterance) -> None:
        """Are there words in the speech so far?"""
        item_id, agreement = self._item, self._agreement
        try:
            text = await self._stt.transcribe(utterance.pcm, "", Urgency.SOON, self._owner)
        except Exception as error:
            log.debug("speech under way is not transcribed: %s", error)
            return
        self._add_hypothesis(text, item_id, agreement)
        act = self._responses.barge_in.partial_text(bool(text) and not is_backchannel(text, False))
        self._has_interrupted = act is Act.INTERRUPT
        self._responses.apply(act)

    async def _decide(self, turn: Turn) -> None:
        """The agent's speech is held: was that a turn, or a mere sound?"""
        responses = self._responses
        assert turn.transcription is not None
        text = await asyncio.shield(turn.transcription)
        if turn.transcription_failed:
            words = turn.speech_ms >= _WORDS_WITHOUT_TEXT_MS
        else:
            asked = responses.asked_something()
            words = bool(text) and turn.speech_ms >= MIN_WORD_MS and not is_backchannel(text, asked)
        was_holding = responses.barge_in.holding
        responses.apply(responses.barge_in.final_text(words))
        if not words:
            turn.span.set_attribute("antiphon.false_interruption", True)
            turn.span.end()
            return
        if not was_holding and responses.settings.interrupts:  # the hold has ended meanwhile, the agent speaks on
            responses.interrupt("turn_detected")
        responses.answer(turn)
