"""What is made of the caller's voice: turn events become transcriptions, and decisions about who may speak.

Transcribing begins in the hope that a turn is over; while the agent is held, also in mid-speech, to find out whether
there are words in what the caller says.
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
from antiphon.inference_bridge.turns.window import RATE

log = logging.getLogger(__name__)

_UNREAD_WORDS_MS: Final = 700
"""Speech of that length is taken for words where the recogniser fails."""
_HYPOTHESIS_S: Final = 0.4
"""So long a transcription that ends no turn may still take: it is worth little."""
_MAX_PROMPTS: Final = 3
"""Times in a row that a silent caller is spoken to (`idle_timeout_ms`)."""


class TurnHandling:
    """Of one call."""

    def __init__(
        self,
        talk: Responses,
        realtime: Realtime,
        stt: SttClient,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        end_of_turn: EndOfTurn | None = None,
    ) -> None:
        """`smart_turn`: judges by the voice whether a turn is over."""
        self.ear: VadPipeline
        """Set by whoever makes both."""
        self._talk, self._realtime, self._stt, self._spawn = talk, realtime, stt, spawn
        self._end_of_turn = end_of_turn
        self._item = ""
        self._taken = False
        """The agent was stopped for what the caller is saying."""
        self._agreement = LocalAgreement()
        """On the words of what the caller is saying."""
        self._speculation: tuple[Pending[str], Utterance] | None = None
        self._verdict: asyncio.Task[Any] | None = None
        self._peek: asyncio.Task[Any] | None = None
        self._prompts = 0

    def on_turn_event(self, event: TurnEvent) -> None:
        talk, now = self._talk, time.monotonic()
        match event:
            case SpeechStarted(first_sample):
                self._prompts = 0
                self._taken = False
                self._agreement = LocalAgreement()
                self._item = self._realtime.speech_started(first_sample * 1000 // RATE)
                talk.act(talk.barge_in.speech_started(now, talk.turn is not None and talk.settings.interrupts))
            case StillSpeaking(utterance):
                if talk.barge_in.holding and (self._peek is None or self._peek.done()):
                    self._peek = self._spawn(self._look(utterance))
            case MaybeDone(utterance):
                semantic = isinstance(talk.settings.turn_detection, SemanticVad)
                urgency = Urgency.NOW if semantic else Urgency.SPECULATIVE
                job = self._stt.transcribe(utterance.pcm, self._prompt(utterance), urgency)
                self._speculation = job, utterance
                if semantic:
                    self._verdict = self._spawn(self._judge(job, utterance))
                if self._end_of_turn is not None and self.ear.turns.asks_the_voice:
                    self._spawn(self._listen_to_the_voice(self._end_of_turn, utterance))
            case Resumed():
                if self._speculation and self._tells:  # no turn, but what the caller goes on from was heard
                    self._spawn(self._first_words(self._speculation[0], self._item, self._agreement))
                    self._speculation = None
                self.forget()
            case SpeechDropped(speech_end):
                self.forget()
                self._realtime.speech_stopped(self._item, speech_end * 1000 // RATE)
                talk.act(talk.barge_in.speech_stopped(now, text_follows=False))
            case TurnEnded(utterance):
                self._ended(utterance)

    def on_tick(self, now: float) -> None:
        """Each 0.1 s or so."""
        talk = self._talk
        talk.act(talk.barge_in.tick(now))
        detection = talk.settings.turn_detection
        limit = detection.idle_timeout_ms if isinstance(detection, ServerVad) else None
        if limit is None or talk.idle_since is None or self.ear.turns.speaking or self._prompts >= _MAX_PROMPTS:
            return
        if talk.turn is None and (now - talk.idle_since) * 1000 > limit:
            self._prompts += 1
            item_id = self._realtime.new_id("item")
            end_ms = self.ear.position * 1000 // RATE
            self._realtime.emit(
                "input_audio_buffer.timeout_triggered",
                audio_start_ms=max(0, end_ms - limit),
                audio_end_ms=end_ms,
                item_id=item_id,
            )
            self._realtime.committed(item_id)
            talk.respond(None)

    def commit(self) -> bool:
        """The client says that its turn is over; False if there is nothing to commit."""
        speaking = self.ear.turns.speaking
        utterance = self.ear.turns.commit()
        if utterance is None:
            return False
        if speaking:
            self._realtime.speech_stopped(self._item, utterance.speech_end * 1000 // RATE)
            self._talk.act(self._talk.barge_in.speech_stopped(time.monotonic(), text_follows=False))
        else:
            self._item = self._realtime.new_id("item")
        turn = self._hearing(utterance)
        assert turn.hearing is not None
        self._talk.note(turn.hearing)
        turn.span.end()
        return True

    def clear(self) -> None:
        """The client wants the audio so far forgotten."""
        self.ear.report(self.ear.turns.clear())

    def forget(self) -> None:
        """What was transcribed in hope is of no use."""
        if self._speculation:
            self._speculation[0].cancel()
            self._speculation = None

    # ---- inside ----------------------------------------------------------------------------------------

    def _ended(self, utterance: Utterance) -> None:
        talk = self._talk
        self._realtime.speech_stopped(self._item, utterance.speech_end * 1000 // RATE)
        turn = self._hearing(utterance)
        if talk.barge_in.holding:
            talk.barge_in.speech_stopped(time.monotonic(), text_follows=True)
            self._spawn(self._decide(turn))
        else:
            talk.barge_in.speech_stopped(time.monotonic(), text_follows=False)
            talk.answer(turn)

    def _hearing(self, utterance: Utterance) -> Turn:
        """A turn whose transcription is under way, on record as the item announced last."""
        speech_end_ns = self.ear.captured_ns(utterance.speech_end)
        turn = Turn(
            self._talk.span("turn", speech_end_ns),
            item_id=self._item,
            speech_end_ns=speech_end_ns,
            speech_ms=utterance.speech_ms,
            ended_ns=time.time_ns(),
            interrupts=self._taken,
        )
        self._realtime.committed(self._item)
        agreement, self._agreement = self._agreement, LocalAgreement()
        job, seconds = self._transcription(utterance), len(utterance.pcm) / 2 / RATE
        turn.hearing = self._spawn(self._hear(turn, job, seconds, agreement))
        return turn

    def _transcription(self, utterance: Utterance) -> Pending[str]:
        """The one that was begun in the silence, if it was of this utterance; else a new one."""
        if self._speculation and self._speculation[1] is utterance:
            job, self._speculation = self._speculation[0], None
            job.promote(Urgency.NOW)
            return job
        self.forget()
        return self._stt.transcribe(utterance.pcm, self._prompt(utterance), Urgency.NOW)

    def _prompt(self, utterance: Utterance) -> str:
        return self._talk.settings.turn_prompt()

    async def _hear(self, turn: Turn, job: Pending[str], seconds: float, agreement: LocalAgreement) -> str:
        """The text of a turn; empty if there is none. Not cancelled by an interruption: words are never lost."""
        assert turn.item_id is not None
        try:
            text = await job
        except Exception as error:
            log.warning("item %s is not transcribed: %s", turn.item_id, error)
            self._realtime.transcription_failed(turn.item_id, str(error) or type(error).__name__)
            turn.unheard = True  # the caller is owed an answer, if only that we did not hear
            return ""
        turn.heard_ns, turn.stt_ms = time.time_ns(), job.work_ms
        text, rest = agreement.finish(text)
        self._realtime.conversation.set_transcript(turn.item_id, text)
        if self._tells:
            self._realtime.transcribing(turn.item_id, rest)
            self._realtime.transcribed(turn.item_id, text, seconds)
        return text

    @property
    def _tells(self) -> bool:
        """The session has transcription on."""
        return self._talk.settings.transcription is not None

    async def _first_words(self, job: Pending[str], item_id: str, agreement: LocalAgreement) -> None:
        """The caller went on: what was transcribed in hope may still tell the first words."""
        try:
            async with asyncio.timeout(_HYPOTHESIS_S):
                text = await job
        except Exception as error:  # BusyError, or the machine has more urgent work
            job.cancel()
            log.debug("no hypothesis: %s", error or type(error).__name__)
            return
        self._agree(text, item_id, agreement)

    def _agree(self, text: str, item_id: str, agreement: LocalAgreement) -> None:
        if agreement is self._agreement and self._tells:
            self._realtime.transcribing(item_id, agreement.hypothesis(text))

    async def _judge(self, job: Pending[str], utterance: Utterance) -> None:
        """For semantic turn detection: does it sound complete?"""
        try:
            complete = sounds_complete(await job)
        except Exception as error:
            log.debug("no verdict: %s", error)
            complete = True  # the turn's own transcription will say what is wrong
        self.ear.turns.verdict(utterance, complete=complete)

    async def _listen_to_the_voice(self, model: EndOfTurn, utterance: Utterance) -> None:
        """Does it sound done?"""
        self.ear.turns.verdict(utterance, likely=await model.probability(utterance.pcm))

    async def _look(self, utterance: Utterance) -> None:
        """Are there words in what the caller has said so far?"""
        item_id, agreement = self._item, self._agreement
        try:
            text = await self._stt.transcribe(utterance.pcm, "", Urgency.SOON)
        except Exception as error:
            log.debug("no look at speech under way: %s", error)
            return
        self._agree(text, item_id, agreement)
        act = self._talk.barge_in.partial_text(bool(text) and not is_backchannel(text, False))
        self._taken = act is Act.INTERRUPT
        self._talk.act(act)

    async def _decide(self, turn: Turn) -> None:
        """The agent is held: was that a turn, or a mere sound?"""
        talk = self._talk
        assert turn.hearing is not None
        text = await asyncio.shield(turn.hearing)
        if turn.unheard:
            words = turn.speech_ms >= _UNREAD_WORDS_MS
        else:
            words = bool(text) and turn.speech_ms >= MIN_WORD_MS and not is_backchannel(text, talk.asked_something())
        was_held = talk.barge_in.holding
        talk.act(talk.barge_in.final_text(words))
        if not words:
            turn.span.set_attribute("antiphon.false_interruption", True)
            turn.span.end()
            return
        if not was_held and talk.settings.interrupts:  # it was given up meanwhile, the agent speaks on
            talk.interrupt("turn_detected")
        talk.answer(turn)
