"""The relay as a process, with both packet loops: real sockets, a real NATS server, a transceiver that is a socket."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import nats
import pytest
from support.nats import nats_server
from support.relay_process import (
    Datagrams,
    FakeTransceiver,
    RelayProcess,
    binding_request,
    fake_transceiver,
    mint,
    relay_process,
    until,
)

from antiphon.schemas import bus, subjects
from antiphon.schemas.messages import encode
from antiphon.schemas.tunnel import pack_header

MEDIA = b"\x80\x6f" + bytes(160)


@pytest.fixture(params=["batched", "portable"])
async def relay(request: pytest.FixtureRequest, nats_url: str) -> AsyncIterator[RelayProcess]:
    """A relay without transceivers, once with each packet loop."""
    async with relay_process(nats_url, request.param) as running:
        yield running


@contextmanager
def client_socket(host: str = "127.0.0.1") -> Iterator[Datagrams]:
    datagrams = Datagrams(host)
    try:
        yield datagrams
    finally:
        datagrams.close()


async def call(client: Datagrams, relay: RelayProcess, owner: FakeTransceiver) -> None:
    """The client asks, its owner answers, media goes both ways."""
    at = next(address for address in relay.public if (":" in address.host) == (":" in client.address.host))
    request = binding_request(owner.ufrag())
    client.send(request, at)
    packet, through = await owner.receive()
    assert (packet.payload, packet.client, through) == (request, client.address, relay.tunnel)
    owner.datagrams.send(packet.header + b"\1\1answer", relay.tunnel)
    assert await client.receive() == (b"\1\1answer", at)
    await media(client, relay, owner)


async def media(client: Datagrams, relay: RelayProcess, owner: FakeTransceiver) -> None:
    """A packet each way."""
    at = next(address for address in relay.public if (":" in address.host) == (":" in client.address.host))
    client.send(MEDIA, at)
    packet, _ = await owner.receive()
    assert (packet.payload, packet.client) == (MEDIA, client.address)
    owner.datagrams.send(packet.header + MEDIA[::-1], relay.tunnel)
    assert await client.receive() == (MEDIA[::-1], at)


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


async def test_a_restarted_relay_finds_its_flows_again(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        with client_socket() as client:
            await call(client, relay, owner)
            relay.kill()
            owner.datagrams.waiting()
            restarted = asyncio.create_task(relay.start())
            asking = await owner.hello()
            owner.datagrams.send(pack_header(client.address), asking)
            await restarted
            owner.datagrams.send(pack_header(client.address) + b"\x80where were we", relay.tunnel)
            assert await client.receive() == (b"\x80where were we", relay.address)
            await media(client, relay, owner)


async def test_a_worker_that_dies_is_replaced_and_its_flows_come_back(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        with client_socket() as client:
            await call(client, relay, owner)
            owner.datagrams.waiting()
            os.kill(_worker_of(relay.pid), signal.SIGKILL)
            client.send(binding_request(owner.ufrag()), relay.address)  # waits in the kernel meanwhile
            asking = await owner.hello()
            assert asking == relay.tunnel
            owner.datagrams.send(pack_header(client.address), asking)
            packet, _ = await owner.receive()
            assert packet.client == client.address
            await media(client, relay, owner)


async def test_a_worker_that_cannot_be_replaced_yet_is_replaced_when_it_can(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        limits = resource.prlimit(relay.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (_highest_descriptor(relay.pid) + 1, limits[1]))
        os.kill(_worker_of(relay.pid), signal.SIGKILL)

        async def without_worker() -> bool:
            return (await relay.statistics()).workers == 0

        await until(without_worker, "the worker is gone")
        for _ in range(3):  # tries in vain
            await relay.statistics()
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, limits)
        await relay.knows(routes=1)
        with client_socket() as client:
            await call(client, relay, owner)


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _worker_of(pid: int) -> int:
    return _children(pid)[0]


def _highest_descriptor(pid: int) -> int:
    return max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir())


async def test_the_worker_ends_with_its_relay(relay: RelayProcess) -> None:
    worker = _worker_of(relay.pid)
    relay.kill()

    async def gone() -> bool:
        return _has_ended(worker)

    await until(gone, "the worker has ended")


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_forwarding_goes_on_without_nats(tmp_path: Path) -> None:
    server = nats_server(tmp_path / "nats")
    url = server.__enter__()
    stopped = False
    try:
        async with relay_process(url) as relay, fake_transceiver(url) as owner:
            await relay.knows(routes=1)
            with client_socket() as alice, client_socket() as bob:
                await call(alice, relay, owner)
                server.__exit__(None, None, None)
                stopped = True
                await call(bob, relay, owner)  # a token is all that a new flow needs
                away_since = time.monotonic()
                while time.monotonic() < away_since + bus.ANNOUNCE_TTL + 2:
                    await media(alice, relay, owner)
                    await asyncio.sleep(0.1)
                with client_socket() as carol:
                    await call(carol, relay, owner)
    finally:
        if not stopped:
            server.__exit__(None, None, None)


async def test_a_relay_comes_back_to_a_nats_that_forgot_everything(tmp_path: Path) -> None:
    with nats_server(tmp_path / "first") as url:
        port = int(url.rpartition(":")[2])
        fake = fake_transceiver(url)
        running = relay_process(url)
        owner, relay = await fake.__aenter__(), await running.__aenter__()
        await relay.knows(routes=1)
    try:
        with nats_server(tmp_path / "second", port):
            async with fake_transceiver(url, slot=2):
                await relay.knows(routes=2)
            client = await nats.connect(url)
            kept = await bus.bucket(client.jetstream(), subjects.BUCKET_RELAYS, ttl=bus.ANNOUNCE_TTL)

            async def is_kept() -> bool:
                return "test" in await kept.keys() if (await kept.status()).values else False

            await until(is_kept, "the relay is in the new bucket")
            await client.close()
            with client_socket() as alice:
                await call(alice, relay, owner)
            await running.__aexit__(None, None, None)
            await fake.__aexit__(None, None, None)
    finally:
        if relay.is_running():
            relay.kill()


async def test_an_announcement_that_is_not_renewed_ends_the_forwarding(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        with client_socket() as client:
            await call(client, relay, owner)
            owner.announcing = False
            await relay.knows(routes=0)
            client.send(MEDIA, relay.address)
            await relay.dropped("unknown_client")
            owner.datagrams.send(pack_header(client.address) + MEDIA, relay.tunnel)
            await relay.dropped("unannounced_sender")
            assert client.waiting() == []


async def test_a_transceiver_in_the_bucket_is_known_from_the_start(nats_url: str) -> None:
    async with fake_transceiver(nats_url) as owner:
        owner.announcing = False
        client = await nats.connect(nats_url)
        kept = await bus.bucket(client.jetstream(), subjects.BUCKET_TRANSCEIVERS)
        await kept.put(subjects.slot_key(owner.cluster, owner.slot), encode(owner.announcement()))
        await client.close()
        async with relay_process(nats_url) as relay:
            await relay.knows(routes=1)
            assert await owner.hello() == relay.tunnel


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


async def test_sigterm_ends_it_with_status_0_and_in_time(relay: RelayProcess) -> None:
    began = time.monotonic()
    assert relay.terminate() == 0
    assert time.monotonic() - began < 2


async def test_an_interrupt_in_the_middle_of_its_start_ends_it_with_status_0(relay: RelayProcess) -> None:
    elsewhere = {"ANTIPHON_RELAY_BIND": "127.0.0.1:0", "ANTIPHON_RELAY_NAME": "interrupted"}
    process = relay.start_anew(elsewhere)

    async def has_a_worker() -> bool:
        return bool(_children(process.pid))

    await until(has_a_worker, "its worker is started, and asyncio is not")
    process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(process.wait, 10) == 0


async def test_check_tells_whether_a_relay_answers(nats_url: str) -> None:
    async def check() -> int:
        environment = os.environ | {"ANTIPHON_NATS_URL": nats_url}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "antiphon.relay", "--check"), env=environment, stderr=subprocess.DEVNULL
        )
        return await process.wait()

    assert await check() == 1
    async with relay_process(nats_url):

        async def answers() -> bool:
            return await check() == 0

        await until(answers, "the check finds the relay")
