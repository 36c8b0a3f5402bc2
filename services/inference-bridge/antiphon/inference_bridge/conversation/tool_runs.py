"""The tools that run for a response: on record for the agent, in trace and time line, not spoken.

The client learns of those of MCP servers that it has named; of the agent's own it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from opentelemetry import trace

from antiphon.inference_bridge.agents import ToolRun
from antiphon.inference_bridge.agents.own_tools import items_of
from antiphon.inference_bridge.conversation.turn_parts import MAX_TOOLS, TurnMarks
from antiphon.inference_bridge.conversation.turn_spans import TurnSpans
from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject
from antiphon.inference_bridge.realtime_protocol.mcp_calls import McpCalls

MAX_OPEN: Final = 32
"""Tools under way at once; the oldest counts as given up."""


class ToolRuns:
    """Takes note of the agent's tools. Owned by the response's `ResponseRecord`; used on the event loop."""

    def __init__(
        self,
        put_on_record: Callable[[JsonObject], None] | None,
        turn_spans: TurnSpans,
        span: trace.Span,
        marks: TurnMarks,
        mcp_calls: McpCalls,
    ) -> None:
        """`put_on_record`: for the agent alone; None where the response is out of band."""
        self._mcp_calls = mcp_calls
        self._put_on_record, self._turn_spans, self._span, self._marks = put_on_record, turn_spans, span, marks
        self._open: dict[str, ToolRun] = {}

    def take(self, run: ToolRun) -> None:
        """A tool begins, or has ended."""
        if run.call_id not in self._open:
            self._begin(run)
        if run.output is not None:
            begun = self._open.pop(run.call_id)
            self._turn_spans.tool_answered(_key(run), run.failed)
            self._write(replace(run, name=begun.name, arguments=run.arguments or begun.arguments))

    def _begin(self, run: ToolRun) -> None:
        if len(self._open) >= MAX_OPEN:
            self._give_up(next(iter(self._open)))
        self._open[run.call_id] = run
        if run.server_label:
            self._mcp_calls.begin(run.call_id, run.server_label, run.name, run.arguments, run.approval_request_id)
        if len(self._marks.tools) < MAX_TOOLS:
            self._marks.tools.append(run.name)
        self._turn_spans.tool_called(self._span, _key(run), run.name, "agent")

    def close(self) -> None:
        """The response has ended, and with it what was under way."""
        for call_id in list(self._open):
            self._give_up(call_id)

    def _give_up(self, call_id: str) -> None:
        run = self._open.pop(call_id)
        self._turn_spans.tool_answered(_key(run), failed=True)
        self._write(run)

    def _write(self, run: ToolRun) -> None:
        if run.server_label:
            self._mcp_calls.end(run.call_id, run.output, run.failed)
        elif self._put_on_record is not None:
            for item in items_of(run):
                self._put_on_record(item)


def _key(run: ToolRun) -> str:
    return f"agent/{run.call_id}"  # apart from the calls of functions that the client answers
