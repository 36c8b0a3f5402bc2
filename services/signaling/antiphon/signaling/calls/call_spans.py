"""Spans of requests about a running call, or about one that has ended: they belong into that call's trace.

Only the owner of the call knows its trace, for two minutes after its end, too. It is asked after the request is
answered, so that tracing costs no client any time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from nats.errors import Error as NatsError
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from starlette.requests import HTTPConnection

from antiphon.runtime import telemetry
from antiphon.runtime.telemetry import names, spans
from antiphon.runtime.telemetry.call_trace import client_context
from antiphon.schemas import MalformedError
from antiphon.schemas.messages import CallStatus, CallTrace, decode
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.placement.backend import Backend

MAX_WAITING: Final = 256
"""Spans whose call is being asked for; a further one is written into the trace of its client's request alone."""
ASK_SECONDS: Final = 0.5


class CallSpans:
    """Writes these spans.

    Owner: `Services`, for the life of the process, whose end drops what waits; handlers call it on the event loop.
    """

    def __init__(self) -> None:
        self._waiting: set[asyncio.Task[None]] = set()

    def write(
        self,
        backend: Backend,
        name: str,
        session_id: str,
        headers: Mapping[str, str],
        began_ns: int,
        error: ApiError | None = None,
    ) -> None:
        """A request that ends now. `headers`: of the request. `error`: what it is answered with, if it is one."""
        if not spans.enabled():
            return
        client, ended_ns = client_context(headers), time.time_ns()
        if len(self._waiting) >= MAX_WAITING:
            _write(name, session_id, None, client, began_ns, ended_ns, error)
            return

        async def ask_and_write() -> None:
            call = await _trace_of(backend, session_id)
            _write(name, session_id, call, client, began_ns, ended_ns, error)

        task = asyncio.create_task(ask_and_write())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)


@contextmanager
def call_span(request: HTTPConnection, backend: Backend, name: str, session_id: str) -> Iterator[None]:
    """The block answers a request about this call; what it raises is what the request is answered with."""
    began_ns = time.time_ns()
    refused: ApiError | None = None
    try:
        yield
    except ApiError as error:
        refused = error
        raise
    finally:
        spans_of: CallSpans = request.app.state.services.call_spans
        spans_of.write(backend, name, session_id, dict(request.headers), began_ns, refused)


async def _trace_of(backend: Backend, session_id: str) -> CallTrace | None:
    """None: no process knows the call, or it is not traced."""
    try:
        answer = await backend.ask_owner("status", session_id, b"", ASK_SECONDS)
        root = decode(answer.data, CallStatus).trace
        return CallTrace(parent=root, began=0) if root else None
    except (NatsError, MalformedError, ValueError, ApiError):
        return None


def _write(
    name: str,
    session_id: str,
    call: CallTrace | None,
    client: Context,
    began_ns: int,
    ended_ns: int,
    error: ApiError | None,
) -> None:
    asker = trace.get_current_span(client).get_span_context()
    context, links = telemetry.call_context(call, session_id), []
    if call is None or f"{asker.trace_id:032x}" == call.parent[3:35]:
        context = spans.of_call(session_id, client)
    elif asker.is_valid:
        links = [Link(asker)]
    span = spans.begin(name, context, kind=SpanKind.SERVER, began_ns=began_ns, links=links)
    if error is not None:
        span.set_attribute(names.REFUSED, error.code)
        if error.status >= 500:
            span.set_status(Status(StatusCode.ERROR, error.code))
    span.end(ended_ns)
