"""What was counted and observed in this process: one table of cells for each metric. No client library is needed.

Both exporters read it, Prometheus' page and OTLP, so that it is recorded once. docs/metrics.md says what that costs.
"""

from __future__ import annotations

import bisect
import itertools
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from antiphon.runtime.metrics.table import OTHER, Definition

MAX_SERIES: Final = 1000
"""Combinations of label values of one metric; of others all values are `OTHER`."""
MAX_FORESEEN: Final = 24
"""Combinations that a counter has from its start, with 0."""
MAX_VALUE: Final = 64
"""Characters of a label value."""

LabelValues = tuple[str, ...]
"""In the order of the definition."""


class Exemplar(NamedTuple):
    """One measurement and the span in which it was made."""

    trace_id: str
    span_id: str
    value: float
    unix_time: float


class Buckets:
    """A histogram of one combination of label values. Owner: its `Series`; event loop only."""

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: tuple[float, ...], counts: list[int] | None = None, total: float | None = 0.0) -> None:
        """`counts`: of each bucket, the last without a bound. `total` None: the sum is not known."""
        self.bounds = bounds
        self.counts = counts or [0] * (len(bounds) + 1)
        self.sum = total
        self.exemplars: list[Exemplar | None] = [None] * len(self.counts)

    def observe(self, value: float, trace: tuple[str, str] | None = None) -> None:
        """Count one value; `trace`: ids of a trace and a span."""
        place = bisect.bisect_left(self.bounds, value)
        self.counts[place] += 1
        self.sum = (self.sum or 0.0) + value
        if trace is not None:
            self.exemplars[place] = Exemplar(*trace, value, time.time())

    def add(self, other: Buckets) -> None:
        """Count what the other one has counted."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum = None if self.sum is None or other.sum is None else self.sum + other.sum

    def cumulative(self) -> list[int]:
        """How many values were at most each bound, and at last all of them."""
        return list(itertools.accumulate(self.counts))


class Cell:
    """A number of one combination of label values. Owner: its `Series`; event loop only."""

    __slots__ = ("exemplar", "value")

    def __init__(self, value: float = 0.0) -> None:
        self.value = value
        self.exemplar: Exemplar | None = None

    def add(self, by: float, trace: tuple[str, str] | None = None) -> None:
        """Count; `trace`: ids of a trace and a span."""
        self.value += by
        if trace is not None:
            self.exemplar = Exemplar(*trace, by, time.time())


class Folding:
    """Bounds the label values of one metric, and counts what it folded. Owner: its `Series`; event loop only."""

    def __init__(self, definition: Definition) -> None:
        self._labels = tuple(definition.labels.items())
        self._seen: list[set[str]] = [set(values) if isinstance(values, tuple) else set() for _, values in self._labels]
        self.folded = 0

    def fold(self, values: LabelValues) -> LabelValues:
        """The values that are kept in place of these."""
        kept = tuple(map(self._folded, range(len(self._labels)), values))
        self.folded += OTHER in kept and kept != values
        return kept

    def _folded(self, number: int, value: str) -> str:
        seen, bound = self._seen[number], self._labels[number][1]
        value = str(value)[:MAX_VALUE]
        if value in seen:
            return value
        if isinstance(bound, tuple) or len(seen) >= bound:
            return OTHER
        seen.add(value)
        return value

    def all_other(self) -> LabelValues:
        """Where even the combinations are too many."""
        self.folded += 1
        return (OTHER,) * len(self._labels)


class Series:
    """All cells of one metric. Owner: `Metrics`; event loop only."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.labels = tuple(definition.labels)
        self.folding = Folding(definition)
        self.cells: dict[LabelValues, Cell] = {}
        self.buckets: dict[LabelValues, Buckets] = {}
        if definition.kind == "counter":  # a counter that begins with 1 has no rate
            self.cells = {values: Cell() for values in _foreseen(definition)}

    def add(self, values: LabelValues, by: float, trace: tuple[str, str] | None) -> None:
        """Count in the cell of these label values."""
        cell = self.cells.get(values)
        if cell is None:
            values = self._kept(values, self.cells)
            cell = self.cells.setdefault(values, Cell())
        cell.add(by, trace)

    def observe(self, values: LabelValues, value: float, trace: tuple[str, str] | None) -> None:
        """Observe in the histogram of these label values."""
        buckets = self.buckets.get(values)
        if buckets is None:
            values = self._kept(values, self.buckets)
            buckets = self.buckets.setdefault(values, Buckets(self.definition.buckets))
        buckets.observe(value, trace)

    def read(self, figures: Mapping[LabelValues, float | Buckets]) -> None:
        """Take these as the values of the metric, in place of all before."""
        self.cells, self.buckets = {}, {}
        for values, figure in figures.items():
            if isinstance(figure, Buckets):
                kept = self._kept(values, self.buckets)
                self.buckets.setdefault(kept, Buckets(self.definition.buckets)).add(figure)
            else:
                self.cells.setdefault(self._kept(values, self.cells), Cell()).value += figure

    def _kept(self, values: LabelValues, table: Mapping[LabelValues, object]) -> LabelValues:
        kept = self.folding.fold(values)
        return kept if kept in table or len(table) < MAX_SERIES else self.folding.all_other()


def _foreseen(definition: Definition) -> list[LabelValues]:
    """All combinations of label values, where they are known and few."""
    known = [values for values in definition.labels.values() if isinstance(values, tuple)]
    combinations = list(itertools.product(*known))
    return combinations if len(known) == len(definition.labels) and len(combinations) <= MAX_FORESEEN else []
