"""What operators learn of one call's turns: its parts and its latency, at its first frame and at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from opentelemetry import trace

from antiphon.inference_bridge.conversation.core.state import Kind, Response
from antiphon.inference_bridge.conversation.response_record import ResponseRecord
from antiphon.inference_bridge.conversation.turn import SpokenTurn
from antiphon.inference_bridge.conversation.turn_parts import TurnMarks, parts_of
from antiphon.inference_bridge.conversation.turn_spans import End, TurnSpans
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.runtime.agent_sessions.session_bus import SessionBus
from antiphon.runtime.telemetry import spans
from antiphon.schemas import messages


class TurnReports:
    """Reports the turns that responses answer. Owned by the call's `ResponseTasks`; used on the event loop."""

    def __init__(
        self,
        bus: SessionBus,
        realtime: Realtime,
        turn_spans: TurnSpans,
        spoken_turn: Callable[[int], SpokenTurn | None],
        close_turn: Callable[[int, str, bool], None],
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
    ) -> None:
        """`spoken_turn`: by the key of its text, until `close_turn`. `spawn`: ends with the call."""
        self._bus, self._realtime, self._turn_spans = bus, realtime, turn_spans
        self._spoken_turn, self._close_turn, self._spawn = spoken_turn, close_turn, spawn
        self._reported = 0
        self._waiting: tuple[trace.Span, TurnMarks] | None = None
        """Of a caller whose answer was a function's call without a word: the answer behind its output is the turn's."""

    def begin(self, response: Response, language: str, voice: str) -> tuple[trace.Span, TurnMarks]:
        """Of the turn that a response answers."""
        turns = self._spoken(response)
        if turns:
            self._give_up_waiting("interrupted", language, voice)
            return turns[-1].span, turns[-1].marks
        if self._waiting is not None and response.kind is Kind.CLIENT and response.on_record:
            found, self._waiting = self._waiting, None
            return found
        return self._turn_spans.turn(None, response.kind.name.lower()), TurnMarks()

    def count(self) -> None:
        """One more response is spoken: the number under which it is reported."""
        self._reported += 1

    def first_audio(self, record: ResponseRecord) -> None:
        """The first frame of a response was published: report how long the caller waited, and for what."""
        assert record.playback is not None
        assert record.realtime is not None
        times, marks = record.playback.times, record.marks
        marks.first_words, marks.published = times.first_words, times.first_audio
        if record.generation:
            self._report(record)
        turns = self._spoken(record.response)
        if record.response.kind is not Kind.TURN or not turns:
            return
        latency = turns[-1].latency_ms(times)
        if not latency:
            return
        for name, value in latency.items():
            record.span.set_attribute(f"antiphon.{name}", value)
        response_id = record.realtime.id
        self._realtime.emit("antiphon.latency", item_id=turns[-1].item_id, response_id=response_id, **latency)

    def end(self, record: ResponseRecord, end: End, language: str, voice: str, played: str = "") -> None:
        """A response is over: its turn is reported and becomes spans, unless it waits for a function's output."""
        response, marks, realtime = record.response, record.marks, record.realtime
        waits = end == "completed" and marks.is_spoken and not marks.published and response.on_record
        waits = waits and realtime is not None and realtime.calls
        for words in response.texts:
            turn = self._spoken_turn(words.key)
            self._close_turn(words.key, "", turn is not None and turn.span is not record.span)
        if waits:
            self._give_up_waiting("interrupted", language, voice)
            self._waiting = record.span, marks
            return
        if record.generation and end != "session_closed":
            self._report(record, end)
        tokens = realtime.tokens if realtime is not None else (0, 0)
        asked = " ".join(words.text for words in response.texts if words.text)
        self._turn_spans.end(record.span, marks, end, language, voice, tokens, asked, played)

    def close(self, language: str, voice: str) -> None:
        """The call has ended."""
        self._give_up_waiting("session_closed", language, voice)

    def _spoken(self, response: Response) -> list[SpokenTurn]:
        return [turn for words in response.texts if (turn := self._spoken_turn(words.key)) is not None]

    def _give_up_waiting(self, end: End, language: str, voice: str) -> None:
        if self._waiting is not None:
            (span, marks), self._waiting = self._waiting, None
            self._turn_spans.end(span, marks, end, language, voice, (0, 0))

    def _report(self, record: ResponseRecord, end: End | None = None) -> None:
        """The transceiver adds what it measures: for operators. A report that is lost is nothing."""
        marks = record.marks
        turn = messages.Turn(
            number=max(1, self._reported),
            generation=record.generation,
            began=marks.began / 1e9,
            parts=parts_of(marks),
            end=end,
            tools=[name[:64] for name in marks.tools],
            trace=spans.traceparent(trace.set_span_in_context(record.span)),
        )
        report = messages.ReportTurn(turn=turn, last_sample=marks.last_sample, published=marks.published / 1e9)
        self._spawn(self._bus.report_turn(report))
