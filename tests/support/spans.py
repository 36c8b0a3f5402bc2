"""Spans of the test process itself, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from antiphon.runtime.telemetry import spans
from antiphon.runtime.telemetry.export import Export


class Recorded:
    """The spans that were written so far."""

    def __init__(self, export: Export, kept: InMemorySpanExporter) -> None:
        self._export, self._kept = export, kept

    def all(self) -> list[ReadableSpan]:
        self._export.flush()
        return list(self._kept.get_finished_spans())

    def one(self, name: str) -> ReadableSpan:
        (span,) = [each for each in self.all() if each.name == name]
        return span


@contextmanager
def recorded_spans() -> Iterator[Recorded]:
    """Traces are on meanwhile."""
    kept = InMemorySpanExporter()
    export = Export("test", kept)
    stop = spans.use(export)
    try:
        yield Recorded(export, kept)
    finally:
        stop()
