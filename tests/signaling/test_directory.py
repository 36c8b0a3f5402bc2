"""Announcements and the order of placement, in made-up time."""

from __future__ import annotations

from typing import Any

from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement
from antiphon.signaling.directory import MAX_CANDIDATES, MAX_ENTRIES, Directory


def transceiver(slot: int, **said: Any) -> TransceiverAnnouncement:
    base = {
        "cluster": 0,
        "epoch": 1,
        "tunnel_address": "10.0.0.1:5000",
        "state": "ready",
        "sessions": 0,
        "capacity": 10,
    }
    return TransceiverAnnouncement.model_validate({**base, "slot": slot, **said})


def relay(name: str, *addresses: str, state: str = "ready") -> RelayAnnouncement:
    said = {"name": name, "public_addresses": addresses, "tunnel_addresses": ["10.0.0.9:1"], "state": state}
    return RelayAnnouncement.model_validate(said)


def slots(directory: Directory, now: float) -> list[int]:
    return [found.slot for found in directory.transceivers(now)]


def test_the_nearest_then_the_least_loaded_then_the_least_late_is_asked_first() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1, cluster=7), 0.0)
    directory.learn_transceiver(transceiver(2, sessions=5, lateness_ms=3.0), 0.0)
    directory.learn_transceiver(transceiver(3, sessions=10, capacity=20, lateness_ms=1.0), 0.0)
    directory.learn_transceiver(transceiver(4, sessions=1), 0.0)
    assert slots(directory, 1.0) == [4, 3, 2, 1]


def test_full_draining_and_silent_ones_are_not_asked() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1, sessions=10), 3.0)
    directory.learn_transceiver(transceiver(2, state="draining"), 3.0)
    directory.learn_transceiver(transceiver(3, capacity=0), 3.0)
    directory.learn_transceiver(transceiver(4), 0.0)
    directory.learn_transceiver(transceiver(5), 3.0)
    assert slots(directory, 5.0) == [5]


def test_equals_take_turns() -> None:
    directory = Directory(cluster=0)
    for slot in range(3):
        directory.learn_transceiver(transceiver(slot), 0.0)
    assert {slots(directory, 0.0)[0] for _ in range(3)} == {0, 1, 2}


def test_a_burst_of_calls_is_spread_before_the_next_announcement() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1), 0.0)
    directory.learn_transceiver(transceiver(2, capacity=100), 0.0)
    first = directory.transceivers(0.0)[0]
    directory.took_a_call(first, 0.0)
    assert directory.transceivers(0.0)[0].slot != first.slot


def test_a_transceiver_that_did_not_answer_is_out_until_it_speaks_again() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1), 0.0)
    directory.forget(transceiver(1))
    assert slots(directory, 0.0) == []
    directory.learn_transceiver(transceiver(1), 1.0)
    assert slots(directory, 1.0) == [1]


def test_an_earlier_holder_of_a_slot_is_not_heard_also_across_the_wrap() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1, epoch=65535), 0.0)
    directory.learn_transceiver(transceiver(1, epoch=0, sessions=3), 0.0)
    directory.learn_transceiver(transceiver(1, epoch=65535, sessions=9), 0.1)
    assert directory.transceivers(0.2)[0].sessions == 3


def test_every_relays_first_address_comes_before_anybodys_second() -> None:
    directory = Directory(cluster=0)
    directory.learn_relay(relay("a", "192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"), 0.0)
    directory.learn_relay(relay("b", "192.0.2.2:1", "192.0.2.1:1"), 0.0)
    directory.learn_relay(relay("c", "192.0.2.3:1", state="draining"), 0.0)
    assert [str(address) for address in directory.relay_addresses(0.0)] == ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:2"]
    assert len(directory.relay_addresses(0.0)) == MAX_CANDIDATES
    assert directory.relay_addresses(6.0) == []


def test_the_table_is_bounded_and_keeps_who_is_in_it() -> None:
    directory = Directory(cluster=0)
    for slot in range(MAX_ENTRIES + 10):
        directory.learn_transceiver(transceiver(slot), 0.0)
    assert len(directory.transceivers(0.0)) == MAX_ENTRIES
    directory.learn_transceiver(transceiver(60000), 6.0)
    assert slots(directory, 6.0) == [60000]
