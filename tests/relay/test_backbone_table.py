"""Announcements of other relays become the table that workers send by, with a clock of the test's own."""

from __future__ import annotations

import json

import pytest

from antiphon.relay.control.backbone_table import MAX_ADDRESSES, MAX_RELAYS, BackboneTable, Row
from antiphon.relay.control.ipc import MAX_LINE, Backbone, pack
from antiphon.schemas.messages import RelayAnnouncement

pytestmark = pytest.mark.pure


def announcement(
    name: str = "far",
    *addresses: str,
    cluster: int | None = 2,
    ingress: int = 7,
    state: str = "ready",
    taking_over: bool = False,
) -> RelayAnnouncement:
    return RelayAnnouncement.model_validate(
        {
            "name": name,
            "public_addresses": ["192.0.2.1:3478"],
            "tunnel_addresses": ["10.0.0.1:4000"],
            "backbone_addresses": addresses or ["10.0.0.1:3500"],
            "cluster": cluster,
            "ingress": ingress,
            "state": state,
            "taking_over": taking_over,
        }
    )


def table(cluster: int | None = 1, ipv6: bool = False) -> BackboneTable:
    return BackboneTable("near", cluster, ["10.9.9.9:3500"], ipv6=ipv6)


def rows(of: BackboneTable, own_ingress: int = 1) -> list[Row]:
    return of.rows(own_ingress)


def test_only_what_changes_the_way_is_passed_on() -> None:
    relays = table()
    assert relays.update(announcement(), 0.0)
    assert not relays.update(announcement(), 1.0)
    assert rows(relays) == [(2, "far", 7, "ready", ["10.0.0.1:3500"])]
    assert relays.update(announcement(state="draining"), 2.0)
    assert rows(relays) == [(2, "far", 7, "draining", ["10.0.0.1:3500"])]
    assert relays.update(announcement(ingress=8), 3.0)
    assert relays.ingress_numbers() == {8}


def test_ourselves_our_own_cluster_and_relays_without_a_backbone_are_left_out() -> None:
    relays = table()
    assert not relays.update(announcement("near"), 0.0)
    assert not relays.update(announcement(cluster=1), 0.0)
    assert not relays.update(without_backbone(), 0.0)
    assert rows(relays) == []


def without_backbone() -> RelayAnnouncement:
    return announcement().model_copy(update={"backbone_addresses": []})


def test_a_relay_without_a_cluster_is_known_as_an_ingress() -> None:
    for own in (None, 1):
        relays = table(own)
        assert relays.update(announcement(cluster=None), 0.0)
        assert rows(relays) == [(None, "far", 7, "ready", ["10.0.0.1:3500"])]


def test_an_announcement_that_is_not_renewed_expires() -> None:
    relays = table()
    relays.update(announcement("a", "10.0.0.1:1"), 10.0)
    relays.update(announcement("b", "10.0.0.1:2"), 12.0)
    assert not relays.expire(14.9, bus_alive=True)
    assert relays.expire(15.1, bus_alive=True)
    assert [row[1] for row in rows(relays)] == ["b"]


def test_without_the_bus_relays_stay_and_their_time_counts_anew_from_its_return() -> None:
    relays = table()
    relays.update(announcement(), 0.0)
    for second in range(3, 1000):
        assert not relays.expire(float(second), bus_alive=False)
    assert not relays.expire(1003.9, bus_alive=True)
    assert relays.expire(1004.1, bus_alive=True)
    assert rows(relays) == []


def test_a_relay_of_the_other_family_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    relays = table()
    for second in range(3):
        assert not relays.update(announcement("far", "[2001:db8::1]:3500"), float(second))
    assert caplog.text.count("ANTIPHON_RELAY_BACKBONE_BIND") == 1
    assert table(ipv6=True).update(announcement("far", "[2001:db8::1]:3500"), 0.0)


@pytest.mark.parametrize(
    "addresses",
    [
        ["0.0.0.0:3500"],
        ["224.0.0.1:3500"],
        ["10.9.9.9:3500"],
        ["10.0.0.1:3500", "10.0.0.1:3500"],
        ["10.0.0.1:3500", "[2001:db8::1]:3500"],
    ],
    ids=["wildcard", "multicast", "ours", "twice", "families"],
)
def test_addresses_that_nothing_can_be_sent_to_are_left_out(addresses: list[str]) -> None:
    relays = table()
    assert not relays.update(announcement("far", *addresses), 0.0)
    assert rows(relays) == []


def test_an_address_stays_with_the_relay_that_announced_it_first(caplog: pytest.LogCaptureFixture) -> None:
    relays = table()
    relays.update(announcement("first"), 0.0)
    assert not relays.update(announcement("thief"), 1.0)
    assert "relay thief is left out: relay first has announced" in caplog.text
    relays.expire(5.1, bus_alive=True)
    assert relays.update(announcement("thief"), 5.2)  # the first one is gone: a relay with a new name


def test_an_ingress_number_stays_with_the_relay_that_announced_it_first(caplog: pytest.LogCaptureFixture) -> None:
    relays = table()
    relays.update(announcement("first", "10.0.0.1:1"), 0.0)
    relays.update(announcement("second", "10.0.0.2:1"), 1.0)
    relays.update(announcement("third", "10.0.0.3:1", ingress=1), 1.0)
    assert [(name, ingress) for _, name, ingress, _, _ in rows(relays, 1)] == [
        ("first", 7),
        ("second", 0),
        ("third", 0),
    ]
    assert "relay second announces ingress number 7 of relay first" in caplog.text
    assert "relay third announces ingress number 1 of relay near" in caplog.text
    relays.update(announcement("first", "10.0.0.1:1", ingress=9), 2.0)
    assert [ingress for _, _, ingress, _, _ in rows(relays, 1)] == [9, 7, 0]


def test_a_process_that_takes_over_gets_the_packets_once_it_has_the_port() -> None:
    relays = table()
    old, new = "10.0.0.1:3500", "10.0.0.1:3501"
    relays.update(announcement("far", old), 0.0)
    assert relays.update(announcement("far", new, taking_over=True), 1.0)
    assert [(row[3], row[4]) for row in rows(relays)] == [("draining", [new]), ("ready", [old])]
    assert {row[2] for row in rows(relays)} == {7}
    assert relays.update(announcement("far", new), 2.0)
    assert [(row[3], row[4]) for row in rows(relays)] == [("draining", [old]), ("ready", [new])]
    relays.expire(5.1, bus_alive=True)
    assert [(row[3], row[4]) for row in rows(relays)] == [("ready", [new])]


def test_a_restarted_relay_at_other_addresses_gets_the_packets_at_once() -> None:
    relays = table()
    relays.update(announcement("far", "10.0.0.1:3500"), 0.0)
    relays.update(announcement("far", "10.0.0.1:3600"), 0.5)
    assert rows(relays)[-1][3:] == ("ready", ["10.0.0.1:3600"])
    relays.update(announcement("far", "10.0.0.1:3700"), 0.6)
    assert [row[4] for row in rows(relays)] == [["10.0.0.1:3600"], ["10.0.0.1:3700"]]


def test_a_relay_with_another_number_of_workers_takes_the_place_of_its_former_process() -> None:
    relays = table()
    relays.update(announcement("far", "10.0.0.1:3500", "10.0.0.1:3501"), 0.0)
    assert relays.update(announcement("far", "10.0.0.1:3500"), 1.0)
    assert [row[4] for row in rows(relays)] == [["10.0.0.1:3500"]]


def test_relays_and_their_addresses_are_bounded_and_fit_into_one_line() -> None:
    relays = table(ipv6=True)
    each = MAX_ADDRESSES // MAX_RELAYS
    for number in range(MAX_RELAYS):
        addresses = [f"[2001:db8:1234:5678:9abc:def0:{number:x}:ffff]:{60000 + port}" for port in range(each)]
        assert relays.update(announcement(f"{number:064d}", *addresses, ingress=number + 1), 0.0)
    assert not relays.update(announcement("further", "[2001:db8::1]:1"), 0.0)
    assert len(pack(Backbone(rows(relays, 0)))) < MAX_LINE
    few = table()
    many = [f"10.0.{number >> 8}.{number & 255}:3500" for number in range(256)]
    taken = [
        few.update(announcement(f"r{at}", *(f"{a[:-4]}{3500 + at}" for a in many), ingress=0), 0.0) for at in range(40)
    ]
    assert taken.count(True) == MAX_ADDRESSES // 256


def test_what_was_saved_is_there_after_a_restart_and_expires() -> None:
    relays = table()
    relays.update(announcement("far", "10.0.0.1:3500"), 0.0)
    relays.update(announcement("far", "10.0.0.1:3600"), 0.5)
    again = table()
    again.restore([tuple(row) for row in json.loads(json.dumps(rows(relays)))], 100.0)
    assert again.rows(1) == relays.rows(1)
    assert again.expire(105.1, bus_alive=True)
    assert again.rows(1) == []
