"""Logs and traces of a process: `start` sets both up, `spans` makes spans, `names` says what they are called."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.runtime.telemetry.logs import BAD_SETTINGS, FORMATS, LEVELS, JsonFormatter, start_logs
from antiphon.runtime.telemetry.spans import start_traces, trace_context, trace_headers

__all__ = ["BAD_SETTINGS", "FORMATS", "LEVELS", "JsonFormatter", "start", "trace_context", "trace_headers"]


def start(service: str) -> Callable[[], None]:
    """Configure logs and traces of this process; returns the function to call at its end, which flushes the spans.

    Ends the process with one line and status 2 if a log setting can't be used.
    """
    start_logs(service)
    return start_traces(service)
