"""The SDK of OpenTelemetry, set up: resource, sampler, and a bounded queue before the OTLP/HTTP exporter.

Loaded only when traces are on. Only the public interface of the SDK is used.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision
from opentelemetry.trace import Link, Span, SpanContext
from opentelemetry.util.types import AttributeValue

log = logging.getLogger("antiphon.traces")

MAX_QUEUE: Final = 4096
"""Spans that wait, some 8 MB; further ones are dropped, and counted."""
BATCH: Final = 512
EVERY_SECONDS: Final = 0.5
"""Between two batches."""
EXPORT_SECONDS: Final = 5.0
"""For the collector to take one batch, repetitions included."""
STOP_SECONDS: Final = 2.0
"""At the end of the process, for the last spans."""


class Export:
    """The tracers of a process and what sends their spans.

    Owner: `spans`, from `start_traces` to the end of the process. Spans may begin and end in any thread.
    """

    def __init__(self, service: str, exporter: SpanExporter | None = None) -> None:
        """`exporter`: in place of the one to the OTLP endpoint."""
        # one line of ours says that the collector does not answer; the exporter would say it with each batch
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
        self._queue = ExportQueue(exporter or OTLPSpanExporter(timeout=EXPORT_SECONDS))
        resource = Resource.create(_resource(service))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(self._queue)
        self.tracer = self._provider.get_tracer("antiphon")
        self._ids = GivenIds()
        given = TracerProvider(resource=resource, sampler=ALWAYS_ON, id_generator=self._ids, shutdown_on_exit=False)
        given.add_span_processor(self._queue)
        self._given = given.get_tracer("antiphon")

    def make_global(self) -> None:
        """Spans of libraries in this process go the same way."""
        trace.set_tracer_provider(self._provider)

    @property
    def dropped(self) -> int:
        """Spans that were not sent."""
        return self._queue.dropped

    def would_sample(self, context: Context, trace_id: int, name: str) -> bool:
        """Whether the sampler of this process records a new span in `context`."""
        return self._provider.sampler.should_sample(context, trace_id, name).decision is Decision.RECORD_AND_SAMPLE

    def start_given(
        self,
        name: str,
        context: Context,
        ids: SpanContext,
        *,
        began_ns: int,
        links: Sequence[Link],
        attributes: Mapping[str, AttributeValue],
    ) -> Span:
        """A span with these ids. `context` names the parent, of the same trace, if there is one."""
        with self._ids.next_are(ids):
            return self._given.start_span(
                name, context=context, start_time=began_ns, links=links, attributes=attributes
            )

    def flush(self) -> None:
        """Wait until all spans that have ended are sent."""
        self._queue.force_flush()

    def stop(self) -> None:
        """Send the last spans, for `STOP_SECONDS` at most."""
        self._provider.shutdown()


class GivenIds(IdGenerator):
    """Gives a span the ids that it already has. Owner: `Export`; used by one thread at a time."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._next: SpanContext | None = None
        self._lock = threading.Lock()

    def next_are(self, ids: SpanContext) -> _Given:
        """Until the end of this context, each new span has these ids."""
        return _Given(self, ids)

    def generate_trace_id(self) -> int:
        return self._next.trace_id if self._next is not None else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        return self._next.span_id if self._next is not None else self._random.generate_span_id()

    def hold(self, ids: SpanContext) -> None:
        """Other threads wait until `release`."""
        self._lock.acquire()
        self._next = ids

    def release(self) -> None:
        self._next = None
        self._lock.release()


class _Given:
    def __init__(self, generator: GivenIds, ids: SpanContext) -> None:
        self._generator, self._ids = generator, ids

    def __enter__(self) -> None:
        self._generator.hold(self._ids)

    def __exit__(self, *_: object) -> None:
        self._generator.release()


class ExportQueue(SpanProcessor):
    """Spans that wait for the exporter, and the thread that sends them.

    Owner: `Export`. `on_end` may be called in any thread and never waits. Policy when full: the new span is dropped and
    counted. A batch that the collector does not take is dropped and counted, too: what comes next is of more use.
    """

    def __init__(self, exporter: SpanExporter, size: int = MAX_QUEUE, every: float = EVERY_SECONDS) -> None:
        self._exporter, self._size, self._every = exporter, size, every
        self._waiting: deque[ReadableSpan] = deque()
        self._wake, self._done = threading.Event(), threading.Event()
        self._stopping = self._sending = False
        self._failed = 0
        self._full = 0
        self._reachable = True
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Spans that were not sent."""
        return self._failed + self._full

    def on_end(self, span: ReadableSpan) -> None:
        """A span has ended."""
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return
        if self._stopping or len(self._waiting) >= self._size:
            self._full += 1
            return
        self._waiting.append(span)
        if len(self._waiting) == BATCH:
            self._wake.set()

    def shutdown(self) -> None:
        """Send what waits, for `STOP_SECONDS` at most."""
        if self._stopping:
            return
        self._stopping = True
        self._wake.set()
        self._done.wait(STOP_SECONDS)
        self._exporter.shutdown()  # ends the repetitions of a batch that the collector does not take
        self._done.wait(STOP_SECONDS / 4)
        if self._waiting:
            log.warning("%d spans were not sent: the collector has not taken them in time", len(self._waiting))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until nothing waits; False if that takes too long."""
        until = time.monotonic() + timeout_millis / 1000
        while (self._waiting or self._sending) and time.monotonic() < until:
            self._wake.set()
            time.sleep(0.005)
        return not self._waiting

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._every)
            self._wake.clear()
            self._send_all()
        self._send_all()
        self._done.set()

    def _send_all(self) -> None:
        while self._waiting:
            self._sending = True
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                sent = self._exporter.export(batch) is SpanExportResult.SUCCESS
            except Exception:
                log.debug("spans can't be sent", exc_info=True)
                sent = False
            if not sent:
                self._failed += len(batch)
            if sent != self._reachable:
                self._reachable = sent
                if sent:
                    log.info("the collector takes spans again; %d were dropped so far", self.dropped)
                else:
                    log.warning("the collector of OTEL_EXPORTER_OTLP_ENDPOINT takes no spans: they are dropped")
        self._sending = False


def _resource(service: str) -> dict[str, AttributeValue]:
    try:
        version = importlib.metadata.version("antiphon")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    return {
        "service.name": f"antiphon-{service}",
        "service.namespace": "antiphon",
        "service.version": version,
        "service.instance.id": secrets.token_hex(8),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
