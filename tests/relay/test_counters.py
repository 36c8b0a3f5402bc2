"""Every counter is defined once, and stands everywhere that counters are shown."""

from __future__ import annotations

import json

import pytest

from antiphon.relay.counters import METRICS, Counters, merged, metrics
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


def test_prometheus_shows_every_counter_and_groups_those_of_one_name() -> None:
    counters = counted(7, 3, 0.0125, "bad_length", 128)
    families = {family.name: family for family in metrics(counters)}
    assert {metric.name for metric in METRICS.values()} == set(families)
    assert families["packets_total"].samples == [
        ("", {"direction": "to_transceivers"}, 0),
        ("", {"direction": "to_clients"}, 7),
        ("", {"direction": "to_relays"}, 0),
    ]
    assert families["lateness_seconds"].samples == [("", {}, 0.0125)]
    assert families["batch_datagrams"].samples[-3:] == [
        ("_bucket", {"le": "128"}, 1),
        ("_bucket", {"le": "+Inf"}, 1),
        ("_count", {}, 1),
    ]
