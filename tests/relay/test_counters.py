"""Every counter is defined once, and stands everywhere that counters are shown."""

from __future__ import annotations

import json

import pytest

from antiphon.relay.counters import BATCH_BOUNDS, DELAY_BOUNDS, METRICS, Counters, Histogram, figures, merged
from antiphon.runtime.metrics import table
from antiphon.schemas.messages import RelayStatistics

pytestmark = pytest.mark.pure


def counted(packets: int, routes: int, lateness: float, reason: str, batch: int) -> Counters:
    counters = Counters()
    counters.packets_to_clients = packets
    counters.drops[reason] += 1
    counters.batches[batch] += 1
    counters.measure(flows_confirmed=2, flows_half_open=1, routes=routes, lateness=lateness)
    return counters


def test_the_message_on_nats_has_a_field_for_every_counter() -> None:
    of_control = {"version", "name", "path", "workers", "relays", "relays_out", "round_trips", "moves", "ingress"}
    assert set(RelayStatistics.model_fields) - of_control == set(METRICS)


def test_counters_come_through_the_message_between_processes_as_they_were() -> None:
    counters = counted(1 << 40, 3, 0.0125, "bad_length", 5)
    read = Counters.of(json.loads(json.dumps(counters.values())))
    assert read.values() == counters.values()
    assert read.values()["batches"] == {"8": 1}


def test_workers_counters_add_up_but_routes_and_lateness_are_the_worst() -> None:
    parts = [counted(7, 3, 0.002, "bad_length", 5), counted(8, 2, 0.001, "unknown_client", 6)]
    total = merged(Counters.of(each.values()) for each in parts)
    assert (total.packets_to_clients, total.flows_confirmed) == (15, 4)
    assert (total.routes, total.lateness_ms) == (2, 2.0)
    assert total.drops == {"bad_length": 1, "unknown_client": 1}
    assert total.values()["batches"] == {"8": 2}


def test_without_a_worker_everything_is_zero() -> None:
    assert not any(merged([]).values().values())


def test_every_counter_is_a_metric_of_the_table_and_those_of_one_name_are_together() -> None:
    counters = counted(7, 3, 0.0125, "bad_length", 128)
    shown = figures(counters)
    assert {f"antiphon_relay_{metric.name}" for metric in METRICS.values()} <= set(shown)
    assert set(shown) <= set(table.METRICS)
    assert shown["antiphon_relay_packets_total"] == {("to_transceivers",): 0, ("to_clients",): 7, ("to_relays",): 0}
    assert shown["antiphon_relay_lateness_seconds"] == {(): 0.0125}
    assert shown["antiphon_relay_batch_datagrams"] == {(): Histogram([0, 0, 0, 0, 0, 0, 0, 1, 0], None)}


def test_added_delays_of_all_workers_are_one_histogram() -> None:
    workers = [Counters(), Counters()]
    for worker, seconds in zip(workers, (0.00003, 1.0), strict=True):
        worker.delayed("to_clients", seconds)
    total = merged(Counters.of(json.loads(json.dumps(each.values()))) for each in workers)
    shown = figures(total)["antiphon_relay_added_delay_seconds"]
    assert shown[("to_clients",)] == Histogram([0, 1, *[0] * 9, 1], 1.00003)
    assert shown[("to_transceivers",)] == Histogram([0] * 12, 0)


def test_the_bounds_of_histograms_are_those_of_the_table() -> None:
    assert table.METRICS["antiphon_relay_batch_datagrams"].buckets == BATCH_BOUNDS
    assert table.METRICS["antiphon_relay_added_delay_seconds"].buckets == DELAY_BOUNDS
