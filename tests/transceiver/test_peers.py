"""The table of other transceiver processes. Pure: announcements and `now` in."""

from __future__ import annotations

import pytest

from antiphon.runtime.nats.buckets import ANNOUNCE_TTL
from antiphon.schemas import messages
from antiphon.schemas.addresses import Address
from antiphon.transceiver.failover.peers import WATCHED, Peers
from antiphon.transceiver.net.endpoint import TransceiverIdentity

pytestmark = pytest.mark.pure

US = "5" * 16


def announcement(holder: str, slot: int, **changes: object) -> messages.TransceiverAnnouncement:
    made = messages.TransceiverAnnouncement(
        cluster=0,
        slot=slot,
        epoch=1,
        tunnel_address=f"127.0.0.1:{1000 + slot}",
        state="ready",
        sessions=0,
        capacity=10,
        lateness_ms=0.0,
        holder=holder * 16,
        lifeline=f"127.0.0.1:{2000 + slot}",
    )
    return made.model_copy(update=changes)


def test_the_next_two_processes_in_the_order_of_their_ids_are_watched() -> None:
    peers = Peers(US, 0)
    for slot, holder in enumerate("1379"):
        assert peers.announced(announcement(holder, slot), 0.0)
    watched = peers.to_watch()
    assert list(watched) == ["7" * 16, "9" * 16]
    assert len(watched) == WATCHED
    assert watched["7" * 16].address == "127.0.0.1:2002"
    peers.remove_process("7" * 16)
    assert list(peers.to_watch()) == ["9" * 16, "1" * 16], "the order is a ring"


def test_each_process_is_watched_by_one_on_another_machine() -> None:
    nodes = dict(zip("0123456789abcdef", "AAAABBBCAABBBBBB", strict=True))
    watchers: dict[str, set[str]] = {holder: set() for holder in nodes}
    for us, node in nodes.items():
        peers = Peers(us * 16, 0, node=node)
        for slot, (holder, its_node) in enumerate(nodes.items()):
            peers.announced(announcement(holder, slot, node=its_node), 0.0)
        for watched in peers.to_watch():
            watchers[watched[0]].add(us)
    for holder, found in watchers.items():
        assert len(found) >= WATCHED
        assert {nodes[each] for each in found} - {nodes[holder]}, f"all that watch {holder} die with its machine"


def test_our_own_announcements_and_those_of_other_clusters_are_no_peers() -> None:
    peers = Peers(US, 0)
    assert not peers.announced(announcement("5", 1), 0.0)
    assert not peers.announced(announcement("6", 1, cluster=1), 0.0)
    assert not peers.announced(announcement("6", 1, lifeline=None), 0.0), "it takes part in no failover"
    assert peers.identities() == set()


def test_an_endpoint_that_falls_silent_is_reported_once_but_not_while_nats_delivers_nothing() -> None:
    peers = Peers(US, 0)
    peers.announced(announcement("6", 1), 0.0)
    assert peers.expire(100.0, bus_answers=False) == []
    assert peers.expire(100.0 + ANNOUNCE_TTL, bus_answers=True) == []
    silent = peers.expire(100.1 + ANNOUNCE_TTL, bus_answers=True)
    assert [each.slot for each in silent] == [1]
    assert peers.expire(200.0, bus_answers=True) == []
    assert not peers.is_alive("6" * 16)
    assert peers.is_alive(US)


def test_a_dead_process_loses_all_its_endpoints() -> None:
    peers = Peers(US, 0)
    for slot in (1, 2):
        peers.announced(announcement("6", slot), 0.0)
    peers.announced(announcement("7", 3), 0.0)
    assert peers.has_address(Address("127.0.0.1", 1002))
    gone = peers.remove_process("6" * 16)
    assert gone == [TransceiverIdentity(0, 1, 1), TransceiverIdentity(0, 2, 1)]
    assert not peers.has_address(Address("127.0.0.1", 1002))
    assert peers.address_of(TransceiverIdentity(0, 3, 1)) == Address("127.0.0.1", 1003)


def test_the_least_loaded_peer_that_takes_calls_comes_first() -> None:
    peers = Peers(US, 0)
    peers.announced(announcement("6", 1, sessions=9), 0.0)
    peers.announced(announcement("7", 2, sessions=3), 0.0)
    peers.announced(announcement("8", 3, state="draining"), 0.0)
    assert [each.slot for each in peers.ready()] == [2, 1]
