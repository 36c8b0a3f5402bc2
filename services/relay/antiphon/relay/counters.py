"""The relay's counters, each defined once: its name, its type, how workers' values add up, its Prometheus metric.

A worker counts in `Counters`. From the definitions at its fields come the message to the control process (`values`),
the sum over all workers (`merged`), the fields of `RelayStatistics` on NATS and the Prometheus text (`metrics`).
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, get_type_hints

BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper bounds of the histogram of batch sizes, in datagrams; the last one is the largest batch."""


class Merge(enum.Enum):
    """What the workers' values become."""

    SUM = "sum"
    LEAST = "least"
    MOST = "most"


class Metric(NamedTuple):
    """How Prometheus shows a counter; the name's prefix `antiphon_relay_` is left out here."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    label: str = ""
    """The label that tells this value from others of the same name; for a table, the label of its keys."""
    label_value: str = ""
    merge: Merge = Merge.SUM
    per_unit: float = 1
    """The value is divided by this: Prometheus wants base units."""


def _forwarded(what: str, help_text: str, direction: str) -> Metric:
    return Metric(f"{what}_total", "counter", help_text, "direction", direction)


_DATAGRAMS: Final = "Datagrams forwarded."
_OCTETS: Final = "Octets of clients' datagrams, without headers of the tunnel or the backbone."
_FLOWS: Final = "Flows in the tables of the workers."


class Counters:
    """What one worker has forwarded and dropped since it started; or the sum over the workers.

    A worker's belong to its `RelayCore` and live as long; the worker's packet loops add to them, on its one thread.
    """

    packets_to_transceivers: Annotated[int, _forwarded("packets", _DATAGRAMS, "to_transceivers")]
    bytes_to_transceivers: Annotated[int, _forwarded("bytes", _OCTETS, "to_transceivers")]
    packets_to_clients: Annotated[int, _forwarded("packets", _DATAGRAMS, "to_clients")]
    bytes_to_clients: Annotated[int, _forwarded("bytes", _OCTETS, "to_clients")]
    packets_to_relays: Annotated[int, _forwarded("packets", _DATAGRAMS, "to_relays")]
    bytes_to_relays: Annotated[int, _forwarded("bytes", _OCTETS, "to_relays")]
    hellos_sent: Annotated[int, Metric("hellos_total", "counter", "Transceivers asked for their clients.")]
    flows_confirmed: Annotated[int, Metric("flows", "gauge", _FLOWS, "state", "confirmed")]
    flows_half_open: Annotated[int, Metric("flows", "gauge", _FLOWS, "state", "half_open")]
    flows_found: Annotated[int, Metric("flows_found_total", "counter", "Flows learned by a look-up over NATS.")]
    routes: Annotated[int, Metric("routes", "gauge", "Transceivers in the workers' route tables.", merge=Merge.LEAST)]
    lateness_ms: Annotated[
        float,
        Metric(
            "lateness_seconds",
            "gauge",
            "Most by which a worker's loop missed its tick since the last scrape.",
            merge=Merge.MOST,
            per_unit=1000,
        ),
    ]
    drops: Annotated[
        collections.Counter[str], Metric("drops_total", "counter", "Datagrams dropped, by reason.", "reason")
    ]
    """By reason; docs/relay.md lists the reasons."""
    batches: Annotated[collections.Counter[int], Metric("batch_datagrams", "histogram", "Datagrams read at once.")]
    """How many datagrams came at once, and how often."""

    def __init__(self) -> None:
        for name in METRICS:
            setattr(self, name, collections.Counter() if name in _TABLES else 0)

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
        return numbers | {"drops": dict(+self.drops), "batches": dict(batches)}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Counters:
        """What `values` gave."""
        counters = cls()
        for name, value in values.items():
            setattr(counters, name, value)
        counters.drops = collections.Counter(values["drops"])
        counters.batches = collections.Counter({int(size): times for size, times in values["batches"].items()})
        return counters


_HINTS: Final = get_type_hints(Counters, include_extras=True)
METRICS: Final[dict[str, Metric]] = {name: hint.__metadata__[0] for name, hint in _HINTS.items()}
"""The definition of each counter, by its name."""
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
    return result


class Family(NamedTuple):
    """One metric of the Prometheus text format: (suffix, labels, value) each."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, dict[str, str], float]]


def metrics(counters: Counters) -> list[Family]:
    """All counters as Prometheus shows them; those of one name are together."""
    families: dict[str, Family] = {}
    for name, metric in METRICS.items():
        family = families.setdefault(metric.name, Family(metric.name, metric.kind, metric.help, []))
        value = getattr(counters, name)
        if metric.kind == "histogram":
            family.samples.extend(_histogram(value))
        elif name in _TABLES:
            family.samples.extend(("", {metric.label: key}, count) for key, count in sorted(value.items()))
        else:
            labels = {metric.label: metric.label_value} if metric.label else {}
            family.samples.append(("", labels, value / metric.per_unit))
    return list(families.values())


def _histogram(batches: collections.Counter[int]) -> list[tuple[str, dict[str, str], float]]:
    """Cumulative buckets; every size is at most the last bound. The sum of the sizes is not known any more."""
    samples: list[tuple[str, dict[str, str], float]] = []
    so_far = 0
    for bound in BATCH_BOUNDS:
        so_far += batches[bound]
        samples.append(("_bucket", {"le": str(bound)}, so_far))
    return [*samples, ("_bucket", {"le": "+Inf"}, so_far), ("_count", {}, so_far)]
