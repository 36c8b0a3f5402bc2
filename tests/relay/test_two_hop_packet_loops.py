"""Both packet loops on real sockets, as ingress and as a cluster's relay: what goes in comes out at the other end.

Relays are loops in this process, with a clock of the test's own; sockets are on loopback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import select
import socket
import sys
import time
from collections.abc import Iterator

import pytest
from support.processes.relay_process import ROUTE_KEYS, binding_request, mint

from antiphon.relay.core.backbone_table import Relay
from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import header_of, key_of
from antiphon.relay.core.outgoing import MAX_DATAGRAM
from antiphon.relay.core.remote_owner import owner_elsewhere
from antiphon.relay.core.two_hops import TwoHopsSettings
from antiphon.relay.dataplane.batched import BATCH, BatchedPath
from antiphon.relay.dataplane.icmp_errors import failed_sends, report_errors
from antiphon.relay.dataplane.mmsg import Batch
from antiphon.relay.dataplane.portable import PortablePath
from antiphon.schemas.backbone import BackboneKeys, Route, with_route
from antiphon.schemas.route_token import RouteKeyring
from antiphon.schemas.tunnel import FAMILY_IPV4, IPV6_HEADER

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="the batched loop is for Linux")]

NO_TAG, TAG = BackboneKeys(), BackboneKeys([b"k" * 32])


def bound(host: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.settimeout(5)
    return made


def key(of: socket.socket) -> int:
    return key_of(of.getsockname())


class Node:
    """A relay: one worker's sockets and loop."""

    def __init__(self, path: str, cluster: int, ingress: int, keys: BackboneKeys, backbone: str = "127.0.0.1") -> None:
        self.public = {socket.AF_INET: bound(), socket.AF_INET6: bound("::1")}
        self.tunnel, self.backbone = bound(), bound(backbone)
        self.transceiver = bound()
        settings = TwoHopsSettings(ingress, cluster, 0, keys, key(self.backbone))
        keyring = RouteKeyring.from_text(ROUTE_KEYS)
        self.core = RelayCore(keyring, 1000, time.time(), two_hops=settings)
        self.core.set_routes({(cluster, 4, 3): key(self.transceiver)}, 0.0)
        kind = BatchedPath if path == "batched" else PortablePath
        if kind is BatchedPath:
            self.path: PortablePath = BatchedPath(self.core, self.public, self.tunnel, backbone=self.backbone)
        else:
            self.path = PortablePath(self.core, self.public, self.tunnel, self.backbone)
        for each in (self.tunnel, *self.public.values()):
            each.setblocking(False)
        self.relay = Relay(cluster, f"relay{ingress}", ingress, True, (key(self.backbone),))
        self.sockets = [self.tunnel, self.backbone, self.transceiver, *self.public.values()]

    def turn(self, now: float) -> None:
        """Forward what waits at all sockets."""
        for family in self.public:
            while self.path.from_clients(family, now):
                pass
        for move in (self.path.from_tunnel, self.path.from_backbone):
            while move(now):
                pass

    def close(self) -> None:
        for each in self.sockets:
            each.close()


class World:
    """An ingress of cluster 1, two relays of cluster 2 with one transceiver each, which the test answers for."""

    def __init__(self, path: str, keys: BackboneKeys, backbone: str = "127.0.0.1") -> None:
        self.near = Node(path, 1, 7, keys, backbone)
        self.far = [Node(path, 2, 8, keys, backbone), Node(path, 2, 9, keys, backbone)]
        self.transceiver = self.far[0].transceiver
        self.far[1].core.set_routes({(2, 4, 3): key(self.transceiver)}, 0.0)
        self.nodes = [self.near, *self.far]
        for node in self.nodes:
            node.core.set_relays([each.relay for each in self.nodes], 0.0)
        self.clients: list[socket.socket] = []

    def turn(self, now: float = 1.0) -> None:
        for _ in range(2):
            for node in self.nodes:
                node.turn(now)

    def client(self, host: str = "127.0.0.1") -> socket.socket:
        self.clients.append(bound(host))
        return self.clients[-1]

    def entrance(self, of: socket.socket) -> tuple[str, int]:
        host, port = self.near.public[of.family].getsockname()[:2]
        return host, port

    def call(self, client: socket.socket, now: float = 1.0) -> bytes:
        """The client asks and the transceiver answers: the name of the flow."""
        request = binding_request(mint(4, 3, 2))
        client.sendto(request, self.entrance(client))
        self.turn(now)
        packet, relay = self.transceiver.recvfrom(4096)
        name = with_route(header_of(key(client)), Route(7, 4, 3, 0))
        assert packet == name + request
        self.transceiver.sendto(name + b"\1\1answer", relay)
        self.turn(now)
        assert client.recv(4096) == b"\1\1answer"
        return name

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for node in self.nodes:
            node.close()

    @property
    def drops(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for node in self.nodes:
            for reason, count in node.core.counters.drops.items():
                total[reason] = total.get(reason, 0) + count
        return {reason: count for reason, count in total.items() if count}


@pytest.fixture(params=["batched", "portable"])
def path(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=[NO_TAG, TAG], ids=["no tag", "tag"])
def keys(request: pytest.FixtureRequest) -> BackboneKeys:
    found: BackboneKeys = request.param
    return found


@contextlib.contextmanager
def world(path: str, keys: BackboneKeys, backbone: str = "127.0.0.1") -> Iterator[World]:
    made = World(path, keys, backbone)
    try:
        yield made
    finally:
        made.close()


def received(by: socket.socket) -> list[bytes]:
    by.setblocking(False)
    packets = []
    with contextlib.suppress(BlockingIOError):
        while True:
            packets.append(by.recv(4096))
    by.settimeout(5)
    return packets


@pytest.mark.parametrize("hosts", [["127.0.0.1"], ["::1"], ["127.0.0.1", "::1"]], ids=["IPv4", "IPv6", "both"])
@pytest.mark.parametrize("backbone", ["127.0.0.1", "::1"], ids=["on IPv4", "on IPv6"])
def test_batches_of_all_lengths_come_out_as_they_went_in(
    path: str, keys: BackboneKeys, hosts: list[str], backbone: str
) -> None:
    draw = random.Random(3)
    with world(path, keys, backbone) as here:
        clients = [here.client(draw.choice(hosts)) for _ in range(60)]
        names = [here.call(client) for client in clients]
        for spread in (1, 7, 60, 1300):
            payloads = [b"\x80" + draw.randbytes(60 + draw.randrange(spread)) for _ in clients]
            for client, payload in zip(clients, payloads, strict=True):
                client.sendto(payload, here.entrance(client))
            here.turn()
            expected = {name + payload for name, payload in zip(names, payloads, strict=True)}
            assert set(received(here.transceiver)) == expected
            for number, (name, payload) in enumerate(zip(names, payloads, strict=True)):
                here.transceiver.sendto(name + payload, here.far[number % 2].tunnel.getsockname())
            here.turn()
            assert [received(client) for client in clients] == [[payload] for payload in payloads]
        assert not here.drops
        assert here.near.core.counters.packets_to_relays == 5 * 60
        assert here.near.core.counters.packets_to_clients == 5 * 60
        assert sum(node.core.counters.packets_to_relays for node in here.far) == 5 * 60
        assert here.near.core.counters.bytes_to_relays == sum(
            node.core.counters.bytes_to_transceivers for node in here.far
        )


def test_one_hop_and_two_hops_are_told_apart_within_a_batch(path: str, keys: BackboneKeys) -> None:
    """The ingress is the relay of its own cluster too: calls of its own, calls to elsewhere, calls from elsewhere."""
    draw = random.Random(5)
    with world(path, keys) as here:
        near, home = here.near, here.near.transceiver
        away = [here.client() for _ in range(20)]
        names = [here.call(client) for client in away]
        own = [here.client(host) for host in ["127.0.0.1"] * 15 + ["::1"] * 5]
        for client in own:
            client.sendto(binding_request(mint(4, 3, 1)), here.entrance(client))
            here.turn()
            home.recv(4096)
            home.sendto(header_of(key(client)) + b"\1\1answer", near.tunnel.getsockname())
            here.turn()
            client.recv(4096)
        # Clients of the other region's ingress, number 8, whose transceiver is here: names that its relay would send.
        strangers = [header_of(key_of(("192.0.2.9", 1000 + n))) for n in range(20)]
        foreign = [with_route(each, Route(8, 4, 3, 0)) for each in strangers]
        far = here.far[0].backbone
        sent_here: set[bytes] = set()
        sent_away: set[bytes] = set()
        traffic = [*enumerate(away), *((n + 20, client) for n, client in enumerate(own))]
        draw.shuffle(traffic)
        for number, client in traffic:
            payload = b"\x80" + draw.randbytes(100 + number)
            client.sendto(payload, here.entrance(client))
            if number < 20:
                sent_away.add(names[number] + payload)
            else:
                sent_here.add(header_of(key(client)) + payload)
        played = {}
        for number, name in enumerate(foreign):
            payload = b"\x80" + draw.randbytes(100 + number)
            far.sendto(keys.seal(name, payload), near.backbone.getsockname())
            sent_here.add(name + payload)
            down = b"\x80" + draw.randbytes(90 + number)
            here.transceiver.sendto(names[number] + down, here.far[number % 2].tunnel.getsockname())
            played[away[number]] = down
        here.turn()
        assert set(received(home)) == sent_here
        assert set(received(here.transceiver)) == sent_away
        assert {client: received(client) for client in away} == {each: [down] for each, down in played.items()}
        # And back: the transceiver here answers its own clients and those of the other ingress.
        back = []
        for number, name in enumerate(foreign):
            home.sendto(name + b"\x80back" + bytes([number]), near.tunnel.getsockname())
            home.sendto(header_of(key(own[number])) + b"\x80own" + bytes([number]), near.tunnel.getsockname())
            back.append(keys.seal(name, b"\x80back" + bytes([number])))
        near.turn(1.0)
        assert set(received(far)) == set(back)
        assert [received(client) for client in own] == [[b"\x80own" + bytes([n])] for n in range(20)]
        assert not here.drops


def test_forged_packets_between_calls_go_nowhere_and_disturb_none(path: str, keys: BackboneKeys) -> None:
    draw = random.Random(7)
    with world(path, keys) as here, bound() as stranger:
        clients = [here.client() for _ in range(30)]
        names = [here.call(client) for client in clients]
        at = here.near.backbone.getsockname()
        friend = here.far[0].backbone  # an announced address, from which anything may come
        forged = 0
        for number, (client, name) in enumerate(zip(clients, names, strict=True)):
            good = keys.seal(name, b"\x80good" + bytes([number]))
            broken = bytearray(good)
            broken[16 if keys.tagged else 15] ^= 0x40
            other_slot = keys.seal(with_route(header_of(key(client)), Route(7, 5, 3, 0)), b"\x80no")
            for packet in (bytes(broken), other_slot, draw.randbytes(draw.randrange(1, 60)), b"", good[:20]):
                friend.sendto(packet, at)
                forged += 1
            stranger.sendto(good, at)
            forged += 1
            friend.sendto(good, at)
            if not number % 10:
                here.near.turn(1.0)
        before = dict(here.near.core.flows.owners)
        here.near.turn(1.0)
        good_of = [[b"\x80good" + bytes([n])] for n in range(30)]
        assert [[p for p in received(client) if p.startswith(b"\x80good")] for client in clients] == good_of
        assert here.near.core.flows.owners == before
        # 4 octets behind a header are a datagram where there is no tag.
        assert sum(here.drops.values()) == forged - (0 if keys.tagged else 30)


def test_packets_with_the_old_key_and_the_new_one_come_in_one_batch(path: str) -> None:
    old, new = b"o" * 32, b"n" * 32
    with world(path, BackboneKeys([new, old])) as here:
        clients = [here.client() for _ in range(40)]
        names = [here.call(client) for client in clients]
        seals = [BackboneKeys([new]), BackboneKeys([old]), BackboneKeys([b"x" * 32])]
        for share in ((1, 0, 0), (1, 1, 1), (0, 1, 0), (1, 1, 0)):
            sent = {}
            for number, (client, name) in enumerate(zip(clients, names, strict=True)):
                which = [which for which, wanted in enumerate(share) if wanted][number % sum(share)]
                packet = seals[which].seal(name, b"\x80" + bytes([number, which]))
                here.far[0].backbone.sendto(packet, here.near.backbone.getsockname())
                sent[client] = [] if which == 2 else [b"\x80" + bytes([number, which])]
            here.near.turn(1.0)
            assert {client: received(client) for client in clients} == sent
        assert here.drops == {"bad_backbone_packet": 13}


def test_a_datagram_of_1500_octets_passes_and_a_longer_or_empty_one_does_not(path: str, keys: BackboneKeys) -> None:
    with world(path, keys) as here:
        client = here.client()
        name = here.call(client)
        longest = b"\x80" + os.urandom(MAX_DATAGRAM - 1)
        for payload in (longest, longest + b"x", b""):
            client.sendto(payload, here.entrance(client))
        here.turn()
        assert received(here.transceiver) == [name + longest]
        for payload in (longest, longest + b"x", b""):
            here.transceiver.sendto(name + payload, here.far[0].tunnel.getsockname())
        here.turn()
        assert received(client) == [longest]
        assert here.drops == {"bad_length": 3}


def test_a_burst_of_one_client_stays_in_order(path: str, keys: BackboneKeys) -> None:
    with world(path, keys) as here:
        client = here.client()
        name = here.call(client)
        payloads = [b"\x80" + bytes([number]) * (50 + number * 37 % 90) for number in range(BATCH)]
        for payload in payloads:
            client.sendto(payload, here.entrance(client))
        here.turn()
        assert received(here.transceiver) == [name + payload for payload in payloads]


def test_a_closed_port_puts_its_relay_out_at_once_and_the_next_packets_go_to_the_other(
    path: str, keys: BackboneKeys
) -> None:
    with world(path, keys) as here:
        clients = [here.client() for _ in range(20)]
        names = [here.call(client) for client in clients]
        near = here.near
        assert near.path.backbone is not None
        near.path.backbone.send_hellos(2.0)
        here.turn(2.0)
        here.far[1].backbone.close()
        poll = select.poll()
        poll.register(near.backbone.fileno(), 0)
        for _ in range(20):  # the kernel limits how many ICMP errors the whole machine gets a second
            for client in clients:
                client.sendto(b"\x80into the dark", here.entrance(client))
            near.turn(2.1)
            if poll.poll(200):
                break
        else:
            raise AssertionError("the kernel reports no ICMP error")
        near.path.backbone.read_errors(2.1)
        here.nodes.remove(here.far[1])
        here.turn(2.1)
        received(here.transceiver)
        for client in clients:
            client.sendto(b"\x80media", here.entrance(client))
        here.turn(2.2)
        assert set(received(here.transceiver)) == {name + b"\x80media" for name in names}
        assert near.path.backbone.due_report(2.2) is not None
        assert near.core.two_hops is not None
        assert near.core.two_hops.round_trips()[1] == ["relay9"]
        for each in (here.far[1].tunnel, here.far[1].transceiver, *here.far[1].public.values()):
            each.close()


def test_an_error_of_an_earlier_packet_costs_no_packet_to_another_address() -> None:
    batch = Batch(2)
    with bound() as sender, bound() as good, bound() as closed:
        report_errors(sender)
        gone = closed.getsockname()
        closed.close()
        sender.sendto(b"nobody", gone)
        poll = select.poll()
        poll.register(sender.fileno(), 0)
        assert poll.poll(2000)
        batch.put(0, b"one", key(good))
        batch.put(1, b"two", key(good))
        assert batch.send(sender.fileno(), 2) == 2
        assert [good.recv(10), good.recv(10)] == [b"one", b"two"]
        assert failed_sends(sender) == [(gone, errno.ECONNREFUSED)]


def test_the_address_of_an_ipv6_client_is_whole_in_the_header(path: str, keys: BackboneKeys) -> None:
    with world(path, keys) as here:
        name = here.call(here.client("::1"))
        assert len(name) == IPV6_HEADER + 8
        assert name[0] != FAMILY_IPV4
        assert here.near.core.flows.owners.popitem()[1] == header_of(owner_elsewhere((2, 4, 3)))
