"""The responses of one call as tasks: ask the agent, speak, stop, settle. The core says when; nothing is decided here.

Each response has a record from the command that names it first until `Settle` or `Drop`. Its task feeds the core with
what happens: the first word, words sent, all generated, ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.conversation.agent_answers import AgentAnswers
from antiphon.inference_bridge.conversation.agent_requests import PreparedParts
from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.events import Event
from antiphon.inference_bridge.conversation.core.state import Response, Transfer
from antiphon.inference_bridge.conversation.played_ledgers import PlayedLedgers
from antiphon.inference_bridge.conversation.response_playback import ResponsePlayback, Speech
from antiphon.inference_bridge.conversation.response_record import PlaybackReport, ResponseRecord
from antiphon.inference_bridge.conversation.tool_runs import ToolRuns
from antiphon.inference_bridge.conversation.turn import SpokenTurn
from antiphon.inference_bridge.conversation.turn_reports import TurnReports
from antiphon.inference_bridge.conversation.turn_spans import End, TurnSpans
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.client_events import ResponseParameters
from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.mcp_calls import McpCalls
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime, RealtimeResponse
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.runtime.agent_sessions.session_bus import SessionBus
from antiphon.schemas import messages

log = logging.getLogger(__name__)


class ResponseTasks:
    """Carries out what the core wants done with responses.

    Owned by the call's `ConversationRunner`, for as long as the call, and called by it on the event loop.
    """

    def __init__(
        self,
        feed: Callable[[Event], object],
        bus: SessionBus,
        realtime: Realtime,
        agent: Agent,
        make_agent: Callable[[], Agent],
        speech: Speech,
        settings: Callable[[], SessionSettings],
        support: SpeechSupport,
        instructions: str,
        first_generation: int,
        is_held: Callable[[], bool],
        spoken_turn: Callable[[int], SpokenTurn | None],
        close_turn: Callable[[int, str, bool], None],
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        turn_spans: TurnSpans,
        profile: AgentProfile,
        session: JsonObject,
    ) -> None:
        """`feed`: takes events of the core. `make_agent`: another agent, for responses out of band.

        `instructions`: for a session that has none. `first_generation`: below the first response's. `is_held`: the
        core holds the speech. `spoken_turn`: by the key of its text, until `close_turn`. `spawn`: ends with the
        call. `profile`: of the agent. `session`: the client's settings as in the claim.
        """
        self.answers = AgentAnswers(
            agent,
            make_agent,
            realtime,
            settings,
            lambda: self.language,
            instructions,
            profile,
            session,
            bus.session_id,
            spawn,
        )
        self._feed, self._bus, self._realtime, self._speech = feed, bus, realtime, speech
        self._settings, self._support = settings, support
        self._generation, self._is_held = first_generation, is_held
        self._close_turn, self._spawn, self._turn_spans = close_turn, spawn, turn_spans
        self._turns = TurnReports(bus, realtime, turn_spans, spoken_turn, close_turn, spawn)
        self._records: dict[int, ResponseRecord] = {}
        self._closing = asyncio.Lock()
        """What was stopped is closed one after the other."""
        self._ledgers = PlayedLedgers()

    def begin(self, command: do.Begin) -> None:
        """The client learns of a response."""
        response = command.response
        asked = response.parameters
        metadata = asked.metadata if isinstance(asked, ResponseParameters) else None
        record = self._record(response)
        own = self._settings_of(response)
        record.realtime = RealtimeResponse(
            self._realtime,
            response.spoken,
            response.on_record,
            metadata,
            own.voice or self._support.voice,
            own.max_output_tokens,
        )

    def ask(self, command: do.Ask) -> None:
        """Ask the agent, and speak what it answers."""
        record = self._record(command.response)
        if command.response.preamble and command.response.by_client:
            record.agent.greeting_played(command.response.preamble)
        self.answers.asked(command.response)
        if command.response.asked:
            record.agent_before = self.answers.saved(record.agent)
            record.span.set_attribute("antiphon.heard_characters", len(command.response.text))
        record.marks.began = record.marks.began or time.time_ns()
        if not command.gated:
            record.gate.set()
        record.task = self._spawn(self._run(record))

    def open_gate(self, command: do.OpenGate) -> None:
        """The response before this one was played."""
        self._records[command.rid].gate.set()

    def presume(self, command: do.Presume) -> None:
        """The agent learns that all of a response was played, a little before it is."""
        record = self._records[command.rid]
        self.answers.tell_played(record.response, record.playback.text if record.playback else "")

    def say_patience(self, command: do.SayPatience) -> None:
        """A sign that the answer takes longer."""
        record = self._records.get(command.rid)
        if record is not None and record.playback is not None:
            self._spawn(record.playback.say_aside(phrase("patience", self.language)))

    def stop(self, command: do.Stop) -> None:
        """Stop making and playing a response."""
        if self._records[command.rid].response.stop_reason == "turn_detected":
            self._turn_spans.decided()
        self._spawn(self._close(self._records[command.rid]))

    def settle(self, command: do.Settle) -> None:
        """A response is over."""
        record = self._records.pop(command.response.rid)
        if record.tools is not None:
            record.tools.close()
        if record.realtime is not None:
            failure = "no speech could be made of the answer" if command.outcome == "failed" else ""
            try:
                record.realtime.done(command.outcome, command.played, command.played_ms, command.reason, failure)
            except Exception:
                log.exception("%s: response %s was not ended in order", self._bus.session_id, record.realtime.id)
        if command.undone and command.played and record.realtime is not None:
            self._take_off_record(record.realtime.item_id)
        if not command.response.presumed:
            played = "" if command.undone else command.played
            self.answers.tell_played(command.response, played, command.outcome == "cancelled")
        ends: End = "completed"
        if command.outcome != "completed":
            ends = "interrupted" if command.outcome == "cancelled" else "failed"
        played = "" if command.undone else command.played
        self._turns.end(record, ends, self.language, self._voice_of(record), played)

    def drop(self, command: do.Drop) -> None:
        """There was nothing to answer."""
        record = self._records.pop(command.response.rid, None)
        for words in command.response.texts:
            self._close_turn(words.key, "no_turn", True)
        if record is not None and record.span.is_recording():
            record.span.end()

    def send_again(self, command: do.SendAgain) -> None:
        """Another transceiver has the call: it gets what was not played."""
        record = self._records.get(command.rid)
        if record is not None and record.playback is not None:
            self._spawn(record.playback.retransmit(command.stopped_at))

    def hold(self) -> None:
        """The transceiver plays nothing until `resume`."""
        for playback in self._spoken():
            playback.hold()

    def resume(self) -> None:
        """The transceiver plays on."""
        for playback in self._spoken():
            playback.resume()

    def _spoken(self) -> list[ResponsePlayback]:
        return [each.playback for each in self._records.values() if each.playback is not None and each.response.spoken]

    @property
    def language(self) -> str:
        """Of the session, in which the agent speaks."""
        return self._settings().language or self._support.language

    def rid_of(self, response_id: str) -> int | None:
        """The core's number of a response that is under way; None if there is none of this id."""
        for rid, record in self._records.items():
            if record.realtime is not None and record.realtime.id == response_id:
                return rid
        return None

    def rid_of_item(self, item_id: str) -> int | None:
        """Likewise, by the id of its message."""
        for rid, record in self._records.items():
            if record.realtime is not None and record.realtime.item_id == item_id:
                return rid
        return None

    def saved_agent(self, answering: Response | None) -> Any:
        """What another process needs of the agent: as it was before it was asked for what is under way."""
        record = self._records.get(answering.rid) if answering is not None else None
        return record.agent_before if record is not None else self.answers.saved()

    def played_text(self, item_id: str, audio_ms: int) -> str | None:
        """The words in the first `audio_ms` of a response; None if that is beyond its end, or it is too old."""
        return self._ledgers.words(item_id, audio_ms)

    def playout(self, event: messages.Playout) -> None:
        """The transceiver reports how far it has played."""
        for record in list(self._records.values()):
            if record.playback is not None:
                record.playback.playout(event)

    def close(self, goes_on: bool = False) -> None:
        """The call has ended; or it `goes_on` in another process."""
        for record in self._records.values():
            self._turns.end(record, "session_closed", self.language, self._voice_of(record))
        self._turns.close(self.language, self._support.voice)
        self.answers.close(goes_on)

    # ---- inside ----------------------------------------------------------------------------------------

    def _record(self, response: Response) -> ResponseRecord:
        record = self._records.get(response.rid)
        if record is None:
            span, marks = self._turns.begin(response, self.language, self._support.voice)
            record = self._records[response.rid] = ResponseRecord(
                response, span, marks, self.answers.agent_for(response)
            )
        return record

    def _settings_of(self, response: Response) -> SessionSettings:
        """The session's, with what the client wants different in this response."""
        asked = response.parameters if isinstance(response.parameters, ResponseParameters) else None
        return self._settings().for_response(asked, self._support).settings

    def _voice_of(self, record: ResponseRecord) -> str:
        return self._settings_of(record.response).voice or self._support.voice

    async def _run(self, record: ResponseRecord) -> None:
        """From the request to the last sample of the response."""
        with self._turn_spans.within(record.span):
            await self._run_inside(record)

    async def _run_inside(self, record: ResponseRecord) -> None:
        rid = record.response.rid
        outcome: events.Outcome = "failed"
        try:
            own = self._settings_of(record.response)
            parts = await self.answers.answer(record.response, record.agent, own, partial(self._written, record))
            if not record.gate.is_set():
                prepared = PreparedParts(parts, self._spawn)
                try:
                    await record.gate.wait()
                except asyncio.CancelledError:
                    await prepared.close()
                    raise
                parts = prepared.stream()
            playback = record.playback = self._playback(record)
            await playback.run(parts)
            outcome = "failed" if playback.failed else "completed"
        except Exception:
            log.exception("%s: a response has failed", self._bus.session_id)
        played = record.playback.text if record.playback and outcome == "completed" else ""
        hang_up, transfer = False, None
        if record.playback is not None:
            hang_up, wanted = record.playback.hang_up, record.playback.transfer
            transfer = Transfer(wanted.agent, wanted.summary, wanted.silent) if wanted is not None else None
        self._feed(events.Ended(rid, outcome, played, 0, hang_up, transfer))

    def _written(self, record: ResponseRecord) -> dict[str, str]:
        """By item id, the words of other messages that are still being played."""
        written: dict[str, str] = {}
        for other in self._records.values():
            if other is not record and other.realtime is not None and other.playback is not None:
                written[other.realtime.item_id] = other.playback.text
        return written

    def _playback(self, record: ResponseRecord) -> ResponsePlayback:
        assert record.realtime is not None
        own = self._settings_of(record.response)
        put = self._realtime.add_internal if record.response.on_record else None
        record.tools = ToolRuns(put, self._turn_spans, record.span, record.marks, McpCalls(record.realtime))
        playback = ResponsePlayback(
            self._bus,
            self._realtime,
            self._speech,
            self._new_generation(),
            record.realtime,
            PlaybackReport(
                self._feed,
                record,
                self._turns.first_audio,
                self._turn_spans,
                partial(self.answers.expect, record.response),
                lambda summary: self._spawn(self._bus.ask_person(summary)),
            ),
            self._new_generation,
            own.speed,
            self._is_held(),
            self.language,
            own.voice,
        )
        if record.response.spoken:
            record.generation = playback.generation
            self._turns.count()
        self._ledgers.add(record.realtime.item_id, playback.ledger)
        return playback

    def _new_generation(self) -> int:
        self._generation += 1
        return self._generation

    async def _close(self, record: ResponseRecord) -> None:
        """End its task, silence the transceiver, find out what was played."""
        text, played_ms = "", 0
        async with self._closing:
            try:
                if record.task is not None:
                    record.task.cancel()
                    await asyncio.wait([record.task])
                if record.playback is not None:
                    text, played_ms = await record.playback.stop()
                    if record.response.stop_reason == "turn_detected":
                        self._turn_spans.flushed()
                if record.response.spoken and self._bus.paused is not self._is_held():
                    # nothing was sent, so nothing was flushed; or the flush has let go of what is held for the next one
                    await (self._bus.pause() if self._is_held() else self._bus.resume())
            except Exception:  # the responses behind it must not wait for ever
                log.exception("%s: an interrupted response was not closed in order", self._bus.session_id)
            self._feed(events.Ended(record.response.rid, "cancelled", text, played_ms))

    def _take_off_record(self, item_id: str) -> None:
        with contextlib.suppress(ClientError):  # it is off the record already
            self._realtime.delete(item_id)
