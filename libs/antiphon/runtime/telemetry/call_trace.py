"""The root span `call` of a call: its ids are made with the offer, and the process that owns the call last writes it.

So the ids travel: in `OpenRequest.trace`, in the checkpoint, and in the trace headers of every message about the call.
No process has the span open meanwhile, so that none that dies takes it along.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue
from pydantic import ValidationError

from antiphon.runtime.telemetry import names, spans
from antiphon.schemas.messages import CallTrace

_W3C: Final = TraceContextTextMapPropagator()
FAILURES: Final = frozenset({"internal", "draining", "agent_lost"})
"""Reasons of `Ended` that are failures of the operator's side. A client that goes away, or never comes, is none."""
FAILED_AGENT: Final = frozenset({"agent_lost", "agent_error"})
"""Causes of a hang-up, likewise."""


def new_call(headers: Mapping[str, str] | None = None) -> CallTrace:
    """The ids of a new call. `headers`: of the client's request; the call is a child of the span that they name.

    Whether it is recorded the client says, where it has a trace; else the sampler of this process, and where traces are
    off here, the processes behind it.
    """
    client = client_context(headers)
    parent = trace.get_current_span(client).get_span_context()
    trace_id = parent.trace_id if parent.is_valid else secrets.randbits(128) or 1
    sampled = spans.would_sample(client, trace_id, names.CALL)
    return CallTrace(
        parent=_traceparent(trace_id, secrets.randbits(64) or 1, sampled),
        client=_traceparent(trace_id, parent.span_id, parent.trace_flags.sampled) if parent.is_valid else "",
        began=time.time(),
    )


def client_context(headers: Mapping[str, str] | None) -> Context:
    """The trace that a client's request belongs to. Nothing else that it says is passed on, such as baggage."""
    return _W3C.extract(headers or {}, Context())


def read(call: CallTrace | Mapping[str, Any] | None) -> CallTrace | None:
    """As `SessionState.call_trace` keeps it; None for an empty one, and for one that can't be read."""
    if isinstance(call, CallTrace):
        return call
    if not call:
        return None
    try:
        return CallTrace.model_validate(call)
    except ValidationError:
        return None


def call_context(call: CallTrace | Mapping[str, Any] | None, session_id: str = "") -> Context:
    """The context of the call's spans: each begun in it is a child of the root span, and names the call."""
    known = read(call)
    context = _W3C.extract({"traceparent": known.parent}, Context()) if known is not None else Context()
    return spans.of_call(session_id, context) if session_id else context


def trace_id(call: CallTrace | Mapping[str, Any] | None) -> str:
    """Of the call's trace, 32 hexadecimal digits; empty: it is not recorded, or traces are off here."""
    known = read(call)
    recorded = spans.enabled() and known is not None and known.parent.endswith("1")
    return known.parent[3:35] if recorded and known is not None else ""


def end_call(
    call: CallTrace | Mapping[str, Any] | None,
    session_id: str,
    reason: str,
    cause: str = "",
    *,
    failed: bool | None = None,
    name: str = names.CALL,
    attributes: Mapping[str, AttributeValue] | None = None,
    links: Sequence[Link] = (),
) -> None:
    """Write the root span, which ends now. Each call has one owner, which calls this once.

    `failed`: by a failure of ours; None: as `reason` and `cause` say. Nothing is written where the call is not sampled.
    """
    known = read(call)
    if known is None or not trace_id(known):
        return
    root = trace.get_current_span(call_context(known)).get_span_context()
    parent = client_context({"traceparent": known.client}) if known.client else Context()
    span = spans.begin_root(
        name,
        spans.of_call(session_id, parent) if session_id else parent,
        root,
        began_ns=int(known.began * 1e9),
        links=links,
        attributes={names.CALL_REASON: reason, **({names.CALL_CAUSE: cause} if cause else {}), **(attributes or {})},
    )
    if failed if failed is not None else is_failure(reason, cause):
        span.set_status(Status(StatusCode.ERROR, cause or reason))
    span.end()


def is_failure(reason: str, cause: str = "") -> bool:
    """Whether a call that ended so has ended by a failure of ours, or of the operator's agent."""
    return reason in FAILURES or cause in FAILED_AGENT


def _traceparent(trace_id: int, span_id: int, sampled: bool) -> str:
    return f"00-{trace_id:032x}-{span_id:016x}-{int(sampled):02x}"
