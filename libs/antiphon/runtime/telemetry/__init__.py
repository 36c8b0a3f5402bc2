"""Logs and traces of a process: `start` sets both up, `spans` makes spans, `names` says what they are called."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.runtime.telemetry.call_trace import call_context, end_call, new_call, trace_id
from antiphon.runtime.telemetry.logs import BAD_SETTINGS, FORMATS, LEVELS, JsonFormatter, start_logs
from antiphon.runtime.telemetry.spans import start_traces, trace_context, trace_headers

__all__ = [
    "BAD_SETTINGS",
    "FORMATS",
    "LEVELS",
    "JsonFormatter",
    "call_context",
    "end_call",
    "new_call",
    "start",
    "trace_context",
    "trace_headers",
    "trace_id",
]


def start(service: str) -> Callable[[], None]:
    """Configure logs and traces of this process; returns the function to call at its end, which flushes the spans.

    Ends the process with one line and status 2 if a log setting can't be used.
    """
    start_logs(service)
    return start_traces(service)
