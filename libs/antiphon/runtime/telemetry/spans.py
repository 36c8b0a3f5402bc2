"""Traces: set up alike in every service, so that one call is one trace.

They are off unless an OTLP endpoint is set by the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT` or
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`); then the SDK and its OTLP/HTTP exporter are loaded. While they are off no tracer
exists, every span is the one of the API that records nothing, and the context of a message is passed on as it came.
Spans belong to calls, turns and control messages, never to frames: one costs 30-90 us.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from antiphon.runtime.telemetry import attributes as styles
from antiphon.runtime.telemetry import names

if TYPE_CHECKING:
    from antiphon.runtime.telemetry.export import Export

_exports: Final[list[Export]] = []
"""The one of the process, from `start_traces` until it is stopped; empty: traces are off."""
_CALL: Final = contexts.create_key("antiphon-call")
"""In a context: the id of the call that it belongs to."""
_FRAMES: Final = 30
_MAX_STACKTRACE: Final = 8000
"""Innermost frames and characters of a stack that a span holds."""


def enabled() -> bool:
    """Whether spans of this process are recorded."""
    return bool(_exports)


def dropped() -> int:
    """Spans of this process that were not sent: the queue was full, or the collector has not taken them."""
    return _exports[0].dropped if _exports else 0


def start_traces(service: str) -> Callable[[], None]:
    """Configure traces of this process; returns the function to call at its end, which sends the last spans."""
    if not (os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        return lambda: None
    from antiphon.runtime.telemetry.export import Export

    export = Export(service)
    export.make_global()
    return use(export)


def use(export: Export) -> Callable[[], None]:
    """All spans of this process go to `export` from now on; returns the function that ends that."""
    _exports[:] = [export]

    def stop() -> None:
        _exports.clear()
        export.stop()

    return stop


def of_call(session_id: str, context: Context | None = None) -> Context:
    """A context whose spans name this call, and so do the log lines written in it."""
    return contexts.set_value(_CALL, session_id, context)


def current_call() -> str:
    """The call that the current context belongs to; empty: none."""
    return str(contexts.get_value(_CALL) or "")


@contextlib.contextmanager
def inside(context: Context) -> Iterator[None]:
    """A block in which this context is the current one, without a span around it."""
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


def name_call(span: Span, session_id: str) -> None:
    """Name the call on a span that was begun before the call had a name."""
    span.set_attributes(styles.of_call(session_id))


def begin(
    name: str,
    context: Context | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    began_ns: int | None = None,
    links: Sequence[Link] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Span:
    """A span that the caller ends, in `context` or the current one. `began_ns`: Unix time, if it is not now."""
    if not _exports:
        return INVALID_SPAN
    return _exports[0].tracer.start_span(
        name,
        context=context,
        kind=kind,
        start_time=began_ns,
        links=links,
        attributes=_completed(name, context, attributes),
    )


def begin_root(
    name: str,
    context: Context,
    ids: SpanContext,
    *,
    began_ns: int,
    links: Sequence[Link] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Span:
    """A span with ids that were made elsewhere; that it is recorded was decided there, too. For `call_trace`."""
    if not _exports:
        return INVALID_SPAN
    return _exports[0].start_given(
        name, context, ids, began_ns=began_ns, links=links, attributes=_completed(name, context, attributes)
    )


@contextlib.contextmanager
def current(
    name: str,
    context: Context | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    links: Sequence[Link] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
    record_exception: bool = True,
) -> Iterator[Span]:
    """A span around a block, the parent of all spans that are begun inside. An exception marks it as failed.

    `record_exception` False: the block itself says what has failed.

    While traces are off, `context` is the current one inside all the same: messages pass it on.
    """
    token = contexts.attach(context) if context is not None else None
    try:
        if not _exports:
            yield INVALID_SPAN
            return
        with _exports[0].tracer.start_as_current_span(
            name,
            kind=kind,
            links=links,
            attributes=_completed(name, None, attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                if record_exception:
                    fail(span, error)
                raise
    finally:
        if token is not None:
            contexts.detach(token)


def fail(span: Span, error: BaseException) -> None:
    """An exception has ended what the span is of.

    Its text stays out unless content is allowed: it is often what was said that a function could not read.
    """
    event: dict[str, AttributeValue] = {
        names.EXCEPTION_TYPE: type(error).__qualname__,
        names.EXCEPTION_STACKTRACE: "".join(traceback.format_tb(error.__traceback__, -_FRAMES))[:_MAX_STACKTRACE],
    }
    if styles.content_allowed():
        event[names.EXCEPTION_MESSAGE] = str(error)[: styles.MAX_CONTENT]
    span.add_event("exception", event)
    span.set_status(Status(StatusCode.ERROR, type(error).__qualname__))


def traceparent(context: Context | None = None) -> str:
    """Of the span in `context`, by default the current one, as a header has it (W3C); empty: nothing is traced."""
    own = trace.get_current_span(context).get_span_context()
    if not own.is_valid or not _exports:
        return ""
    return f"00-{own.trace_id:032x}-{own.span_id:016x}-{int(own.trace_flags):02x}"


def traceparent_header() -> dict[str, str]:
    """For a request to a service of others: `traceparent` of the current span, and nothing else of ours."""
    own = traceparent()
    return {"traceparent": own} if own else {}


def would_sample(context: Context, trace_id: int, name: str) -> bool:
    """Whether the sampler of this process records a new span in `context`; while traces are off, as that says."""
    if _exports:
        return _exports[0].would_sample(context, trace_id, name)
    parent = trace.get_current_span(context).get_span_context()
    return not parent.is_valid or parent.trace_flags.sampled


def trace_headers(context: Context | None = None) -> dict[str, str]:
    """The trace context, by default the current one, as NATS headers; empty when nothing is being traced."""
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    return headers


def trace_context(headers: Mapping[str, str] | None) -> Context:
    """The trace context that a NATS message carries."""
    return propagate.extract(headers or {})


def _completed(
    name: str, context: Context | None, attributes: Mapping[str, AttributeValue] | None
) -> Mapping[str, AttributeValue]:
    session_id = str(contexts.get_value(_CALL, context) or "")
    return {**styles.of_span(name), **(styles.of_call(session_id) if session_id else {}), **(attributes or {})}
