"""Spans on their way to a collector that refuses, fails or hangs: no call waits, and what is lost is counted."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from antiphon.runtime.telemetry import export, spans
from antiphon.runtime.telemetry.export import Export, ExportQueue

pytestmark = pytest.mark.process


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A collector that answers each request so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def silent() -> Iterator[str]:
    """A collector that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    """Nothing listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("collector", [refusing, silent, lambda: answering(500), lambda: answering(503)])
def test_a_collector_that_takes_nothing_costs_one_line_and_some_seconds_at_the_end(
    collector: Callable[[], object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(export, "EXPORT_SECONDS", 0.3)
    monkeypatch.setattr(export, "STOP_SECONDS", 0.6)
    caplog.set_level(logging.INFO)
    with collector() as url:  # type: ignore[attr-defined]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        exporting = Export("test")
        stop = spans.use(exporting)
        for _ in range(3):
            spans.begin("one").end()
        until = time.monotonic() + 20
        while not exporting.dropped and time.monotonic() < until:
            time.sleep(0.01)
        spans.begin("another").end()
        stop()
    assert exporting.dropped == 4
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in said] == ["antiphon.traces"], [record.getMessage() for record in said]


class Slow(SpanExporter):
    """Takes a batch when it is allowed to."""

    def __init__(self) -> None:
        self.may_go_on, self.began = threading.Event(), threading.Event()
        self.taken: list[str] = []

    def export(self, spans: object) -> SpanExportResult:
        self.began.set()
        self.may_go_on.wait(20)
        assert isinstance(spans, list)
        self.taken += [span.name for span in spans]
        return SpanExportResult.SUCCESS


def test_a_full_queue_drops_the_newest_counts_them_and_lets_nobody_wait() -> None:
    exporter = Slow()
    queue = ExportQueue(exporter, size=8, every=0.01)
    whole = Export("test", exporter)
    made: list[ReadableSpan] = []
    for number in range(20):
        span = whole.tracer.start_span(str(number))
        span.end()
        assert isinstance(span, ReadableSpan)
        made.append(span)
    queue.on_end(made[0])
    assert exporter.began.wait(10)
    while queue.waiting:  # the first one is with the exporter
        time.sleep(0.001)
    for ended in made[1:]:
        queue.on_end(ended)
    assert queue.dropped == 11
    exporter.may_go_on.set()
    queue.force_flush()
    queue.shutdown()
    whole.stop()
    assert queue.dropped == 11
    queue.on_end(made[0])
    assert queue.dropped == 12, "after the end"
