"""One response as the shell has it: its task, its playback, its events to the client; what its playback reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace

from antiphon.inference_bridge.agents import Agent, ToolRun
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.events import Event
from antiphon.inference_bridge.conversation.core.state import Response
from antiphon.inference_bridge.conversation.response_playback import ResponsePlayback
from antiphon.inference_bridge.conversation.tool_runs import ToolRuns
from antiphon.inference_bridge.conversation.turn_parts import MAX_TOOLS, TurnMarks
from antiphon.inference_bridge.conversation.turn_spans import TurnSpans
from antiphon.inference_bridge.realtime_protocol.server_events import RealtimeResponse
from antiphon.schemas.messages.replies import Expected


@dataclass(eq=False)
class ResponseRecord:
    """One response at work. Owned by `ResponseTasks`, from the command that names it until it is settled."""

    response: Response
    span: trace.Span
    marks: TurnMarks
    agent: Agent
    """The call's, or one of its own for a response out of band."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    realtime: RealtimeResponse | None = None
    """None: the client does not know of it."""
    playback: ResponsePlayback | None = None
    """None before there is an answer."""
    task: asyncio.Task[None] | None = None
    agent_before: Any = None
    """`Agent.saved()` before the agent was asked."""
    tools: ToolRuns | None = None
    """The agent's own; None before there is an answer."""
    generation: int = 0
    """Under which its turn is reported: the first of its speech; 0: it has none."""


class PlaybackReport:
    """What the playback of one response tells: a `PlaybackListener`. Owned by that playback, used on the event loop."""

    def __init__(
        self,
        feed: Callable[[Event], object],
        record: ResponseRecord,
        on_first_audio: Callable[[ResponseRecord], None],
        turn_spans: TurnSpans,
        on_expected: Callable[[Expected], None],
        on_person: Callable[[str], object],
    ) -> None:
        """`feed`: takes events of the core. `on_person`: a person should take over, with what to tell that person."""
        self._on_person = on_person
        self._on_expected = on_expected
        self._turn_spans = turn_spans
        self._feed, self._record, self._on_first_audio = feed, record, on_first_audio
        self._rid = record.response.rid

    def first_part(self) -> None:
        self._feed(events.FirstPart(self._rid))

    def first_audio(self) -> None:
        self._on_first_audio(self._record)

    def spoke(self, words: str) -> None:
        self._feed(events.Spoke(self._rid, words))

    def words_played(self) -> None:
        self._feed(events.WordsPlayed(self._rid))

    def called(self, call_id: str, name: str) -> None:
        if len(self._record.marks.tools) < MAX_TOOLS:
            self._record.marks.tools.append(name)
        self._turn_spans.tool_called(self._record.span, call_id, name)
        self._feed(events.Called(self._rid, call_id))

    def tool(self, run: ToolRun) -> None:
        if self._record.tools is not None:
            self._record.tools.take(run)

    def expects(self, kind: Expected) -> None:
        self._on_expected(kind)
        if kind != "anything":
            self._feed(events.Expects(self._rid))

    def wants_person(self, summary: str) -> None:
        self._on_person(summary)

    def generated(self) -> None:
        self._feed(events.Generated(self._rid))
