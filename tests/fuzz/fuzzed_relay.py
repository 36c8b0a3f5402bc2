"""The relay's core under a fuzzer, in both roles of two hops: packets of clients, transceivers and other relays.

What `core` promises is checked after each packet: where it may go to, given where it came from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from antiphon.relay.core.backbone_table import Relay
from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import key_of_address
from antiphon.relay.core.outgoing import MAX_DATAGRAM, Outgoing, Through
from antiphon.relay.core.remote_owner import identity_of, is_elsewhere
from antiphon.relay.core.two_hops import TwoHopsSettings
from antiphon.schemas import backbone, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.backbone import BackboneKeys
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.route_token import RouteKeyring

KEYS: Final = RouteKeyring.from_text("A:00112233445566778899aabbccddeeff")
NOW: Final = 1_800_000_000
PLAIN, TAGGED = BackboneKeys(), BackboneKeys([bytes(range(32))])
OWNERS: Final = [key_of_address(Address("10.0.0.1", 5000)), key_of_address(Address("10.0.0.2", 5000))]
CLIENTS: Final = [key_of_address(Address("203.0.113.7", 4000)), key_of_address(Address("2001:db8::7", 4000))]
INGRESS, OTHER_INGRESS, OTHER_CLUSTER = 5, 9, 7
ROUTES: Final = {(0, 1, 1): OWNERS[0], (0, 2, 1): OWNERS[1]}
MAX_FLOWS: Final = 8


def _backbone(number: int) -> int:
    return key_of_address(Address(f"192.0.2.{number}", 7000))


OTHER_RELAYS: Final = [
    Relay(OTHER_CLUSTER, "other", OTHER_INGRESS, True, (_backbone(1), _backbone(2))),
    Relay(0, "of the own cluster", 3, True, (_backbone(3),)),
    Relay(None, "no cluster", 4, False, (_backbone(4),)),
]
ADDRESSES: Final = [_backbone(1), _backbone(2), _backbone(3), _backbone(4)]
UNKNOWN_RELAY: Final = _backbone(99)

CLIENT, TRANSCEIVER, OTHER_RELAY, EVENT = range(4)
"""Bits 2 and 3 of `who`: where a packet comes from. Bits 0 and 1 are its number there, the others are time."""
MOVES, HELLOS, OUT, TABLES = range(4)
"""The number of an `EVENT`."""


class FuzzedRelay:
    """One relay for one input. `settings`: bit 0 tags, 1 no own cluster, 2 clients on ICE-TCP, 3 no look-ups."""

    def __init__(self, settings: int) -> None:
        self._keys = TAGGED if settings & 1 else PLAIN
        self._core = RelayCore(
            KEYS,
            MAX_FLOWS,
            NOW,
            tcp=bool(settings & 4),
            asking=not settings & 8,
            two_hops=TwoHopsSettings(INGRESS, None if settings & 2 else 0, 0, self._keys),
        )
        self._now = 0.0
        self._core.set_routes(ROUTES, 0)
        self._core.set_relays(OTHER_RELAYS, 0)

    def take(self, who: int, packet: bytes) -> None:
        """A packet, or something that happens."""
        self._now += (who >> 4) / 4
        core, number = self._core, who & 3
        match who >> 2 & 3:
            case 0:
                self._from_client(CLIENTS[number & 1], packet)
            case 1:
                self._from_tunnel(OWNERS[number & 1] if number & 2 else CLIENTS[0], packet)
            case 2:
                self._from_relay(UNKNOWN_RELAY if packet[:1] == b"\xff" else ADDRESSES[number], packet[1:])
            case _:
                self._event(number, packet)
        core.tick(self._now, NOW)
        for client, owner, datagram in core.take_deliverable():
            self._to_owner(client, owner, datagram)
        assert len(core.flows) <= MAX_FLOWS

    def _from_client(self, client: int, packet: bytes) -> None:
        owner = self._core.from_client(client, packet, self._now)
        if owner is not None:
            assert 0 < len(packet) <= MAX_DATAGRAM
            self._to_owner(client, owner, packet)

    def _to_owner(self, client: int, owner: int, packet: bytes) -> None:
        """To an announced transceiver, or sealed to a relay of the owner's cluster."""
        if not is_elsewhere(owner):
            assert owner in OWNERS
            return
        two_hops, sealed = self._core.two_hops, self._core.backbone.sealed(client, owner, packet)
        assert two_hops is not None
        if sealed is not None:
            assert sealed.through is Through.BACKBONE
            assert two_hops.table.relay_at[sealed.to].cluster == identity_of(owner)[0] != two_hops.cluster
            header, datagram = self._keys.open(bytes(sealed.data))
            assert datagram == packet
            assert backbone.route_of(header).ingress == two_hops.ingress

    def _from_tunnel(self, source: int, packet: bytes) -> None:
        core = self._core
        if len(packet) > 1 and packet[1] & tunnel.BACKBONE_BIT >> 8:
            for each in core.backbone.to_ingress(source, packet, self._now):
                assert source in OWNERS
                assert each.through in (Through.BACKBONE, Through.PUBLIC)
                if each.through is Through.PUBLIC:
                    assert core.flows.confirmed_owner(each.to) == source
                else:
                    assert each.to in ADDRESSES
            return
        to = core.from_tunnel(source, packet, self._now)
        assert to is None or (source in OWNERS and len(packet) > 8 and core.flows.confirmed_owner(to) == source)

    def _from_relay(self, source: int, packet: bytes) -> None:
        """Tags can't be guessed: the fuzzer's packets get one."""
        for each in self._core.backbone.received(source, self._sealed(packet), self._now):
            self._check_from_relay(source, each)

    def _sealed(self, packet: bytes) -> bytes:
        if self._keys is TAGGED:
            with contextlib.suppress(MalformedError):
                if backbone.is_hello(packet):
                    return self._keys.seal_hello(PLAIN.open_hello(packet))
                return self._keys.seal(*PLAIN.open(packet))
        return packet

    def _check_from_relay(self, source: int, each: Outgoing) -> None:
        """A packet of another relay goes to a transceiver or to a client, never to a third relay."""
        core, two_hops = self._core, self._core.two_hops
        assert two_hops is not None
        relay = two_hops.table.relay_at[source]
        if each.through is Through.TUNNEL:
            assert each.to in OWNERS
        elif each.through is Through.BACKBONE:
            assert each.to == source
            assert self._keys.open_hello(each.data).kind == backbone.ANSWER
        else:
            owner = core.flows.confirmed_owner(each.to)
            assert owner is not None
            assert is_elsewhere(owner)
            assert identity_of(owner)[0] == relay.cluster

    def _event(self, number: int, said: bytes) -> None:
        core, two_hops = self._core, self._core.two_hops
        assert two_hops is not None
        first = said[0] if said else 0
        if number == MOVES:
            core.set_moves(_moves(said), self._now)
        elif number == HELLOS:
            for address, packet in two_hops.due_hellos(self._now):
                assert address in ADDRESSES
                if first >> ADDRESSES.index(address) & 1:
                    answer = self._keys.open_hello(packet)._replace(kind=backbone.ANSWER)
                    assert core.backbone.received(address, self._keys.seal_hello(answer), self._now) == []
        elif number == OUT:
            two_hops.failed(ADDRESSES[first & 3], self._now)
        else:
            core.set_relays([relay for bit, relay in enumerate(OTHER_RELAYS) if not first >> bit & 1], self._now)
            core.set_ingress(OTHER_INGRESS if first & 8 else INGRESS, self._now)
            kept = {identity: owner for bit, (identity, owner) in enumerate(ROUTES.items()) if not first >> 4 + bit & 1}
            core.set_routes(kept, self._now)
            core.repeat_hellos(self._now)
        two_hops.round_trips()


def _moves(said: bytes) -> Iterable[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """Six octets each: clusters of a few, and slots and epochs that others know too."""
    for at in range(0, len(said) - 5, 6):
        a, b, c, d, e, f = said[at : at + 6]
        yield (a & 7, b & 7, c & 3), (d & 7, e & 7, f & 3)
