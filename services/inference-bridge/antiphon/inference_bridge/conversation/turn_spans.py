"""The spans of one call's turns, built of marks when a turn is over. `turn_parts` has the marks, pure.

While traces are off no span is made: what is left of a turn are its marks.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.util.types import AttributeValue

from antiphon.inference_bridge.conversation.turn_parts import (
    InterruptionMarks,
    Part,
    TurnMarks,
    interruption_stretches,
    stretches,
)
from antiphon.runtime.telemetry import names, spans
from antiphon.runtime.telemetry.attributes import content

FALSE_INTERRUPTION: Final = "false_interruption"
"""What a turn's span is called when its text was no turn."""
_FADE_NS: Final = 20_000_000
"""The transceiver fades out within a frame."""
MAX_TOOLS: Final = 64
"""Calls of functions without an output whose times are kept; then the oldest are given up."""
MAX_SPECULATIONS: Final = 8
"""Transcriptions of no use that wait for the turn they were made for; the oldest go."""
End = Literal["completed", "interrupted", "failed", "session_closed"]


@dataclass(frozen=True)
class ModelNames:
    """Names of the models, as spans show them. A value."""

    stt: str = ""
    chat: str = ""
    """Empty: a scripted agent."""
    tts: str = ""


@dataclass
class _Speculation:
    began: int
    ended: int
    used: bool


class TurnSpans:
    """Makes the spans of one call. Owned by its `ConversationRunner`, for as long as the call; event loop only."""

    def __init__(
        self, context: Context | None = None, session_id: str = "", agent: str = "", models: ModelNames | None = None
    ) -> None:
        """`context`: the parent of all turns."""
        self._context = spans.of_call(session_id, context or Context()) if session_id else context
        self._agent, self._models = agent, models or ModelNames()
        self._own: dict[str, AttributeValue] = {names.SESSION_ID: session_id, names.CONVERSATION_ID: session_id}
        self._interruption = InterruptionMarks()
        self._speculations: deque[_Speculation] = deque(maxlen=MAX_SPECULATIONS)
        self._tools: OrderedDict[str, Span] = OrderedDict()
        self.client_ns = 0
        """From the transceiver to the client's ear, as far as it is known."""

    def statistics(self, round_trip_ms: float | None) -> None:
        """The transceiver reports the round trip to the client."""
        self.client_ns = int(max(0.0, min(round_trip_ms or 0.0, 60_000.0)) * 500_000)

    def turn(self, began_ns: int | None, kind: str = "") -> Span:
        """The span of a turn, begun at the caller's last sample, or now. `kind`: of a turn that no speech has begun."""
        if not spans.enabled():
            return trace.INVALID_SPAN
        began = began_ns - self.client_ns if began_ns else None
        attributes = self._own | {names.OPERATION: "invoke_agent", names.AGENT_NAME: self._agent}
        if kind:
            attributes[names.TURN_KIND] = kind
        return spans.begin(f"{names.INVOKE_AGENT} {self._agent}", self._context, began_ns=began, attributes=attributes)

    @contextmanager
    def within(self, turn: Span | None = None) -> Iterator[None]:
        """What is asked of models inside belongs to this turn; None: to the call. Their own spans join in."""
        if not spans.enabled():
            yield
            return
        parent = self._context or Context()
        token = attach(parent if turn is None else trace.set_span_in_context(turn, parent))
        try:
            yield
        finally:
            detach(token)

    # ---- the end of a turn -----------------------------------------------------------------------------

    def end(
        self,
        span: Span,
        marks: TurnMarks,
        end: End,
        language: str,
        voice: str,
        tokens: tuple[int, int],
        asked: str = "",
        answered: str = "",
    ) -> None:
        """A turn is over: its parts become children of its span.

        `asked`, `answered`: what the caller has said, and what of the answer was played. They stand on spans only
        where `ANTIPHON_TRACE_CONTENT` allows it.
        """
        if not span.is_recording():
            return
        parts = stretches(marks)
        said = content(asked, answered)
        span.set_attributes(said)
        for part in parts:
            self._child(span, part, language, voice, tokens, said if part.name == "agent" else {})
        if parts:
            span.set_attribute(names.TURN_WAIT_MS, round((parts[-1].ends - parts[0].begins) / 1e6, 1))
        if end == "interrupted" and self._interruption.decided:
            self._interrupted(span)
        span.set_attribute(names.END_REASON, end)
        span.set_attribute(names.OUTPUT_TYPE, "speech")
        if any(tokens):
            span.set_attributes({names.INPUT_TOKENS: tokens[0], names.OUTPUT_TOKENS: tokens[1]})
        if end == "failed":
            span.set_status(trace.StatusCode.ERROR, "no speech could be made of the answer")
        span.end()

    def _child(
        self,
        span: Span,
        part: Part,
        language: str,
        voice: str,
        tokens: tuple[int, int],
        said: Mapping[str, AttributeValue],
    ) -> None:
        models, kind = self._models, SpanKind.INTERNAL
        attributes: dict[str, AttributeValue] = {names.PART: part.name, **said}
        match part.name:
            case "stt":
                name, owner, kind = f"{names.SPEECH_TO_TEXT} {models.stt}".strip(), "model", SpanKind.CLIENT
                attributes |= {
                    names.OPERATION: names.SPEECH_TO_TEXT,
                    names.REQUEST_MODEL: models.stt,
                    names.INPUT_LANGUAGE: language,
                }
            case "agent" if models.chat:
                name, owner, kind = f"{names.CHAT} {models.chat}", "model", SpanKind.CLIENT
                attributes |= {names.OPERATION: names.CHAT, names.REQUEST_MODEL: models.chat}
                if any(tokens):
                    attributes |= {names.INPUT_TOKENS: tokens[0], names.OUTPUT_TOKENS: tokens[1]}
            case "agent":
                name, owner = "agent", "agent"
            case "tts":
                name, owner, kind = f"{names.TEXT_TO_SPEECH} {models.tts}".strip(), "model", SpanKind.CLIENT
                attributes |= {names.OPERATION: names.TEXT_TO_SPEECH, names.REQUEST_MODEL: models.tts}
                attributes |= {names.OUTPUT_TYPE: "speech"} | ({names.VOICE: voice} if voice else {})
            case "end_of_turn":
                name, owner = "end_of_turn", "setting"
            case _:
                name, owner = part.name, "service"
        self._write(name, span, part, owner, attributes, kind)

    def _write(
        self,
        name: str,
        parent: Span,
        part: Part,
        owner: str,
        attributes: dict[str, AttributeValue],
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        attributes = self._own | attributes | {names.OWNED_BY: owner}
        context = trace.set_span_in_context(parent, self._context)
        span = spans.begin(name, context, kind=kind, began_ns=part.begins, attributes=attributes)
        span.end(part.ends)
        return span

    # ---- interruptions ---------------------------------------------------------------------------------

    def sound_began(self, onset_ns: int | None) -> None:
        """The caller makes a sound whose first sample the transceiver received at this time."""
        self._interruption = InterruptionMarks(onset_ns or time.time_ns())

    def held(self) -> None:
        """The speech is held for it."""
        self._interruption.held = self._interruption.held or time.time_ns()

    def resumed(self) -> None:
        """It was no interruption."""
        self._interruption.held = 0

    def decided(self) -> None:
        """The agent is interrupted."""
        self._interruption.decided, self._interruption.flushed = time.time_ns(), 0

    def flushed(self) -> None:
        """What was left of the speech is dropped."""
        self._interruption.flushed = self._interruption.flushed or time.time_ns()

    def _interrupted(self, turn: Span) -> None:
        marks, self._interruption = self._interruption, InterruptionMarks()
        marks.flushed = marks.flushed or time.time_ns()
        found = interruption_stretches(marks, self.client_ns + _FADE_NS)
        whole = Part(names.INTERRUPTION, min(part.begins for part in found), max(part.ends for part in found))
        context = trace.set_span_in_context(turn, self._context)
        span = spans.begin(names.INTERRUPTION, context, began_ns=whole.begins, attributes=self._own)
        owners = {"onset": "setting", "decision": "model", "flush": "service", "silence": "network"}
        for part in found:
            self._write(part.name, span, part, owners[part.name], {})
        span.end(whole.ends)

    # ---- what is tried beforehand ------------------------------------------------------------------------

    def speculated(self, began_ns: int, used: bool) -> None:
        """A transcription that was begun in a pause has ended, or was given up. `used`: it is the turn's."""
        if began_ns and spans.enabled():
            self._speculations.append(_Speculation(began_ns, time.time_ns(), used))

    def link_speculations(self, turn: Span) -> None:
        """They were made for this turn: siblings of its span that link to it."""
        while self._speculations:
            tried = self._speculations.popleft()
            attributes = self._own | {
                names.OPERATION: names.SPEECH_TO_TEXT,
                names.REQUEST_MODEL: self._models.stt,
                names.OWNED_BY: "model",
                "antiphon.speculative": True,
                "antiphon.used": tried.used,
            }
            spans.begin(
                f"{names.SPEECH_TO_TEXT} {self._models.stt}".strip(),
                self._context,
                kind=SpanKind.CLIENT,
                began_ns=tried.began,
                links=[Link(turn.get_span_context())],
                attributes=attributes,
            ).end(tried.ended)

    # ---- tools -------------------------------------------------------------------------------------------

    def tool_called(self, turn: Span, call_id: str, tool: str, owner: str = "client") -> None:
        """A response has asked the client for this function, or the agent (`owner`) runs it itself."""
        if not spans.enabled():
            return
        attributes = self._own | {
            names.OPERATION: names.EXECUTE_TOOL,
            names.TOOL_NAME: tool,
            names.TOOL_CALL_ID: call_id,
            names.OWNED_BY: owner,
        }
        context = trace.set_span_in_context(turn, self._context)
        self._tools[call_id] = spans.begin(f"{names.EXECUTE_TOOL} {tool}", context, attributes=attributes)
        while len(self._tools) > MAX_TOOLS:
            self._tools.popitem(last=False)[1].end()

    def tool_answered(self, call_id: str, failed: bool = False) -> None:
        """Its output is on record."""
        if (span := self._tools.pop(call_id, None)) is not None:
            if failed:
                span.set_status(trace.StatusCode.ERROR, "the tool gave no result")
            span.end()

    def close(self) -> None:
        """The call has ended: tools without an output end with it."""
        for span in self._tools.values():
            span.set_attribute("antiphon.unanswered", True)
            span.end()
        self._tools.clear()
