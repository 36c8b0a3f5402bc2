"""Who gets which packet, with both packet loops: real sockets, a real NATS server, a transceiver that is a socket."""

from __future__ import annotations

import random

import pytest
from support.peers.relay_calls import MEDIA, call, client_socket, media
from support.processes.relay_process import (
    Datagrams,
    RelayProcess,
    binding_request,
    fake_transceiver,
    mint,
    relay_process,
)

from antiphon.schemas.tunnel import pack_header

pytestmark = pytest.mark.process


async def test_a_binding_request_reaches_the_owner_its_token_names(relay: RelayProcess) -> None:
    url = relay.nats_url
    async with fake_transceiver(url, slot=1) as first, fake_transceiver(url, slot=2, epoch=7) as second:
        await relay.knows(routes=2)
        with client_socket() as alice, client_socket() as bob:
            await call(alice, relay, second)
            await call(bob, relay, first)
            await media(alice, relay, second)
            statistics = await relay.statistics()
    assert (statistics.flows_confirmed, statistics.flows_half_open) == (2, 0)
    assert statistics.packets_to_transceivers == statistics.packets_to_clients == 5
    assert not statistics.drops


async def test_a_burst_of_everything_comes_out_right(relay: RelayProcess) -> None:
    noise = random.Random(4)
    url = relay.nats_url
    async with fake_transceiver(url, slot=1) as first, fake_transceiver(url, slot=2) as second:
        await relay.knows(routes=2)
        owners = [first, second]
        clients = [Datagrams() for _ in range(8)]
        mute = Datagrams()
        try:
            for index, client in enumerate(clients):
                await call(client, relay, owners[index % 2])
            for _ in range(8):  # bursts that are longer than a batch and fit into a socket's buffer
                sent: list[list[tuple[int, bytes]]] = [[], []]
                for number in range(50):
                    index = noise.randrange(8)
                    datagram = noise.choice([
                        bytes([noise.choice((20, 23, 128, 144))]) + noise.randbytes(noise.randrange(1400)),
                        binding_request(owners[index % 2].ufrag()),
                        noise.randbytes(1501 + number),  # too long
                        b"",
                    ])  # fmt: skip
                    clients[index].send(datagram, relay.address)
                    mute.send(b"\x80nobody knows me", relay.address)
                    if 0 < len(datagram) <= 1500:
                        sent[index % 2].append((clients[index].address.port, datagram))
                for owner, expected in zip(owners, sent, strict=True):
                    for each in expected:
                        packet, _ = await owner.receive()
                        assert (packet.client.port, packet.payload) == each
            for _ in range(8):
                played: list[list[bytes]] = [[] for _ in clients]
                for _ in range(50):
                    index = noise.randrange(8)
                    header = pack_header(clients[index].address)
                    payload = b"\x80" + noise.randbytes(noise.randrange(1400))
                    owners[(index + 1) % 2].datagrams.send(header + b"not mine", relay.tunnel)
                    owners[index % 2].datagrams.send(header, relay.tunnel)
                    owners[index % 2].datagrams.send(header + payload, relay.tunnel)
                    played[index].append(payload)
                for client, payloads in zip(clients, played, strict=True):
                    for payload in payloads:
                        assert await client.receive() == (payload, relay.address)
            await relay.dropped("not_owner", 400)
            await relay.dropped("unknown_client", 400)  # the last of them are held for a moment
            statistics = await relay.statistics()
        finally:
            for client in (*clients, mute):
                client.close()
    assert statistics.drops["unknown_client"] == 400
    assert statistics.packets_to_clients == 400 + 16
    assert statistics.flows_confirmed == 8


async def test_random_datagrams_change_nothing(relay: RelayProcess) -> None:
    noise = random.Random(3)
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        request = binding_request(owner.ufrag())
        with client_socket() as client:
            for number in range(1, 601):
                client.send(noise.randbytes(noise.randrange(1600)), relay.address)
                client.send(request[: noise.randrange(len(request))], relay.address)
                forged = bytearray(request)
                forged[24 + 1 + noise.randrange(22)] ^= noise.randrange(1, 256)  # within the token
                client.send(bytes(forged), relay.address)
                client.send(noise.randbytes(noise.randrange(64)), relay.tunnel)
                if number % 30 == 0:  # more at once may not fit into a socket's buffer
                    await relay.dropped_in_all(4 * number)
            statistics = await relay.statistics()
            assert statistics.flows_confirmed == statistics.flows_half_open == 0
            assert statistics.packets_to_transceivers == statistics.packets_to_clients == 0
            assert client.waiting() == []
            await call(client, relay, owner)


@pytest.mark.parametrize("case", ["other epoch", "other slot", "of yesterday", "sealed with another key"])
async def test_a_bad_token_opens_nothing(nats_url: str, case: str) -> None:
    ufrag, reason = {
        "other epoch": (mint(epoch=9), "no_route"),
        "other slot": (mint(slot=9), "no_route"),
        "of yesterday": (mint(hours_ago=30), "expired_token"),
        "sealed with another key": (mint(keys="A:ffeeddccbbaa99887766554433221100"), "forged_token"),
    }[case]
    async with relay_process(nats_url) as relay, fake_transceiver(nats_url) as owner:
        await relay.knows(routes=1)
        with client_socket() as client:
            client.send(binding_request(ufrag), relay.address)
            await relay.dropped(reason)
            assert (await relay.statistics()).flows_half_open == 0
            await call(client, relay, owner)


async def test_an_unannounced_sender_cannot_reach_a_client(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        with client_socket() as client, client_socket() as stranger:
            await call(client, relay, owner)
            stranger.send(pack_header(client.address) + b"let me in", relay.tunnel)
            await relay.dropped("unannounced_sender")
            assert client.waiting() == []
            await media(client, relay, owner)


async def test_another_transceiver_cannot_reach_a_client(relay: RelayProcess) -> None:
    url = relay.nats_url
    async with fake_transceiver(url, slot=1) as owner, fake_transceiver(url, slot=2) as other:
        await relay.knows(routes=2)
        with client_socket() as client:
            await call(client, relay, owner)
            other.datagrams.send(pack_header(client.address) + b"wrong number", relay.tunnel)
            await relay.dropped("not_owner")
            assert client.waiting() == []


async def test_a_client_moves_to_the_transceiver_its_next_request_names(relay: RelayProcess) -> None:
    url = relay.nats_url
    async with fake_transceiver(url, slot=1) as first, fake_transceiver(url, slot=2) as second:
        await relay.knows(routes=2)
        with client_socket() as client:
            await call(client, relay, first)
            client.send(binding_request(second.ufrag()), relay.address)
            packet, _ = await second.receive()
            await media(client, relay, first)  # until the new owner answers
            second.datagrams.send(packet.header + b"\1\1answer", relay.tunnel)
            assert (await client.receive())[0] == b"\1\1answer"
            await media(client, relay, second)


@pytest.mark.parametrize("path", ["batched", "portable"])
async def test_clients_on_ipv6_and_ipv4_are_served_side_by_side(nats_url: str, path: str) -> None:
    async with relay_process(nats_url, path, "127.0.0.1:0,[::1]:0") as relay, fake_transceiver(nats_url) as owner:
        await relay.knows(routes=1)
        with client_socket("::1") as alice, client_socket() as bob:
            await call(alice, relay, owner)
            await call(bob, relay, owner)
            await media(alice, relay, owner)
            assert not (await relay.statistics()).drops


async def test_forwarding_survives_a_transceiver_whose_port_is_closed(relay: RelayProcess) -> None:
    url = relay.nats_url
    async with fake_transceiver(url, slot=1) as dead, fake_transceiver(url, slot=2) as alive:
        await relay.knows(routes=2)
        with client_socket() as alice, client_socket() as bob:
            await call(alice, relay, dead)
            await call(bob, relay, alive)
            dead.datagrams.close()
            dead.announcing = False
            for _ in range(50):
                alice.send(MEDIA, relay.address)
                await media(bob, relay, alive)
