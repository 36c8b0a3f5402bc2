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
    routes = RouteTable()
    assert routes.update(announcement(), 0.0)
    assert not routes.update(announcement(), 1.0)
    assert routes.update(announcement(address="10.0.0.1:7009"), 2.0)
    assert routes.table() == [((0, 1, 1), Address("10.0.0.1", 7009))]


def test_an_announcement_that_is_not_renewed_expires() -> None:
    routes = RouteTable()
    routes.update(announcement(), 10.0)
    routes.update(announcement(slot=2, address="10.0.0.2:7002"), 12.0)
    assert not routes.expire(14.9, bus_alive=True)
    assert routes.expire(15.1, bus_alive=True)
    assert [identity for identity, _ in routes.table()] == [(0, 2, 1)]


def test_without_the_bus_routes_stay_and_their_time_counts_anew_from_its_return() -> None:
    routes = RouteTable()
    routes.update(announcement(), 0.0)
    for second in range(3, 1000):
        assert not routes.expire(float(second), bus_alive=False)
    assert not routes.expire(1003.9, bus_alive=True)
    assert routes.table()
    assert routes.expire(1004.1, bus_alive=True)
    assert not routes.table()


def test_an_address_belongs_to_the_incarnation_that_announced_it_last() -> None:
    routes = RouteTable()
    routes.update(announcement(epoch=1), 0.0)
    assert routes.update(announcement(epoch=2), 1.0)
    assert [identity for identity, _ in routes.table()] == [(0, 1, 2)]


def test_a_transceiver_of_the_other_family_is_left_out() -> None:
    routes = RouteTable()
    assert not routes.update(announcement(address="[2001:db8::1]:7001"), 0.0)
    assert not routes.table()
    assert RouteTable(ipv6=True).update(announcement(address="[2001:db8::1]:7001"), 0.0)


def test_the_number_of_routes_is_bounded() -> None:
    routes = RouteTable()
    for slot in range(MAX_ROUTES):
        assert routes.update(announcement(slot=slot, address=f"10.1.{slot >> 8}.{slot & 255}:7001"), 0.0)
    assert not routes.update(announcement(slot=MAX_ROUTES, address="10.2.0.0:7001"), 0.0)
    assert len(routes.table()) == MAX_ROUTES
