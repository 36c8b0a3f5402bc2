"""Logs, set up alike in every service.

They go to stderr, one line each: text for people, or with `ANTIPHON_LOG_FORMAT=json` one JSON object per line with
`time` (RFC 3339, UTC), `level`, `service`, `logger`, `message`, `fields` (the `extra=` of the call), and where there
is one `exception`, `call_id` and `trace_id`. A line belongs to the call of its context, of its field `session`, or else
to the first call that its text names; its trace is that of the context, or of that call in this process.
No service puts a client's address into a line at INFO or above.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from opentelemetry import trace

from antiphon.runtime.telemetry import call_trace, spans

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS: Final = ("text", "json")
HTTP_CLIENTS: Final = ("httpx", "httpx2", "httpcore", "httpcore2", "openai")
"""They log a line for each request at INFO, and more at DEBUG: URLs, headers."""
BAD_SETTINGS: Final = 2
"""Exit status of a process whose settings can't be used."""
_CALL_ID: Final = re.compile(r"\brtc_[A-Za-z0-9]{24}\b")
_ORDINARY: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON. Owned by the log handler of the process; called by any thread."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            "fields": {name: value for name, value in record.__dict__.items() if name not in _ORDINARY},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        context = trace.get_current_span().get_span_context()
        call_id = spans.current_call() or _call_named_in(record, entry["message"])
        if call_id:
            entry["call_id"] = call_id
        if context.is_valid:
            entry["trace_id"] = format(context.trace_id, "032x")
        elif known := call_trace.trace_of(call_id):
            entry["trace_id"] = known
        return json.dumps(entry, default=str, ensure_ascii=False)


def _call_named_in(record: logging.LogRecord, message: object) -> str:
    session = getattr(record, "session", None)
    if isinstance(session, str):
        return session
    named = _CALL_ID.search(str(message))
    return named[0] if named else ""


def start_logs(service: str) -> None:
    """Configure the logs of this process.

    Ends the process with one line and status 2 if a setting can't be used.
    """
    level = _choice(service, "ANTIPHON_LOG_LEVEL", "INFO", LEVELS, str.upper)
    handler = logging.StreamHandler(sys.stderr)
    if _choice(service, "ANTIPHON_LOG_FORMAT", "text", FORMATS, str.lower) == "json":
        handler.setFormatter(JsonFormatter(service))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {service} %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for client in HTTP_CLIENTS:
        logging.getLogger(client).setLevel(max(logging.getLevelName(level), logging.WARNING))


def _choice(service: str, variable: str, default: str, choices: tuple[str, ...], spelled: Callable[[str], str]) -> str:
    given = os.environ.get(variable, "").strip()
    value = spelled(given or default)
    if value not in choices:
        print(f"antiphon-{service}: {variable}: {given!r:.40} is none of {', '.join(choices)}", file=sys.stderr)
        sys.exit(BAD_SETTINGS)
    return value
