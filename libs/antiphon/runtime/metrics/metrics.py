"""`Metrics`: what the parts of a process count and observe by, and what the exporters read."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from opentelemetry import trace as trace_api

from antiphon.runtime.metrics.store import Buckets, LabelValues, Series
from antiphon.runtime.metrics.table import METRICS, Service
from antiphon.runtime.telemetry import spans

log = logging.getLogger(__name__)

Figures = float | Mapping[str, float] | Mapping[LabelValues, float | Buckets]
"""Of a callback: one number, or one for each value of the one label, or for each combination of label values."""
FOLDED: Final = "antiphon_process_labels_folded_total"


class Metrics:
    """The metrics of one process, as `table` defines them.

    Owner: the composition root of the service, which hands it to the parts that count. Event loop only. Counting is for
    calls, turns and requests; what is counted per frame or packet is read by a callback when a scraper asks.
    Nothing that is counted here can fail a call: a name or label that the table does not have is logged, once.
    """

    def __init__(self, service: Service, on: bool = True) -> None:
        """`on` False: nothing is kept."""
        self.service: Final = service
        self.on: Final = on
        self._series = {name: Series(each) for name, each in METRICS.items() if service in each.services} if on else {}
        self._callbacks: dict[str, Callable[[], Figures]] = {}
        self._prepared: list[Callable[[], Awaitable[None]]] = []
        self._wrong: set[str] = set()
        self.gauge(FOLDED, lambda: sum(each.folding.folded for each in self._series.values()))

    def add(self, name: str, by: float = 1, /, *, trace: str = "", **labels: str) -> None:
        """Count. `trace`: `traceparent` of the span that this belongs to, if that is not the current one."""
        if not self.on:
            return
        try:
            series = self._series[name]
            values = tuple([labels[each] for each in series.labels])
        except KeyError:
            self._complain(name, labels)
            return
        series.add(values, by, _ids(trace))

    def observe(self, name: str, value: float, /, *, trace: str = "", **labels: str) -> None:
        """Add a value, in the metric's unit, to its histogram. `trace` as in `add`."""
        if not self.on:
            return
        try:
            series = self._series[name]
            values = tuple([labels[each] for each in series.labels])
        except KeyError:
            self._complain(name, labels)
            return
        series.observe(values, value, _ids(trace))

    def gauge(self, name: str, callback: Callable[[], Figures]) -> None:
        """Have `callback` say the values of a gauge, or of a counter that another part keeps, at each scrape.

        ValueError for a metric that the table does not have, or that has a callback.
        """
        if not self.on:
            return
        if name not in METRICS or self.service not in METRICS[name].services:
            raise ValueError(f"{name} is no metric of {self.service}: see antiphon.runtime.metrics.table")
        if name in self._callbacks:
            raise ValueError(f"{name} has a callback already")
        self._callbacks[name] = callback

    def prepare(self, figures: Callable[[], Awaitable[None]]) -> None:
        """Await `figures` before the callbacks are called: for what other processes must be asked for."""
        self._prepared.append(figures)

    async def collect(self) -> list[Series]:
        """All metrics that have values now. They are valid until the loop runs something else."""
        for each in self._prepared:
            await each()
        for name, callback in self._callbacks.items():
            series = self._series.get(name)
            if series is None:
                continue
            try:
                series.read(_by_values(callback()))
            except Exception as error:  # one figure is missing then, and the others are shown
                if name not in self._wrong:
                    self._wrong.add(name)
                    log.error("metric %s can't be read: %r", name, error)
        return [each for each in self._series.values() if each.cells or each.buckets]

    def _complain(self, name: str, labels: Mapping[str, str]) -> None:
        if name not in self._wrong and len(self._wrong) < len(METRICS):
            self._wrong.add(name)
            log.error("metric %s with labels %s is not in the table of %s", name, sorted(labels), self.service)


OFF: Final = Metrics("agent", on=False)
"""Keeps nothing: for a part that is used without a service around it."""


def _by_values(figures: Figures) -> Mapping[LabelValues, float | Buckets]:
    if not isinstance(figures, Mapping):
        return {(): figures}
    return {each if isinstance(each, tuple) else (each,): value for each, value in figures.items()}


def _ids(traceparent: str) -> tuple[str, str] | None:
    """Trace and span of a `traceparent` or of the current span, if they are recorded."""
    if traceparent:
        return (traceparent[3:35], traceparent[36:52]) if traceparent.endswith("1") else None
    if not spans.enabled():
        return None
    context = trace_api.get_current_span().get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return None
    return format(context.trace_id, "032x"), format(context.span_id, "016x")
