"""The relay's counters, each defined once: its name, its type, how workers' values add up, its metric.

A worker counts in `Counters`. From the definitions at its fields come the message to the control process (`values`),
the sum over all workers (`merged`), the fields of `RelayStatistics` on NATS and the metrics (`figures`).
"""

from __future__ import annotations

import bisect
import collections
import enum
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, NamedTuple, get_type_hints

BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper bounds of the histogram of batch sizes, in datagrams; the last one is the largest batch."""


DELAY_BOUNDS: Final = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Seconds, likewise of the histogram of added delays. The table of metrics has both too; workers do not load it."""
PREFIX: Final = "antiphon_relay_"


class Histogram(NamedTuple):
    """Counts of each bucket, and the sum of what was counted, if that is known."""

    counts: list[int]
    sum: float | None


class Merge(enum.Enum):
    """What the workers' values become."""

    SUM = "sum"
    LEAST = "least"
    MOST = "most"


class Metric(NamedTuple):
    """As which metric a counter is shown; the prefix `antiphon_relay_` is left out here.

    What the metric is, `antiphon.runtime.metrics.table` says.
    """

    name: str
    label_value: str = ""
    """Of the metric's one label, which tells this counter from others of the same name."""
    merge: Merge = Merge.SUM
    per_unit: float = 1
    """The counter is divided by this: metrics have base units."""


class Counters:
    """What one worker has forwarded and dropped since it started; or the sum over the workers.

    A worker's belong to its `RelayCore` and live as long; the worker's packet loops add to them, on its one thread.
    """

    packets_to_transceivers: Annotated[int, Metric("packets_total", "to_transceivers")]
    bytes_to_transceivers: Annotated[int, Metric("bytes_total", "to_transceivers")]
    packets_to_clients: Annotated[int, Metric("packets_total", "to_clients")]
    bytes_to_clients: Annotated[int, Metric("bytes_total", "to_clients")]
    packets_to_relays: Annotated[int, Metric("packets_total", "to_relays")]
    bytes_to_relays: Annotated[int, Metric("bytes_total", "to_relays")]
    hellos_sent: Annotated[int, Metric("hellos_total")]
    flows_confirmed: Annotated[int, Metric("flows", "confirmed")]
    flows_half_open: Annotated[int, Metric("flows", "half_open")]
    flows_found: Annotated[int, Metric("flows_found_total")]
    routes: Annotated[int, Metric("routes", merge=Merge.LEAST)]
    lateness_ms: Annotated[float, Metric("lateness_seconds", merge=Merge.MOST, per_unit=1000)]
    drops: Annotated[collections.Counter[str], Metric("drops_total")]
    """By reason; docs/relay.md lists the reasons."""
    batches: Annotated[collections.Counter[int], Metric("batch_datagrams")]
    """How many datagrams came at once, and how often."""

    def __init__(self) -> None:
        for name in METRICS:
            setattr(self, name, collections.Counter() if name in _TABLES else 0)
        self.delays = collections.Counter[str]()
        """Not on NATS: what `delayed` has measured, as `<direction>.<bucket>`, and the seconds under `<direction>`."""

    def measure(self, flows_confirmed: int, flows_half_open: int, routes: int, lateness: float) -> None:
        """Set the gauges, which nothing counts; `lateness` in seconds."""
        self.flows_confirmed, self.flows_half_open, self.routes = flows_confirmed, flows_half_open, routes
        self.lateness_ms = round(lateness * 1000, 2)

    def values(self) -> dict[str, Any]:
        """All counters by name, ready for JSON: numbers, and tables without their zeros.

        Batch sizes are put together up to each of `BATCH_BOUNDS`.
        """
        batches = collections.Counter[str]()
        for size, times in self.batches.items():
            batches[str(1 << (size - 1).bit_length())] += times
        numbers = {name: getattr(self, name) for name in METRICS if name not in _TABLES}
        return numbers | {"drops": dict(+self.drops), "batches": dict(batches), "delays": dict(self.delays)}

    def delayed(self, direction: str, seconds: float) -> None:
        """A batch was sent on so long after it was read; `direction`: `to_clients` or `to_transceivers`."""
        self.delays[f"{direction}.{bisect.bisect_left(DELAY_BOUNDS, seconds)}"] += 1
        self.delays[direction] += seconds  # type: ignore[assignment]  # a Counter adds up floats as well

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Counters:
        """What `values` gave."""
        counters = cls()
        for name, value in values.items():
            setattr(counters, name, value)
        counters.drops = collections.Counter(values["drops"])
        counters.delays = collections.Counter(values["delays"])
        counters.batches = collections.Counter({int(size): times for size, times in values["batches"].items()})
        return counters


_HINTS: Final = get_type_hints(Counters, include_extras=True)
METRICS: Final[dict[str, Metric]] = {name: hint.__metadata__[0] for name, hint in _HINTS.items()}
"""As what each counter is shown, by its name."""
_TABLES: Final = ("drops", "batches")


def merged(parts: Iterable[Counters]) -> Counters:
    """The workers' counters as one."""
    workers, result = list(parts), Counters()
    for name, metric in METRICS.items():
        values = [getattr(each, name) for each in workers]
        match metric.merge:
            case Merge.SUM:
                setattr(result, name, sum(values, getattr(result, name)))
            case Merge.LEAST:
                setattr(result, name, min(values, default=0))
            case Merge.MOST:
                setattr(result, name, max(values, default=0))
    for each in workers:
        result.delays.update(each.delays)
    return result


def figures(counters: Counters) -> dict[str, dict[tuple[str, ...], float | Histogram]]:
    """All counters as metrics: by the metric's name, then by the values of its labels."""
    shown: dict[str, dict[tuple[str, ...], float | Histogram]] = {}
    for name, metric in METRICS.items():
        values = shown.setdefault(f"{PREFIX}{metric.name}", {})
        value = getattr(counters, name)
        if name == "drops":
            values.update({(reason,): count for reason, count in value.items()})
        elif name == "batches":
            # The sum of the sizes is not known any more.
            values[()] = Histogram([value[bound] for bound in BATCH_BOUNDS] + [0], None)
        else:
            values[(metric.label_value,) if metric.label_value else ()] = value / metric.per_unit
    shown[f"{PREFIX}added_delay_seconds"] = {
        (direction,): Histogram(
            [counters.delays[f"{direction}.{place}"] for place in range(len(DELAY_BOUNDS) + 1)],
            counters.delays[direction],
        )
        for direction in ("to_transceivers", "to_clients")
    }
    return shown
