"""Sockets, and the objects that decide which datagram goes where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nats.aio.client import Client

from antiphon.runtime.cluster_networks import ClusterNetworks, parse_networks
from antiphon.runtime.nats.publisher import Publisher
from antiphon.transceiver.bus.held_output import HeldTogether
from antiphon.transceiver.composition.acquired import Acquired
from antiphon.transceiver.failover.forwarding import PacketForwarder
from antiphon.transceiver.failover.peers import Peers
from antiphon.transceiver.lanes.lanes import Lanes
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, TransceiverIdentity
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist
from antiphon.transceiver.net.relay_link import RelayLink
from antiphon.transceiver.net.relay_names import RelayNames
from antiphon.transceiver.net.tunnel_receiver import TunnelReceiver
from antiphon.transceiver.net.udp_socket import TunnelSocket
from antiphon.transceiver.prepared.first_checks import FirstChecks
from antiphon.transceiver.prepared.waiting_calls import WaitingCalls
from antiphon.transceiver.settings import Settings


@dataclass(frozen=True)
class NetworkParts:
    """Owner: `Parts`."""

    publisher: Publisher
    output: HeldTogether
    """What leaves the process: datagrams and messages."""
    demux: Demux
    endpoints: Endpoints
    open_endpoint: Callable[[TransceiverIdentity], Endpoint]
    """One more endpoint, with a socket of its own, that receives from now on. OSError if there is none."""
    allowlist: RelayAllowlist
    names: RelayNames
    relays: RelayLink
    peers: Peers
    waiting: WaitingCalls
    first_checks: FirstChecks
    lanes: Lanes


def build_network(settings: Settings, client: Client, acquired: Acquired) -> NetworkParts:
    """The endpoint of the process receives from then on."""
    publisher = Publisher(client)
    output = HeldTogether(publisher, acquired.held)
    demux = Demux()
    endpoints = Endpoints(acquired.endpoint(acquired.identity, acquired.socket))
    networks = (
        ClusterNetworks(parse_networks(settings.cluster_networks))
        if settings.cluster_networks
        else ClusterNetworks.default(acquired.advertised)
    )
    allowlist = RelayAllowlist(":" in acquired.host, networks, settings.cluster)
    peers = Peers(acquired.process_id, settings.cluster, networks, settings.node_name)
    waiting = WaitingCalls()
    first_checks = FirstChecks(waiting, settings.password_key_bytes())
    lanes = Lanes(demux, publisher, acquired.held)
    forwarder = PacketForwarder(endpoints, peers, allowlist, settings.password_key_bytes())
    receiver = TunnelReceiver(demux, allowlist, forwarder, first_checks, lanes.inbound)
    names = RelayNames()

    def open_endpoint(identity: TransceiverIdentity) -> Endpoint:
        endpoint = acquired.endpoint(identity, TunnelSocket(acquired.host, 0, acquired.held))
        endpoint.start(receiver, output.hold, output.release)
        return endpoint

    endpoints.own.start(receiver, output.hold, output.release)
    return NetworkParts(
        publisher=publisher,
        output=output,
        demux=demux,
        endpoints=endpoints,
        open_endpoint=open_endpoint,
        allowlist=allowlist,
        names=names,
        relays=RelayLink(client, demux, endpoints, allowlist, names),
        peers=peers,
        waiting=waiting,
        first_checks=first_checks,
        lanes=lanes,
    )
