"""Announcements and the order of placement, in made-up time."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.schemas.messages import Place, RelayAnnouncement, TransceiverAnnouncement
from antiphon.signaling.placement import announcements
from antiphon.signaling.placement.directory import MAX_ASKED, MIN_OF_A_CLUSTER, Directory, RelayOffer, race
from antiphon.signaling.placement.geography import Coordinates
from antiphon.signaling.placement.ranking import ClientPlace, Site
from antiphon.signaling.placement.region_map import MAX_REGIONS, REMEMBERED_SECONDS

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


def test_a_call_that_is_hung_up_frees_its_place_before_the_next_announcement() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1, capacity=2), 0.0)
    for number in range(50):
        found = directory.transceivers(0.0)
        assert found, number
        directory.took_a_call(found[0], 0.0, f"rtc_{number}")
        directory.call_ended(f"rtc_{number}", 0.0)
        directory.call_ended(f"rtc_{number}", 0.0)
        directory.call_ended("rtc_of_another_signaling", 0.0)


def test_a_transceiver_with_a_crowd_at_its_door_is_asked_last() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1).model_copy(update={"connect_ms": 2000.0}), 0.0)
    directory.learn_transceiver(transceiver(2, sessions=5), 0.0)
    assert slots(directory, 0.0) == [2, 1]


def test_a_transceiver_that_did_not_answer_is_out_until_it_speaks_again() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1), 0.0)
    directory.forget(transceiver(1))
    assert slots(directory, 0.0) == []
    directory.learn_transceiver(transceiver(1), 1.0)
    assert slots(directory, 1.0) == [1]


def test_the_successor_of_a_transceiver_that_did_not_answer_stays() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1, epoch=7), 0.0)
    directory.learn_transceiver(transceiver(1, epoch=8), 1.0)
    directory.forget(transceiver(1, epoch=7))
    assert [each.epoch for each in directory.transceivers(1.0)] == [8]


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


@pytest.fixture
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "MAX_ENTRIES", 20)
    monkeypatch.setattr(announcements, "RESERVED", 5)


@pytest.mark.usefixtures("small_table")
def test_the_table_is_bounded_and_keeps_who_is_in_it() -> None:
    directory = Directory(cluster=0)
    for slot in range(30):
        directory.learn_transceiver(transceiver(slot), 0.0)
    assert sorted(slots(directory, 0.0)) == list(range(20))
    directory.learn_transceiver(transceiver(60000), 6.0)
    assert slots(directory, 6.0) == [60000]


@pytest.mark.usefixtures("small_table")
def test_other_regions_leave_room_and_give_way_to_the_own_one() -> None:
    directory = Directory(cluster=0, region="eu")
    for slot in range(30):
        directory.learn_transceiver(transceiver(slot, cluster=2, region="us"), 0.0)
        directory.learn_relay(relay(f"us{slot}", f"192.0.2.{slot}:1", region="us", cluster=2), 0.0)
    assert len(directory.transceivers(0.0)) == len(directory.relays(0.0)) == 15
    for slot in range(12):
        directory.learn_transceiver(transceiver(slot, region="eu"), 0.0)
        directory.learn_relay(relay(f"eu{slot}", f"192.0.3.{slot}:1", region="eu", cluster=0), 0.0)
    for slot in range(30, 60):
        directory.learn_transceiver(transceiver(slot, cluster=2, region="us"), 0.0)
        directory.learn_relay(relay(f"us{slot}", f"192.0.2.{slot}:1", region="us", cluster=2), 0.0)
    assert sum(relay.region == "eu" for relay in directory.relays(0.0)) == 12
    assert len(directory.relays(0.0)) == 20
    report = {
        row.site.region: row.clusters
        for row in directory.region_report(0.0, directory.unknown_place(directory.region_map(0.0))).rows
    }
    assert report == {"eu": [(0, True)], "us": [(2, True)]}


def test_of_large_clusters_the_best_are_asked_and_more_clusters_than_one() -> None:
    directory = Directory(cluster=0)
    for cluster in range(12):
        for slot in range(100):
            directory.learn_transceiver(transceiver(slot, cluster=cluster, sessions=100 - slot, capacity=1000), 0.0)
    asked = directory.transceivers(0.0)
    assert len(asked) == MAX_ASKED
    assert len({each.cluster for each in asked}) >= MAX_ASKED // MIN_OF_A_CLUSTER
    assert (asked[0].cluster, asked[0].slot) == (0, 99)
    assert {each.slot for each in asked} <= set(range(92, 100))
    for each in asked:
        directory.forget(each)
    assert not {(each.cluster, each.slot) for each in asked} & {
        (each.cluster, each.slot) for each in directory.transceivers(0.0)
    }


def test_a_burst_within_a_large_cluster_is_spread() -> None:
    directory = Directory(cluster=0)
    for slot in range(1000):
        directory.learn_transceiver(transceiver(slot, capacity=1000), 0.0)
    for _ in range(640):
        directory.took_a_call(directory.transceivers(0.0)[0], 0.0)
    loads = [each.sessions for each in directory.transceivers(0.0)]
    assert max(loads) <= 640 / MAX_ASKED + 1


EU, US = Place(latitude=50.11, longitude=8.68), Place(latitude=38.9, longitude=-77.4)
IN_LONDON = ClientPlace("header", Site(coordinates=Coordinates(51.5, -0.12)))


def two_regions(cluster: int = 2, region: str = "") -> Directory:
    """Transceivers 1 (eu) and 2 (us), each with two relays in its region."""
    directory = Directory(cluster, region)
    for number, (name, place) in enumerate({"eu": EU, "us": US}.items(), 1):
        directory.learn_transceiver(transceiver(number, cluster=number, region=name, place=place), 0.0)
        for second in (0, 1):
            said = {"cluster": number, "ingress": 10 * number + second, "round_trips": {str(3 - number): 90.0}}
            address = f"192.0.2.{10 * number + second}:1"
            directory.learn_relay(relay(f"{name}{second}", address, region=name, place=place, **said), 0.0)
    return directory


def test_the_cluster_near_the_client_is_asked_first_and_the_own_one_for_unknown_clients() -> None:
    directory = two_regions()
    assert [found.slot for found in directory.transceivers(0.0, IN_LONDON)] == [1, 2]
    assert slots(directory, 0.0) == [2, 1]
    assert slots(two_regions(cluster=1, region="us"), 0.0) == [2, 1]


def test_a_cluster_that_no_relay_reaches_is_not_asked() -> None:
    directory = two_regions()
    directory.learn_transceiver(transceiver(3, cluster=3, region="au"), 0.0)
    assert slots(directory, 0.0) == [2, 1]
    directory.learn_relay(relay("au", "192.0.2.30:1", region="au", cluster=3), 0.0)
    assert slots(directory, 0.0) == [2, 1, 3]


def test_the_second_relay_of_an_answer_is_in_another_place() -> None:
    directory = two_regions()
    for session in map(str, range(20)):
        first, second = directory.relay_offers(session, 0.0, IN_LONDON, 1)
        assert (first.site.region, second.site.region) == ("eu", "us")
    directory.learn_relay(relay("us0", "192.0.2.20:1", region="us", cluster=2), 0.0)
    directory.learn_relay(relay("us1", "192.0.2.21:1", region="us", cluster=2), 0.0)
    both = directory.relay_offers("rtc_x", 0.0, IN_LONDON, 1)
    assert [offer.site.region for offer in both] == ["eu", "eu"]


def test_relays_without_a_place_stand_where_their_region_does() -> None:
    directory = two_regions()
    directory.learn_relay(relay("eu0", "192.0.2.10:1", region="eu", cluster=1), 0.0)
    directory.learn_relay(relay("eu1", "192.0.2.11:1", region="eu", cluster=1, state="draining"), 0.0)
    assert directory.relay_offers("rtc_x", 0.0, IN_LONDON, 1)[0].site == Site("eu", Coordinates(50.11, 8.68))


def test_relays_race_where_it_is_asked_for_or_the_place_is_unknown_and_they_stand_apart() -> None:
    here, there = RelayOffer((), site=Site("eu")), RelayOffer((), site=Site("us"))
    unknown, known = ClientPlace("unknown"), ClientPlace("table")
    assert race(known, [here, there], asked=True)
    assert race(unknown, [here, there], asked=False)
    assert not race(known, [here, there], asked=False)
    assert not race(unknown, [here, here], asked=False)
    assert not race(unknown, [here], asked=True)


def test_regions_are_remembered_for_a_day_and_are_bounded() -> None:
    directory = Directory(cluster=0)
    for number in range(MAX_REGIONS + 5):
        directory.learn_relay(relay("r", "192.0.2.1:1", region=f"region-{number}"), float(number))
        directory.region_map(float(number))
    names = directory.region_map(2000.0).names
    assert len(names) == MAX_REGIONS
    assert "region-4" not in names
    assert "region-5" in names
    assert directory.region_map(2000.0 + REMEMBERED_SECONDS).names == []


def test_a_slot_that_is_only_kept_for_its_sessions_does_not_move_its_cluster() -> None:
    directory = two_regions()
    directory.learn_transceiver(transceiver(9, cluster=1, region="us", place=US, state="draining", capacity=0), 0.0)
    assert directory.region_map(0.0).cluster_site(1).region == "eu"


def test_a_cluster_without_a_region_is_reported_in_the_only_one_that_relays_name() -> None:
    directory = Directory(cluster=0)
    directory.learn_transceiver(transceiver(1), 0.0)
    directory.learn_relay(relay("a", "192.0.2.1:1", region="local"), 0.0)
    report = directory.region_report(0.0, directory.unknown_place(directory.region_map(0.0)))
    assert [(row.site.region, row.clusters, row.ingress) for row in report.rows] == [("local", [(0, True)], True)]
    assert (report.region, report.ingress) == ("local", "local")


def test_signaling_asks_elsewhere_in_other_regions_only() -> None:
    directory = Directory(cluster=1, region="eu")
    for cluster, region in ((1, "eu"), (2, "us"), (3, "eu"), (4, ""), (5, "ap")):
        directory.learn_transceiver(transceiver(1, cluster=cluster, region=region), 0.0)
    assert sorted(directory.clusters_elsewhere(0.0)) == [2, 5]
    of_no_region = Directory(cluster=0)
    of_no_region.learn_transceiver(transceiver(1), 0.0)
    assert of_no_region.clusters_elsewhere(0.0) == []
    of_no_region.learn_transceiver(transceiver(1, cluster=2, region="us"), 0.0)
    assert of_no_region.clusters_elsewhere(0.0) == [2]
