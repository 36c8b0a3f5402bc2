"""The page for a Prometheus scraper, written by `prometheus_client`: text, or OpenMetrics with exemplars.

Imported when a page is served, and by the relay at its first scrape: it costs 43 ms of CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, choose_encoder, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Exemplar as PrometheusExemplar

from antiphon.runtime.metrics.store import Buckets, Exemplar, Series

_PROCESS: Final = ProcessCollector(registry=CollectorRegistry())
"""The usual `process_*` metrics, which ready-made dashboards ask for."""


class _Page(Collector):
    """What is written for one request."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._series = series

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` writes, one family after the other."""
        for each in self._series:
            yield _family(each)
        yield from _PROCESS.collect()


def page(series: Iterable[Series], accept: str) -> tuple[bytes, str]:
    """The page and its content type, for a request with this header `Accept`."""
    try:
        encoder, kind = choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is no number
        encoder, kind = generate_latest, CONTENT_TYPE_LATEST
    registry = CollectorRegistry()
    registry.register(_Page(series))
    return encoder(registry), kind


def _family(series: Series) -> Metric:
    name, kind, text, *_ = definition = series.definition
    arguments = name, text
    if kind == "counter":
        counter = CounterMetricFamily(*arguments, labels=series.labels)
        for values, cell in series.cells.items():
            labels = dict(zip(series.labels, values, strict=True))
            counter.add_sample(counter.name + "_total", labels, cell.value, exemplar=_exemplar(cell.exemplar))
        return counter
    if kind == "gauge":
        gauge = GaugeMetricFamily(*arguments, labels=series.labels, unit=definition.unit)
        for values, cell in series.cells.items():
            gauge.add_metric(values, cell.value)
        return gauge
    histogram = HistogramMetricFamily(*arguments, labels=series.labels, unit=definition.unit)
    for values, buckets in series.buckets.items():
        histogram.add_metric(values, _buckets(buckets), buckets.sum)
    return histogram


def _buckets(buckets: Buckets) -> list[tuple[str, float] | tuple[str, float, PrometheusExemplar]]:
    bounds = [*(str(float(each)) for each in buckets.bounds), "+Inf"]
    written: list[tuple[str, float] | tuple[str, float, PrometheusExemplar]] = []
    for bound, count, exemplar in zip(bounds, buckets.cumulative(), buckets.exemplars, strict=True):
        shown = _exemplar(exemplar)
        written.append((bound, count) if shown is None else (bound, count, shown))
    return written


def _exemplar(exemplar: Exemplar | None) -> PrometheusExemplar | None:
    if exemplar is None:
        return None
    labels = {"trace_id": exemplar.trace_id, "span_id": exemplar.span_id}
    return PrometheusExemplar(labels, exemplar.value, exemplar.unix_time)
