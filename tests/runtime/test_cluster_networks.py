"""Which announced addresses are taken for parts of the cluster."""

from __future__ import annotations

import logging

import pytest

from antiphon.runtime.cluster_networks import MAX_NAMED, ClusterNetworks, interface_networks, parse_networks
from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement
from antiphon.transceiver.failover.peers import Peers
from antiphon.transceiver.net.relay_allowlist import MAX_ADDRESSES, MAX_RELAYS, RelayAllowlist

pytestmark = pytest.mark.pure

INSIDE = ClusterNetworks(parse_networks("10.0.0.0/8, fd00::/8"))


def relay(name: str, *addresses: str) -> RelayAnnouncement:
    return RelayAnnouncement(name=name, public_addresses=["203.0.113.1:3478"], tunnel_addresses=list(addresses))


def transceiver(**fields: str) -> TransceiverAnnouncement:
    announced = {"tunnel_address": "10.0.0.2:1", "lifeline": "10.0.0.2:2", "holder": "other"} | fields
    return TransceiverAnnouncement(
        cluster=0,
        slot=1,
        epoch=1,
        state="ready",
        sessions=0,
        capacity=9,
        **announced,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("host", ["10.1.2.3", "fd00::1", "::ffff:10.1.2.3"])
def test_an_address_in_a_network_is_in_the_cluster(host: str) -> None:
    assert host in INSIDE


@pytest.mark.parametrize("host", ["11.0.0.1", "2001:db8::1", "::ffff:8.8.8.8", "nats", ""])
def test_any_other_is_not(host: str) -> None:
    assert host not in INSIDE


def test_the_default_is_what_stays_with_the_operator() -> None:
    default = ClusterNetworks.default("203.0.113.9")
    for inside in ("127.0.0.1", "172.18.0.4", "192.168.1.1", "100.64.3.4", "::1", "fe80::1", "203.0.113.9"):
        assert inside in default, inside
    for outside in ("8.8.8.8", "2001:db8::1", "0.0.0.0", "255.255.255.255"):
        assert outside not in default, outside
    assert all(network.prefixlen >= 8 for network in interface_networks())


def test_a_part_that_is_no_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.1/8' is no network"):
        parse_networks("10.0.0.0/8,10.0.0.1/8")


def test_a_transceiver_elsewhere_is_no_peer() -> None:
    peers = Peers("we", 0, INSIDE)
    assert not peers.announced(transceiver(lifeline="8.8.8.8:22"), 0.0)
    assert not peers.announced(transceiver(tunnel_address="8.8.8.8:53"), 0.0)
    assert not peers.announced(transceiver(lifeline="no address"), 0.0)
    assert peers.to_watch() == {}
    assert peers.announced(transceiver(), 0.0)
    assert {holder: each.address for holder, each in peers.to_watch().items()} == {"other": "10.0.0.2:2"}


def test_a_relay_elsewhere_is_not_trusted_and_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    allowlist = RelayAllowlist(networks=ClusterNetworks(parse_networks("10.0.0.0/8")))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert allowlist.announce(relay("far", "8.8.8.8:1", "10.0.0.1:1"), 0.0) in ([("10.0.0.1", 1)], [])
    assert ("8.8.8.8", 1) not in allowlist
    assert ("10.0.0.1", 1) in allowlist
    assert [record.getMessage() for record in caplog.records if "8.8.8.8" in record.getMessage()] == [
        "relay far announces 8.8.8.8, which is in none of the cluster's networks, and is ignored: set "
        "ANTIPHON_CLUSTER_NETWORKS if it belongs to the cluster"
    ]
    with caplog.at_level(logging.WARNING):
        for number in range(2000):
            allowlist.announce(relay(f"r{number}", f"8.8.{number >> 8}.{number & 255}:1"), 0.0)
    assert len(caplog.records) <= MAX_NAMED


def test_a_relay_of_another_cluster_is_not_trusted_wherever_it_is() -> None:
    allowlist = RelayAllowlist(cluster=3)
    for cluster, trusted in ((None, True), (3, True), (4, False)):
        said = relay(f"of {cluster}", f"10.0.0.{cluster or 1}:1").model_copy(update={"cluster": cluster})
        assert bool(allowlist.announce(said, 0.0)) is trusted
    assert sorted(allowlist) == [("10.0.0.1", 1), ("10.0.0.3", 1)]


def test_false_relays_fill_a_table_of_a_size_and_displace_none_that_is_known() -> None:
    allowlist = RelayAllowlist()
    known = relay("known", "10.0.0.1:1")
    allowlist.announce(known, 0.0)
    for number in range(2000):
        allowlist.announce(relay(f"r{number}", f"10.1.{number >> 8}.{number & 255}:1"), 0.0)
    assert len(list(allowlist)) == MAX_RELAYS
    allowlist.announce(known, 3.0)
    allowlist.expire(6.0)
    assert list(allowlist) == [("10.0.0.1", 1)]
    for number in range(20):
        many = (f"10.2.{number}.{each}:1" for each in range(256))
        allowlist.announce(relay(f"wide{number}", *many), 6.0)
    assert len(list(allowlist)) <= MAX_ADDRESSES
