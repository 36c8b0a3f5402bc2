"""Logs and traces: set up alike in every service, so that one call is one trace.

Traces are off unless an OTLP endpoint is set by the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT` or
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`); then the SDK and its OTLP/HTTP exporter are loaded. Spans belong to
sessions, turns and control messages, never to frames: one costs 30-90 us.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from opentelemetry import trace


def start(service: str) -> Callable[[], None]:
    """Configure logs and traces of this process; returns what to call at its end (flushes the spans)."""
    logging.basicConfig(
        level=os.environ.get("ANTIPHON_LOG_LEVEL", "INFO").upper(),
        format=f"%(asctime)s %(levelname)s {service} %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
    if not (os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"antiphon-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    return provider.shutdown
