"""The turns of an agent that speaks, for operators: how long a caller waited, and how much of it was the agent's.

A turn begins with the caller's last sample, as far as `detect_speech` finds it, and is answered by the next speech.
What is known of it here: `receive`, `end_of_turn` (the silence that the detector waits for) and `agent`, all up to the
first frame that is sent. The call's owner adds the parts behind it. Without `detect_speech`, or where no speech of the
caller came before, only `agent` is known: from the begin of the `speak` block on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from opentelemetry import trace
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from antiphon.agent.events import SpeechStarted, SpeechStopped
from antiphon.runtime import telemetry
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame

_REMEMBERED: Final = 64
"""Frames whose times are known: more than the silence after which speech counts as over."""
_ANSWERS_WITHIN_NS: Final = 30_000_000_000
"""A speech that comes later answers nothing: the agent had ignored a sound, and speaks for a reason of its own."""
_MAX_MS: Final = 600_000.0
"""The greatest that a message may hold."""
_OWNERS: Final[Mapping[str, str]] = {"receive": "service", "end_of_turn": "setting", "agent": "agent"}
SPEECH: Final = "speech"
"""Kind of a turn that no speech of the caller has begun."""


class Part(NamedTuple):
    """One stretch of a turn, Unix time in ns. A value."""

    name: str
    begins: int
    ends: int


class CallerStopped(NamedTuple):
    """The caller has spoken, Unix times in ns. A value."""

    received: int
    """The transceiver had the last sample."""
    came: int
    """It was here: what is behind `received` is the way."""
    decided: int
    """The detector has taken the speech as over."""
    last_sample: int


@dataclass
class _Turn:
    generation: int
    number: int
    parts: list[Part]
    last_sample: int
    span: Span
    traceparent: str


def parts_of(stopped: CallerStopped | None, began: int, first_frame: int) -> list[Part]:
    """In order, without gaps; the last one ends with the first frame. `began`: of the `speak` block."""
    if stopped is None:
        return [Part("agent", min(began, first_frame), first_frame)]
    at, out = stopped.received, []
    for name, until in (("receive", stopped.came), ("end_of_turn", stopped.decided), ("agent", first_frame)):
        out.append(Part(name, at, at := max(at, until)))
    return out


class TurnReports:
    """Reports the turns of one call. Owned by its `Session`, which calls it on the event loop."""

    def __init__(self, session_id: str, agent: str, call_trace: Mapping[str, str]) -> None:
        """`call_trace`: of the lease: the parent of all turns."""
        self._context = spans.of_call(session_id, telemetry.trace_context(call_trace))
        self._agent = agent
        self._times: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        """Of each frame its end, as a sample's number, and when the transceiver had it."""
        self._stopped: CallerStopped | None = None
        self._turn: _Turn | None = None
        self._number = 0
        self._way_ns = 0
        """From the client to the transceiver."""

    def statistics(self, round_trip_ms: float | None) -> None:
        """The transceiver reports the round trip to the client."""
        self._way_ns = int(max(0.0, min(round_trip_ms or 0.0, 60_000.0)) * 500_000)

    def received(self, frame: AudioFrame, event: SpeechStarted | SpeechStopped | None, now_ns: int) -> None:
        """A frame of the caller, and what the detector makes of it."""
        self._times.append((frame.first_sample + len(frame.pcm) // 2, frame.captured_ns))
        if isinstance(event, SpeechStopped):
            last = round(event.at * frame.rate)
            received = next((at for end, at in reversed(self._times) if at and end <= last + frame.rate // 100), 0)
            if received:
                received = min(received, now_ns)
                came = min(received + max(0, now_ns - frame.captured_ns), now_ns)
                self._stopped = CallerStopped(received, came, now_ns, last)

    def first_frame(self, generation: int, began_ns: int, now_ns: int) -> messages.ReportTurn:
        """The first frame of a speech is sent: what to report. `began_ns`: of its block."""
        stopped, self._stopped = self._stopped, None
        if stopped is not None and now_ns - stopped.decided > _ANSWERS_WITHIN_NS:
            stopped = None
        parts = parts_of(stopped, began_ns, now_ns)
        self._number += 1
        span = self._span(parts, stopped is not None)
        traceparent = spans.traceparent(trace.set_span_in_context(span, self._context)) if span.is_recording() else ""
        last_sample = stopped.last_sample if stopped is not None else 0
        self._turn = _Turn(generation, self._number, parts, last_sample, span, traceparent)
        return self._report(self._turn, None)

    def over(self, complete: bool) -> messages.ReportTurn | None:
        """The speech is over: what to report; None if none of it was sent."""
        turn, self._turn = self._turn, None
        if turn is None:
            return None
        end: messages.TurnEnd = "completed" if complete else "interrupted"
        turn.span.set_attributes({names.END_REASON: end, names.OUTPUT_TYPE: "speech"})
        turn.span.end()
        return self._report(turn, end)

    def close(self) -> None:
        """The session is over."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.span.set_attribute(names.END_REASON, "session_closed")
            turn.span.end()

    def _span(self, parts: list[Part], is_spoken: bool) -> Span:
        attributes: dict[str, AttributeValue] = {
            names.OPERATION: "invoke_agent",
            names.AGENT_NAME: self._agent,
            names.TURN_WAIT_MS: round((parts[-1].ends - parts[0].begins) / 1e6, 1),
        }
        if not is_spoken:
            attributes[names.TURN_KIND] = SPEECH
        began = parts[0].begins - (self._way_ns if is_spoken else 0)
        span = spans.begin(f"{names.INVOKE_AGENT} {self._agent}", self._context, began_ns=began, attributes=attributes)
        if span.is_recording():
            inside = trace.set_span_in_context(span, self._context)
            for part in parts:
                owned = {names.PART: part.name, names.OWNED_BY: _OWNERS[part.name]}
                spans.begin(part.name, inside, began_ns=part.begins, attributes=owned).end(part.ends)
        return span

    def _report(self, turn: _Turn, end: messages.TurnEnd | None) -> messages.ReportTurn:
        parts = {part.name: min(_MAX_MS, (part.ends - part.begins) / 1e6) for part in turn.parts}
        told = messages.Turn(
            number=turn.number,
            generation=turn.generation,
            began=turn.parts[0].begins / 1e9,
            parts=messages.TurnParts(**parts),
            end=end,
            trace=turn.traceparent,
        )
        return messages.ReportTurn(turn=told, last_sample=turn.last_sample, published=turn.parts[-1].ends / 1e9)
