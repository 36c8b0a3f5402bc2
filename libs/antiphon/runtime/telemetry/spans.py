"""Traces: set up alike in every service, so that one call is one trace.

They are off unless an OTLP endpoint is set by the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT` or
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`); then the SDK and its OTLP/HTTP exporter are loaded. While they are off no tracer
exists, and every span is the one of the API that records nothing. Spans belong to calls, turns and control messages,
never to frames: one costs 30-90 us.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

_tracers: Final[list[Tracer]] = []
"""The one tracer of the process, from `start_traces` until it is stopped; empty: traces are off."""


def enabled() -> bool:
    """Whether spans of this process are recorded."""
    return bool(_tracers)


def start_traces(service: str) -> Callable[[], None]:
    """Configure traces of this process; returns the function to call at its end, which sends the last spans."""
    if not (os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"antiphon-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    _tracers[:] = [provider.get_tracer("antiphon")]

    def stop() -> None:
        _tracers.clear()
        provider.shutdown()

    return stop


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
    if not _tracers:
        return INVALID_SPAN
    return _tracers[0].start_span(
        name, context=context, kind=kind, start_time=began_ns, links=links, attributes=attributes
    )


@contextlib.contextmanager
def current(
    name: str,
    context: Context | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    links: Sequence[Link] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """A span around a block, the parent of all spans that are begun inside. An exception marks it as failed."""
    if not _tracers:
        yield INVALID_SPAN
        return
    with _tracers[0].start_as_current_span(
        name, context=context, kind=kind, links=links, attributes=attributes
    ) as span:
        yield span


def trace_headers() -> dict[str, str]:
    """The current trace context as NATS headers; empty when nothing is being traced."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def trace_context(headers: Mapping[str, str] | None) -> Context:
    """The trace context that a NATS message carries."""
    return propagate.extract(headers or {})
