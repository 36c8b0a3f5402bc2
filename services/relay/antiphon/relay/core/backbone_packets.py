"""What becomes of packets between two relays, in both roles: of the ingress, and of the cluster's relay.

Sender, tag and header are checked here, in this order; what is sent is an `Outgoing` of `outgoing`. Tables are in
`two_hops`, flows in `flow_table`.
"""

from __future__ import annotations

from typing import Protocol

from antiphon.relay.core.flow_key import header_of, key_in_tunnel_packet
from antiphon.relay.core.flow_table import FlowTable
from antiphon.relay.core.outgoing import MAX_DATAGRAM, Outgoing, Through
from antiphon.relay.core.remote_owner import Identity, owner_elsewhere
from antiphon.relay.core.slot_move_table import SlotMoveTable
from antiphon.relay.core.two_hops import TwoHops
from antiphon.relay.counters import Counters
from antiphon.schemas import backbone
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.tunnel import BACKBONE_BIT, ROUTE_BYTES, TCP_BIT


class Tunnel(Protocol):
    """The way to the transceivers of the own cluster, as `RelayCore` has it."""

    @property
    def announced(self) -> frozenset[int]:
        """The tunnel addresses of the announced transceivers."""

    def from_tunnel(self, source: int, packet: bytes | memoryview, now: float) -> int | None:
        """The client that gets this tunnel packet's payload."""


class BackbonePackets:
    """Decides about each packet from another relay and to one. Belongs to a worker's `RelayCore` and lives as long;
    the packet loops call it, on the process's one thread."""

    def __init__(
        self,
        two_hops: TwoHops | None,
        flows: FlowTable,
        counters: Counters,
        moves: SlotMoveTable,
        tunnel: Tunnel,
        *,
        learning: bool,
        tcp: bool,
    ) -> None:
        """`two_hops`: None where there is no backbone; then all is dropped. `learning`: bare headers make flows known;
        `tcp`: clients are on ICE-TCP."""
        self._two_hops = two_hops
        self._flows = flows
        self._counters = counters
        self._moves = moves
        self._tunnel = tunnel
        self._learning = learning
        self._tcp_bit = TCP_BIT if tcp else 0

    def sealed(self, client: int, owner: int, datagram: bytes | memoryview) -> Outgoing | None:
        """The packet in which a datagram goes to an owner in another cluster; None if no relay of it is known."""
        way = self._two_hops.way_to(client, owner) if self._two_hops is not None else None
        if self._two_hops is None or way is None:
            self._counters.drops["no_relay"] += 1
            return None
        relay, route = way
        return Outgoing(Through.BACKBONE, relay, self._two_hops.sealed(client, route, datagram), len(datagram))

    def received(self, source: int, packet: bytes | memoryview, now: float) -> list[Outgoing]:
        """What becomes of a packet that came to the backbone socket.

        Sender and tag are checked before anything in the packet is used.
        """
        two_hops = self._two_hops
        if two_hops is None or source not in two_hops.table.relay_at:
            return self._dropped("unannounced_sender")
        if backbone.is_hello(packet):
            return self._from_hello(two_hops, source, packet, now)
        try:
            header, datagram = two_hops.keys.open(packet)
        except MalformedError:
            return self._dropped("bad_backbone_packet")
        return self.opened(source, header, datagram, now)

    def _from_hello(self, two_hops: TwoHops, source: int, packet: bytes | memoryview, now: float) -> list[Outgoing]:
        try:
            hello = two_hops.keys.open_hello(packet)
        except MalformedError:
            return self._dropped("bad_backbone_packet")
        answer = two_hops.on_hello(source, hello, now)
        questions = [Outgoing(Through.TUNNEL, owner, ask, 0) for owner, ask in two_hops.take_questions()]
        return questions if answer is None else [Outgoing(Through.BACKBONE, source, answer, 0), *questions]

    def opened(self, source: int, header: bytes, datagram: bytes | memoryview, now: float) -> list[Outgoing]:
        """As `received`, for a packet of an announced relay whose tag was good. `header`: without a tag."""
        two_hops = self._two_hops
        relay = two_hops.table.relay_at.get(source) if two_hops is not None else None
        if two_hops is None or relay is None:
            return self._dropped("unannounced_sender")
        try:
            ingress, slot, epoch, _ = backbone.route_of(header)
        except MalformedError:
            return self._dropped("bad_backbone_packet")
        client = key_in_tunnel_packet(_plain(header))
        if client is None:
            return self._dropped("bad_backbone_packet")
        if len(datagram) > MAX_DATAGRAM:
            return self._dropped("bad_length")
        if ingress == two_hops.ingress:
            if relay.cluster is None:
                return self._dropped("not_owner")
            return self._to_own_client(client, (relay.cluster, slot, epoch), datagram, now)
        if relay.ingress != ingress:
            return self._dropped("wrong_ingress")
        if not two_hops.has_number(relay):
            return self._dropped("ingress_conflict")
        if not datagram:
            return self._dropped("bad_length")
        transceiver = two_hops.transceiver_of(slot, epoch)
        if transceiver is None:
            return self._dropped("no_route")
        return [Outgoing(Through.TUNNEL, transceiver, header + bytes(datagram), len(datagram))]

    def _to_own_client(
        self, client: int, identity: Identity, datagram: bytes | memoryview, now: float
    ) -> list[Outgoing]:
        """The ingress: a packet of another cluster's transceiver for a client that entered here."""
        assert self._two_hops is not None
        if client & TCP_BIT != self._tcp_bit:
            return self._dropped("other_transport") if datagram else []
        owner = owner_elsewhere(identity)
        confirmed = self._flows.confirmed_owner(client)
        if confirmed == owner:
            self._flows.note(client, now)
        else:
            # Bare headers teach for a while after they were asked for. Packets that are sent again later, by a relay or
            # in its name, change nothing; nor do those of a transceiver whose sessions have moved.
            learn = (
                self._learning
                and not datagram
                and self._two_hops.hellos.learns_from(identity[0], now)
                and self._moves.resolve(identity) == identity
            )
            if not self._flows.confirm(client, owner, now, learn):
                if confirmed is not None:
                    return self._dropped("not_owner")
                return self._dropped("table_full" if learn else "not_learning")
        return [Outgoing(Through.PUBLIC, client, datagram, len(datagram))] if datagram else []

    def to_ingress(self, source: int, packet: bytes | memoryview, now: float) -> list[Outgoing]:
        """What becomes of a tunnel packet with a route: it goes back to the ingress that the client entered by."""
        two_hops = self._two_hops
        if source not in self._tunnel.announced:
            return self._dropped("unannounced_sender")
        client = key_in_tunnel_packet(_plain(packet))
        begins = len(header_of(client)) + ROUTE_BYTES if client is not None else 0
        if two_hops is None or client is None or len(packet) < begins:
            return self._dropped("malformed_tunnel")
        header, datagram = bytes(packet[:begins]), packet[begins:]
        try:
            ingress, _, _, worker = backbone.route_of(header)
        except MalformedError:
            return self._dropped("malformed_tunnel")
        if len(datagram) > MAX_DATAGRAM:
            return self._dropped("bad_length")
        if ingress == two_hops.ingress:
            # Sessions that moved into the own cluster: their transceiver may still name clients as it did there.
            to = self._tunnel.from_tunnel(source, _plain(packet)[: begins - ROUTE_BYTES] + bytes(datagram), now)
            return [Outgoing(Through.PUBLIC, to, datagram, len(datagram))] if to is not None else []
        # The clients of an ingress that was restarted may come to any of its workers.
        one = two_hops.worker_of(ingress, worker)
        workers = ([one] if one is not None else []) if datagram else two_hops.workers_of(ingress)
        if not workers:
            return self._dropped("no_ingress")
        sealed = two_hops.keys.seal(header, datagram)
        return [Outgoing(Through.BACKBONE, each, sealed, len(datagram)) for each in workers]

    def _dropped(self, reason: str) -> list[Outgoing]:
        self._counters.drops[reason] += 1
        return []


def _plain(packet: bytes | memoryview) -> bytes:
    """The header in front of a packet as if the client had entered here: bit 14 clear."""
    start = bytes(packet[:20])
    return start[:1] + bytes((start[1] & ~(BACKBONE_BIT >> 8),)) + start[2:] if len(start) > 1 else start
