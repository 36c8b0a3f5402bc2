"""An OTLP/HTTP receiver for benches and tests, which keeps the spans and metrics that services send it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status


class Span(NamedTuple):
    """What benches and tests look at."""

    name: str
    span_id: str
    parent_id: str
    began_ns: int
    ended_ns: int
    attributes: dict[str, str]
    """All values as text."""
    trace_id: str = ""
    service: str = ""
    links: tuple[str, ...] = ()
    """Ids of the spans that it links to."""
    failed: bool = False
    resource: Mapping[str, str] = MappingProxyType({})
    events: tuple[Mapping[str, str], ...] = ()
    """Attributes of its events."""


class OtlpReceiver:
    """Spans in the order in which they came; the receiver's threads add to them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []
        self.metrics: list[ExportMetricsServiceRequest] = []

    def of_trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace so far."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def take(self, body: bytes) -> None:
        """Spans have come."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: _text(each.value) for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        span.name,
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        {each.key: _text(each.value) for each in span.attributes},
                        span.trace_id.hex(),
                        names.get("service.name", ""),
                        tuple(link.span_id.hex() for link in span.links),
                        span.status.code == Status.STATUS_CODE_ERROR,
                        names,
                        tuple({each.key: _text(each.value) for each in event.attributes} for event in span.events),
                    )
                    for span in scope.spans
                ]


def _text(value: AnyValue) -> str:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return str(value.double_value)
        case "bool_value":
            return str(value.bool_value).lower()
        case _:
            return str(value)


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """On a free port of loopback; `url` is for OTEL_EXPORTER_OTLP_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            if self.path.endswith("/v1/traces"):
                receiver.take(body)
            elif self.path.endswith("/v1/metrics"):
                receiver.metrics.append(ExportMetricsServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
