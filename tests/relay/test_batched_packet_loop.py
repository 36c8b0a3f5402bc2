"""The batched loop on real sockets, with a clock of its own: whole batches of running calls."""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import header_of, key_of
from antiphon.relay.core.flow_table import NO_LIMIT
from antiphon.relay.core.packet_budget import PacketLimit
from antiphon.relay.dataplane.batched import BATCH, BatchedPath
from antiphon.schemas.route_token import RouteKeyring

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="the batched loop is for Linux")]

CALLS = 100


class Bench:
    """A relay's two sockets and its loop, some clients, and two owners of a half of them each."""

    def __init__(self, limit: PacketLimit = NO_LIMIT) -> None:
        self.public, self.tunnel = _bound(), _bound()
        self.owners = [_bound(), _bound()]
        self.clients = [_bound() for _ in range(CALLS)]
        self.core = RelayCore(RouteKeyring.from_text("A:" + "00" * 16), 1000, time.time(), limit=limit)
        self.core.set_routes({(0, n, 1): key_of(owner.getsockname()) for n, owner in enumerate(self.owners)}, 0.0)
        self.path = BatchedPath(self.core, {socket.AF_INET: self.public}, self.tunnel)

    def down(self, numbers: range, payload: bytes, now: float) -> None:
        """The owners send to these clients, and the relay forwards."""
        for number in numbers:
            header = header_of(key_of(self.clients[number].getsockname()))
            self.owners[number % 2].sendto(header + payload, self.tunnel.getsockname())
        while self.path.from_tunnel(now):
            pass

    def close(self) -> None:
        for each in (self.public, self.tunnel, *self.owners, *self.clients):
            each.close()


def _bound() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    bound.settimeout(5)
    return bound


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_batches_of_packets_of_all_lengths_reach_their_owners_as_they_were(bench: Bench) -> None:
    bench.down(range(CALLS), b"hello", 1.0)
    draw = random.Random(3)
    for spread in (1, 7, 60, 1300):  # from equally long ones to hardly any two alike
        payloads = [b"\x80" + draw.randbytes(60 + draw.randrange(spread)) for _ in range(CALLS)]
        for client, payload in zip(bench.clients, payloads, strict=True):
            client.sendto(payload, bench.public.getsockname())
        while bench.path.from_clients(socket.AF_INET, 1.0):
            pass
        for half, owner in enumerate(bench.owners):
            expected = {header_of(key_of(bench.clients[n].getsockname())) + payloads[n] for n in range(half, CALLS, 2)}
            assert {owner.recv(2000) for _ in expected} == expected
    assert bench.core.counters.packets_to_transceivers == 4 * CALLS
    assert bench.core.counters.bytes_to_transceivers > 4 * CALLS * 61
    assert not +bench.core.counters.drops


def test_a_burst_of_one_client_stays_in_order(bench: Bench) -> None:
    bench.down(range(1), b"hello", 1.0)
    payloads = [b"\x80" + bytes([number]) * (50 + number * 37 % 90) for number in range(BATCH)]
    for payload in payloads:
        bench.clients[0].sendto(payload, bench.public.getsockname())
    while bench.path.from_clients(socket.AF_INET, 1.0):
        pass
    assert [bench.owners[0].recv(2000)[8:] for _ in payloads] == payloads


def test_a_flow_whose_owner_speaks_every_5_seconds_is_kept_and_one_that_is_silent_is_not(bench: Bench) -> None:
    bench.down(range(CALLS), b"hello", 0.0)
    for second in range(0, 600, 5):
        bench.down(range(CALLS - 1), b"consent", float(second))
        bench.core.tick(float(second), time.time())
        for client in bench.clients[:-1]:
            client.recv(100)
    assert bench.core.flows.confirmed == CALLS - 1


def test_packets_of_calls_are_forwarded_between_forged_requests(bench: Bench) -> None:
    bench.down(range(CALLS), b"hello", 1.0)
    stranger = _bound()
    try:
        for client in bench.clients[:30]:
            username = b"A" + bytes(random.choices(b"abcdefgh", k=22)) + b":peer"
            request = b"\0\1\0\x20\x21\x12\xa4\x42" + bytes(12) + b"\0\6\0" + bytes([len(username)]) + username
            stranger.sendto(request, bench.public.getsockname())
            client.sendto(b"\x80media", bench.public.getsockname())
        while bench.path.from_clients(socket.AF_INET, 1.0):
            pass
    finally:
        stranger.close()
    assert bench.core.counters.packets_to_transceivers == 30
    assert bench.core.counters.drops == {"forged_token": 30}


def test_what_one_caller_sends_too_much_is_left_out_of_a_batch_and_nothing_else() -> None:
    bench = Bench(PacketLimit(500, 250))
    try:
        bench.down(range(CALLS), b"hello", 1.0)
        arrived: list[bytes] = []
        for turn in range(20):
            for client in bench.clients[1:31]:
                client.sendto(b"\x80media", bench.public.getsockname())
                bench.clients[0].sendto(b"\x80flood", bench.public.getsockname())
            while bench.path.from_clients(socket.AF_INET, 1.0 + turn / 100):
                pass
            arrived += [packet for owner in bench.owners for packet in _waiting(owner)]
    finally:
        bench.close()
    assert sum(packet.endswith(b"media") for packet in arrived) == 20 * 30
    flooded = len(arrived) - 20 * 30
    assert 250 <= flooded <= 250 + 500 * 0.2
    assert bench.core.counters.drops == {"over_budget": 20 * 30 - flooded}


def _waiting(owner: socket.socket) -> list[bytes]:
    owner.setblocking(False)
    packets = []
    with contextlib.suppress(BlockingIOError):
        while True:
            packets.append(owner.recv(100))
    return packets
