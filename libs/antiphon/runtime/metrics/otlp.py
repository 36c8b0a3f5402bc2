"""Metrics by OTLP/HTTP, with exemplars: the same cells as on Prometheus' page, sent by the exporter of OpenTelemetry.

Loaded only where `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` is set. The cells are read on
the event loop; a thread sends them, so that a slow collector delays nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Iterable
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Exemplar as OtlpExemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from antiphon.runtime.metrics.metrics import Metrics
from antiphon.runtime.metrics.store import Buckets, Cell, Exemplar, Series

log = logging.getLogger(__name__)

INTERVAL_VARIABLE: Final = "OTEL_METRIC_EXPORT_INTERVAL"
INTERVAL_SECONDS: Final = 60.0
"""The default of the OpenTelemetry specification."""
_UNITS: Final = {"seconds": "s", "bytes": "By", "ratio": "1", "": "1"}
_SCOPE: Final = InstrumentationScope("antiphon")


class OtlpMetrics:
    """Sends all metrics again and again. Owner: `MetricsService`: `run` is its task, `send` also at the end."""

    def __init__(self, metrics: Metrics, version: str, instance: str) -> None:
        self._metrics = metrics
        self._began_ns = time.time_ns()
        attributes = {"service.name": f"antiphon-{metrics.service}", "service.version": version}
        self._resource = Resource.create(attributes | {"service.instance.id": instance})
        self._exporter = OTLPMetricExporter()
        # It logs each attempt; `send` says once that the collector is away.
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter").setLevel(logging.CRITICAL)
        self._failing = False

    async def run(self) -> None:
        """Send, every `OTEL_METRIC_EXPORT_INTERVAL`, for ever."""
        interval = _interval()
        while True:
            await asyncio.sleep(interval)
            await self.send()

    async def send(self) -> None:
        """Send once. What fails is said once, and what was counted goes with the next."""
        data = self._data(await self._metrics.collect())
        try:
            failed = await asyncio.to_thread(self._exporter.export, data) is not MetricExportResult.SUCCESS
        except Exception as error:  # of requests or of the exporter
            log.debug("metrics: %r", error)
            failed = True
        if failed and not self._failing:
            log.warning("metrics can't be sent to the collector (OTEL_EXPORTER_OTLP_ENDPOINT)")
        self._failing = failed

    def close(self) -> None:
        """Send nothing any more."""
        self._exporter.shutdown()

    def _data(self, series: Iterable[Series]) -> MetricsData:
        now_ns = time.time_ns()
        metrics = [self._metric(each, now_ns) for each in series]
        scope = ScopeMetrics(_SCOPE, metrics, "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])

    def _metric(self, series: Series, now_ns: int) -> Metric:
        definition = series.definition
        data: Sum | Gauge | Histogram
        if definition.kind == "histogram":
            points = [
                self._histogram_point(dict(zip(series.labels, values, strict=True)), buckets, now_ns)
                for values, buckets in series.buckets.items()
            ]
            data = Histogram(points, AggregationTemporality.CUMULATIVE)
        else:
            numbers = [
                self._number_point(dict(zip(series.labels, values, strict=True)), cell, now_ns)
                for values, cell in series.cells.items()
            ]
            counted = definition.kind == "counter"
            data = Sum(numbers, AggregationTemporality.CUMULATIVE, True) if counted else Gauge(numbers)
        return Metric(definition.name, definition.help, _UNITS[definition.unit], data)

    def _number_point(self, labels: dict[str, str], cell: Cell, now_ns: int) -> NumberDataPoint:
        exemplars = [_exemplar(cell.exemplar)] if cell.exemplar is not None else []
        return NumberDataPoint(labels, self._began_ns, now_ns, cell.value, exemplars)

    def _histogram_point(self, labels: dict[str, str], buckets: Buckets, now_ns: int) -> HistogramDataPoint:
        exemplars = [_exemplar(each) for each in buckets.exemplars if each is not None]
        return HistogramDataPoint(
            labels,
            self._began_ns,
            now_ns,
            sum(buckets.counts),
            buckets.sum or 0.0,
            buckets.counts.copy(),
            buckets.bounds,
            math.inf,
            -math.inf,
            exemplars,
        )


def _exemplar(exemplar: Exemplar) -> OtlpExemplar:
    time_ns = int(exemplar.unix_time * 1e9)
    return OtlpExemplar({}, exemplar.value, time_ns, int(exemplar.span_id, 16), int(exemplar.trace_id, 16))


def _interval() -> float:
    """Seconds; the variable is in milliseconds, and one that is no number counts as not set."""
    try:
        seconds = float(os.environ.get(INTERVAL_VARIABLE, "")) / 1000
    except ValueError:
        return INTERVAL_SECONDS
    return seconds if math.isfinite(seconds) and seconds > 0 else INTERVAL_SECONDS
