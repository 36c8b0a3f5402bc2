"""Announcements and the order of placement, in made-up time."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement
from antiphon.signaling.placement.directory import MAX_ENTRIES, Directory

pytestmark = pytest.mark.pure


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


def relay(name: str, *addresses: str, **said: Any) -> RelayAnnouncement:
    base = {"name": name, "public_addresses": addresses, "tunnel_addresses": ["10.0.0.9:1"]}
    return RelayAnnouncement.model_validate({**base, **said})


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


def offered(directory: Directory, session: str, now: float = 0.0) -> list[list[str]]:
    return [[str(address) for address in offer.udp] for offer in directory.relay_offers(session, now)]


def test_an_answer_offers_two_different_relays_and_no_draining_one() -> None:
    directory = Directory(cluster=0)
    directory.learn_relay(relay("a", "192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", tcp_addresses=["192.0.2.1:9"]), 0.0)
    directory.learn_relay(relay("b", "192.0.2.2:1"), 0.0)
    directory.learn_relay(relay("c", "192.0.2.3:1", state="draining"), 0.0)
    assert sorted(offered(directory, "rtc_x")) == [["192.0.2.1:1", "192.0.2.1:2"], ["192.0.2.2:1"]]
    tcp = {offer.udp[0].host: list(map(str, offer.tcp)) for offer in directory.relay_offers("rtc_x", 0.0)}
    assert tcp == {"192.0.2.1": ["192.0.2.1:9"], "192.0.2.2": []}
    assert offered(directory, "rtc_x", now=6.0) == []


def test_relays_behind_one_address_are_one_way_in() -> None:
    directory = Directory(cluster=0)
    for name in "abcd":
        directory.learn_relay(relay(name, "192.0.2.1:1"), 0.0)
    directory.learn_relay(relay("e", "192.0.2.2:1"), 0.0)
    for session in map(str, range(20)):
        assert sorted(offered(directory, session)) == [["192.0.2.1:1"], ["192.0.2.2:1"]]


def test_calls_spread_over_all_relays_and_each_keeps_its_own_when_others_come_and_go() -> None:
    directory = Directory(cluster=0)
    for number in range(4):
        directory.learn_relay(relay(f"r{number}", f"192.0.2.{number}:1"), 0.0)
    sessions = [f"rtc_{number}" for number in range(400)]
    before = {session: offered(directory, session) for session in sessions}
    first = [pair[0][0] for pair in before.values()]
    assert all(70 < first.count(f"192.0.2.{number}:1") < 130 for number in range(4))
    assert before == {session: offered(directory, session) for session in sessions}
    directory.learn_relay(relay("r0", "192.0.2.0:1", state="draining"), 0.0)
    for session, pair in before.items():
        if ["192.0.2.0:1"] not in pair:
            assert offered(directory, session) == pair


def test_relays_of_the_own_region_are_offered_first() -> None:
    directory = Directory(cluster=0, region="north")
    directory.learn_relay(relay("a", "192.0.2.1:1", region="south"), 0.0)
    directory.learn_relay(relay("b", "192.0.2.2:1", region="north"), 0.0)
    directory.learn_relay(relay("c", "192.0.2.3:1", region="south"), 0.0)
    for session in map(str, range(20)):
        assert offered(directory, session)[0] == ["192.0.2.2:1"]


def test_the_table_is_bounded_and_keeps_who_is_in_it() -> None:
    directory = Directory(cluster=0)
    for slot in range(MAX_ENTRIES + 10):
        directory.learn_transceiver(transceiver(slot), 0.0)
    assert len(directory.transceivers(0.0)) == MAX_ENTRIES
    directory.learn_transceiver(transceiver(60000), 6.0)
    assert slots(directory, 6.0) == [60000]
