"""One caller floods a real relay process: it gets its budget, a neighbour of the same address loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

import pytest
from support.peers.relay_calls import call
from support.processes.relay_process import (
    Datagrams,
    FakeTransceiver,
    RelayProcess,
    binding_request,
    fake_transceiver,
    relay_process,
)
from support.processes.two_regions import check_reaches, relays_of, shows, token_of, transceiver_of

from antiphon.relay.dataplane.rfc4571 import pack_frame
from antiphon.runtime.nats import connection
from antiphon.schemas import subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement, decode

pytestmark = pytest.mark.process

RATE, BURST = 500, 250
SECONDS = 1.0
FLOOD, NEIGHBOUR = b"\x80flood" + bytes(150), b"\x80neighbour" + bytes(150)
FLOODED_PER_MS = 10
NEIGHBOUR_EVERY = 0.02


class Received:
    """What reaches the owner, read all the time so that its socket's buffer does not overflow."""

    def __init__(self, owner: FakeTransceiver) -> None:
        self.flood = self.neighbour = 0
        self._owner = owner

    def read(self) -> None:
        for packet in self._owner.datagrams.waiting():
            if packet != tunnel.HELLO and tunnel.ingress_of_hello(packet) is None:
                payload = tunnel.unpack(packet).payload
                self.flood += payload == FLOOD
                self.neighbour += payload == NEIGHBOUR


async def _flood(flood: Callable[[], None], neighbour: Callable[[], None], received: Received) -> tuple[int, float]:
    """Both send for `SECONDS`; how many packets the neighbour has sent, and the seconds that it took."""
    began, flooded, sent = time.monotonic(), 0, 0
    while (passed := time.monotonic() - began) < SECONDS:
        while flooded < passed * 1000:
            for _ in range(FLOODED_PER_MS):
                flood()
            flooded += 1
        while sent < passed / NEIGHBOUR_EVERY:
            neighbour()
            sent += 1
        received.read()
        await asyncio.sleep(0.001)
    return sent, passed


async def _has_its_budget_and_no_more(
    relay: RelayProcess, received: Received, sent: int, took: float, workers: int = 1
) -> None:
    async with asyncio.timeout(10):
        while received.neighbour < sent:
            received.read()
            await asyncio.sleep(0.01)
    assert received.neighbour == sent
    # Two workers tell each other ten times a second what a busy call has sent.
    assert received.flood <= BURST * workers + RATE * took * (1 if workers == 1 else 1.3)
    assert received.flood >= RATE * took * 0.5
    assert (await relay.statistics()).drops["over_budget"] > 0


@pytest.mark.parametrize("path", ["batched", pytest.param("portable", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_flood_over_udp_costs_the_flooder_alone(nats_url: str, path: str, host: str) -> None:
    bind = f"127.0.0.1:0,[{host}]:0" if ":" in host else f"{host}:0"
    async with relay_process(nats_url, path, bind) as relay, fake_transceiver(nats_url) as owner:
        await relay.knows(routes=1)
        flooder, neighbour = Datagrams(host), Datagrams(host)
        try:
            for each in (flooder, neighbour):
                await call(each, relay, owner)
            at = next(each for each in relay.public if (":" in each.host) == (":" in host))
            received = Received(owner)
            sent, took = await _flood(lambda: flooder.send(FLOOD, at), lambda: neighbour.send(NEIGHBOUR, at), received)
            await _has_its_budget_and_no_more(relay, received, sent, took + 0.2)
        finally:
            flooder.close()
            neighbour.close()


async def test_source_ports_on_several_workers_bring_no_multiple_of_the_budget(nats_url: str) -> None:
    async with (
        relay_process(nats_url, settings={"ANTIPHON_RELAY_WORKERS": "2"}) as relay,
        fake_transceiver(nats_url) as owner,
    ):
        await relay.knows(routes=1)
        ufrag, neighbour = owner.ufrag(), Datagrams()
        flooders = [Datagrams() for _ in range(12)]
        try:
            through = set[Address]()
            for client, token in [*((flooder, ufrag) for flooder in flooders), (neighbour, owner.ufrag())]:
                client.send(binding_request(token), relay.address)
                packet, tunnel_address = await owner.receive()
                owner.datagrams.send(packet.header + b"\1\1answer", tunnel_address)
                await client.receive()
                through.add(tunnel_address)
            assert len(through) == 2
            received, number = Received(owner), 0

            def flood() -> None:
                nonlocal number
                number += 1
                flooders[number % len(flooders)].send(FLOOD, relay.address)

            sent, took = await _flood(flood, lambda: neighbour.send(NEIGHBOUR, relay.address), received)
            await _has_its_budget_and_no_more(relay, received, sent, took + 0.2, workers=2)
        finally:
            for each in (*flooders, neighbour):
                each.close()


async def test_a_flood_over_two_hops_costs_the_flooder_alone(nats_url: str) -> None:
    """The ingress counts: neither the backbone nor the other cluster gets more."""
    flooder, neighbour = Datagrams(), Datagrams()
    async with (
        transceiver_of(nats_url, 2) as owner,
        relays_of(nats_url, 1, 2) as (ingress, _),
    ):
        await shows(ingress, relays=1)
        for each in (flooder, neighbour):
            await check_reaches(each, token_of(owner), ingress, owner)
        received = Received(owner)
        sent, took = await _flood(
            lambda: flooder.send(FLOOD, ingress.address), lambda: neighbour.send(NEIGHBOUR, ingress.address), received
        )
        await _has_its_budget_and_no_more(ingress, received, sent, took + 0.2)
        assert (await ingress.statistics()).packets_to_relays <= received.flood + received.neighbour + 100
    flooder.close()
    neighbour.close()


async def _tcp_call(owner: FakeTransceiver, address: Address) -> socket.socket:
    client = socket.create_connection(address)
    client.sendall(pack_frame(binding_request(owner.ufrag())))
    packet, through = await owner.receive()
    owner.datagrams.send(packet.header + b"\1\1answer", through)
    await asyncio.to_thread(client.recv, 100)
    client.setblocking(False)
    return client


@pytest.mark.parametrize("then", [b"", pack_frame(b"") * 500], ids=["media", "empty frames"])
async def test_a_flood_over_tcp_costs_the_flooder_alone(nats_url: str, then: bytes) -> None:
    settings = {"ANTIPHON_RELAY_TCP_BIND": "127.0.0.1:0"}
    async with relay_process(nats_url, settings=settings) as relay, fake_transceiver(nats_url) as owner:
        await relay.knows(routes=1)
        client = await connection.connect(nats_url, "test")
        announced = await client.subscribe(subjects.relay_announce("test"))
        address = parse_address(decode((await announced.next_msg(5)).data, RelayAnnouncement).tcp_addresses[0])
        await client.close()
        flooder, neighbour = await _tcp_call(owner, address), await _tcp_call(owner, address)
        unsent = bytearray()

        def flood() -> None:
            if len(unsent) < 1 << 16:
                unsent.extend(pack_frame(FLOOD) + then)
            with contextlib.suppress(BlockingIOError):
                del unsent[: flooder.send(unsent)]

        try:
            received = Received(owner)
            sent, took = await _flood(flood, lambda: neighbour.sendall(pack_frame(NEIGHBOUR)), received)
            async with asyncio.timeout(10):
                while received.neighbour < sent:
                    received.read()
                    await asyncio.sleep(0.01)
            assert received.flood <= BURST + RATE * (took + 0.5)
        finally:
            flooder.close()
            neighbour.close()
