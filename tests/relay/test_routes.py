"""Announcements become routes, with a clock of the test's own."""

from __future__ import annotations

import pytest

from antiphon.relay.core.route_table import MAX_ROUTES, RouteTable
from antiphon.schemas.addresses import Address
from antiphon.schemas.messages import TransceiverAnnouncement

pytestmark = pytest.mark.pure


def announcement(slot: int = 1, epoch: int = 1, address: str = "10.0.0.1:7001") -> TransceiverAnnouncement:
    return TransceiverAnnouncement(
        cluster=0, slot=slot, epoch=epoch, tunnel_address=address, state="ready", sessions=0, capacity=1
    )


def test_only_what_changes_the_routing_is_passed_on() -> None:
    book = RouteTable()
    assert book.hear(announcement(), 0.0)
    assert not book.hear(announcement(), 1.0)
    assert book.hear(announcement(address="10.0.0.1:7009"), 2.0)
    assert book.table() == [((0, 1, 1), Address("10.0.0.1", 7009))]


def test_an_announcement_that_is_not_renewed_expires() -> None:
    book = RouteTable()
    book.hear(announcement(), 10.0)
    book.hear(announcement(slot=2, address="10.0.0.2:7002"), 12.0)
    assert not book.expire(14.9, bus_alive=True)
    assert book.expire(15.1, bus_alive=True)
    assert [identity for identity, _ in book.table()] == [(0, 2, 1)]


def test_without_the_bus_routes_stay_and_their_time_counts_anew_from_its_return() -> None:
    book = RouteTable()
    book.hear(announcement(), 0.0)
    for second in range(3, 1000):
        assert not book.expire(float(second), bus_alive=False)
    assert not book.expire(1003.9, bus_alive=True)
    assert book.table()
    assert book.expire(1004.1, bus_alive=True)
    assert not book.table()


def test_an_address_belongs_to_the_incarnation_that_announced_it_last() -> None:
    book = RouteTable()
    book.hear(announcement(epoch=1), 0.0)
    assert book.hear(announcement(epoch=2), 1.0)
    assert [identity for identity, _ in book.table()] == [(0, 1, 2)]


def test_a_transceiver_of_the_other_family_is_left_out() -> None:
    book = RouteTable()
    assert not book.hear(announcement(address="[2001:db8::1]:7001"), 0.0)
    assert not book.table()
    assert RouteTable(ipv6=True).hear(announcement(address="[2001:db8::1]:7001"), 0.0)


def test_the_number_of_routes_is_bounded() -> None:
    book = RouteTable()
    for slot in range(MAX_ROUTES):
        assert book.hear(announcement(slot=slot, address=f"10.1.{slot >> 8}.{slot & 255}:7001"), 0.0)
    assert not book.hear(announcement(slot=MAX_ROUTES, address="10.2.0.0:7001"), 0.0)
    assert len(book.table()) == MAX_ROUTES
