"""How calls outlive changes of the relay: real processes, a transceiver that is a socket."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client
from support.processes.nats import nats_server
from support.processes.relay_process import (
    Datagrams,
    FakeTransceiver,
    RelayProcess,
    binding_request,
    fake_transceiver,
    mint,
    relay_process,
    until,
    workers_of,
)

from antiphon.relay.control.process import LEFT_SECONDS, STAYS_SECONDS
from antiphon.runtime.metrics.table import METRICS
from antiphon.runtime.nats import connection
from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.tunnel import pack_header

pytestmark = pytest.mark.process

MEDIA = b"\x80\x6f" + bytes(160)
DOCS = Path(__file__).parents[2] / "docs"
NEW_KEYS = "B:ffeeddccbbaa99887766554433221100"


@asynccontextmanager
async def nats_connection(url: str) -> AsyncIterator[Client]:
    client = await connection.connect(url, "test")
    try:
        yield client
    finally:
        await client.close()


async def enter(client: Datagrams, relay: RelayProcess, owner: FakeTransceiver, ufrag: str | None = None) -> None:
    """A call through whichever worker of the relay gets this client's packets."""
    client.send(binding_request(ufrag or owner.ufrag()), relay.address)
    packet, through = await owner.receive()
    assert through in relay.tunnels
    owner.datagrams.send(packet.header + b"\1\1answer", through)
    assert (await client.receive())[0] == b"\1\1answer"


async def test_a_call_that_was_moved_here_loses_nothing(nats_url: str) -> None:
    async with (
        relay_process(nats_url) as relay,
        fake_transceiver(nats_url) as owner,
        nats_connection(nats_url) as nats_client,
    ):
        await relay.knows(routes=1)
        client, stranger = Datagrams(), Datagrams()
        try:
            await owner.answer_finds(nats_client, [client.address])
            for number in range(5):
                client.send(MEDIA + bytes([number]), relay.address)
                stranger.send(MEDIA, relay.address)
            for number in range(5):
                packet, _ = await owner.receive()
                assert (packet.client, packet.payload) == (client.address, MEDIA + bytes([number]))
            client.send(MEDIA, relay.address)
            assert (await owner.receive())[0].payload == MEDIA
            await relay.dropped("unknown_client", 5)
            statistics = await relay.statistics()
        finally:
            client.close()
            stranger.close()
    assert (statistics.flows_found, statistics.flows_confirmed) == (1, 1)


async def test_clients_are_spread_over_workers_and_a_dead_one_is_replaced(nats_url: str) -> None:
    async with (
        relay_process(nats_url, settings={"ANTIPHON_RELAY_WORKERS": "2"}) as relay,
        fake_transceiver(nats_url) as owner,
    ):
        await relay.knows(routes=1)
        clients = [Datagrams() for _ in range(16)]
        try:
            assert len(relay.tunnels) == 2
            through: dict[Address, Address] = {}
            for client in clients:
                client.send(binding_request(owner.ufrag()), relay.address)
                packet, through[client.address] = await owner.receive()
                owner.datagrams.send(packet.header + b"\1\1answer", through[client.address])
                assert (await client.receive())[0] == b"\1\1answer"
            assert set(through.values()) == set(relay.tunnels)
            owner.datagrams.waiting()
            os.kill(workers_of(relay.pid)[0], signal.SIGKILL)
            while (asking := await owner.hello()) != relay.tunnels[0]:
                pass  # the other worker's, which asks more than once
            for client in clients:
                if through[client.address] == asking:
                    owner.datagrams.send(pack_header(client.address), asking)
            for client in clients:
                client.send(MEDIA, relay.address)
                packet, now_through = await owner.receive()
                assert (packet.client, now_through) == (client.address, through[client.address])
        finally:
            for client in clients:
                client.close()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _says(file: str, text: str) -> bool:
    return Path(file).exists() and text in Path(file).read_text()


async def test_a_killed_relay_asks_for_its_clients_without_waiting_for_the_bus(tmp_path: Path) -> None:
    kept = str(tmp_path / "relay.json")
    with nats_server(tmp_path / "nats") as url:
        async with (
            relay_process(url, settings={"ANTIPHON_RELAY_STATE_FILE": kept}) as relay,
            fake_transceiver(url) as owner,
        ):
            await relay.knows(routes=1)
            tunnel_before = relay.tunnel
            client = Datagrams()
            try:
                await enter(client, relay, owner)

                async def written() -> bool:
                    return _says(kept, str(owner.address))

                await until(written, "the routes are written down")
                workers = workers_of(relay.pid)
                relay.kill()

                async def gone() -> bool:
                    return not any(_is_alive(worker) for worker in workers)

                await until(gone, "the worker has ended with its relay")
                owner.datagrams.waiting()
                restarted = relay.start_anew({"ANTIPHON_NATS_URL": "nats://127.0.0.1:9"})  # nobody there
                try:
                    assert await owner.hello() == tunnel_before
                    owner.datagrams.send(pack_header(client.address) + MEDIA, tunnel_before)
                    assert (await client.receive())[0] == MEDIA
                    client.send(MEDIA, relay.address)
                    assert (await owner.receive())[0].payload == MEDIA
                finally:
                    restarted.terminate()
                    assert restarted.wait(5) == 0
            finally:
                client.close()


async def test_without_learning_only_a_binding_request_brings_a_call_back(nats_url: str) -> None:
    async with (
        relay_process(nats_url, settings={"ANTIPHON_RELAY_LEARN": "0"}) as relay,
        fake_transceiver(nats_url) as owner,
    ):
        await relay.knows(routes=1)
        client = Datagrams()
        try:
            owner.datagrams.send(pack_header(client.address) + MEDIA, relay.tunnel)
            await relay.dropped("not_learning")
            client.send(MEDIA, relay.address)
            await relay.dropped("unknown_client")
            assert client.waiting() == []
            await enter(client, relay, owner)
            assert owner.hellos == []
        finally:
            client.close()


class Conversation:
    """A client and its owner: numbered packets each way at 20 ms, the way a transceiver follows its client."""

    def __init__(self, client: Datagrams, through: Address) -> None:
        self.client = client
        self.through = through
        self.up: set[int] = set()
        self.down: set[int] = set()


async def converse(
    conversations: list[Conversation], relay: RelayProcess, owner: FakeTransceiver, stop: asyncio.Event
) -> int:
    """Run until `stop`; how many packets each of them sent each way."""
    by_address = {each.client.address: each for each in conversations}
    trusted = set(relay.tunnels)
    owner.datagrams.socket.setblocking(False)

    def take_in() -> None:
        while True:
            try:
                data, source = owner.datagrams.socket.recvfrom(2048)
            except BlockingIOError:
                break
            at = Address(*source)
            if data == tunnel.HELLO:
                trusted.add(at)
                for client in by_address:
                    owner.datagrams.send(pack_header(client), at)
                continue
            packet = tunnel.unpack(data)
            conversation = by_address[packet.client]
            conversation.through = at
            conversation.up.add(int.from_bytes(packet.payload[-4:], "big"))
        for conversation in conversations:
            for payload in conversation.client.waiting():
                conversation.down.add(int.from_bytes(payload[-4:], "big"))

    sent = 0
    while not stop.is_set():
        for conversation in conversations:
            conversation.client.send(MEDIA + sent.to_bytes(4, "big"), relay.address)
            header = pack_header(conversation.client.address)
            owner.datagrams.send(header + MEDIA + sent.to_bytes(4, "big"), conversation.through)
        sent += 1
        await asyncio.sleep(0.02)
        take_in()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and any(len(each.up) < sent or len(each.down) < sent for each in conversations):
        await asyncio.sleep(0.02)
        take_in()
    return sent


@pytest.mark.nightly
async def test_a_new_process_takes_over_the_port_and_no_packet_is_lost(nats_url: str) -> None:
    two = {"ANTIPHON_RELAY_WORKERS": "2", "ANTIPHON_RELAY_DRAIN_SECONDS": "1.5"}
    async with fake_transceiver(nats_url) as owner, relay_process(nats_url, settings=two) as old:
        await old.knows(routes=1)
        clients = [Datagrams() for _ in range(12)]
        try:
            for client in clients:
                await enter(client, old, owner)
            conversations = [Conversation(client, old.tunnels[0]) for client in clients]
            stop = asyncio.Event()
            running = asyncio.create_task(converse(conversations, old, owner, stop))
            async with (
                nats_connection(nats_url) as nats_client,
                relay_process(nats_url, bind=str(old.address), beside=[old], settings=two) as new,
            ):
                await owner.answer_finds(nats_client, [client.address for client in clients])

                async def shared() -> bool:
                    return _sockets_on(new.address.port) == 4

                await until(shared, "the new process has bound the port too")
                assert await asyncio.to_thread(old.terminate) == 0
                assert _sockets_on(new.address.port) == 2
                await asyncio.sleep(0.5)
                stop.set()
                sent = await running
                assert {each.through for each in conversations} <= set(new.tunnels)
            everything = set(range(sent))
            lost = [(len(everything - each.up), len(everything - each.down)) for each in conversations]
            assert lost == [(0, 0)] * len(clients)
        finally:
            for client in clients:
                client.close()


def _sockets_on(port: int) -> int:
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return sum(int(line.split()[1].rpartition(":")[2], 16) == port for line in lines)


async def test_at_its_end_a_relay_forwards_for_a_bounded_time(nats_url: str) -> None:
    async with (
        relay_process(nats_url, settings={"ANTIPHON_RELAY_DRAIN_SECONDS": "1"}) as relay,
        fake_transceiver(nats_url) as owner,
    ):
        await relay.knows(routes=1)
        client = Datagrams()
        try:
            await enter(client, relay, owner)
            began = time.monotonic()
            ending = asyncio.create_task(asyncio.to_thread(relay.terminate))
            await asyncio.sleep(0.3)
            client.send(MEDIA, relay.address)
            assert (await owner.receive())[0].payload == MEDIA
            assert await ending == 0
            assert 0.9 < time.monotonic() - began < 4
        finally:
            client.close()


async def test_at_its_end_a_relay_stays_while_packets_come_and_goes_soon_after_the_last(nats_url: str) -> None:
    async with (
        relay_process(nats_url, settings={"ANTIPHON_RELAY_DRAIN_SECONDS": "25"}) as relay,
        fake_transceiver(nats_url) as owner,
    ):
        await relay.knows(routes=1)
        client = Datagrams()
        try:
            await enter(client, relay, owner)
            os.kill(relay.pid, signal.SIGTERM)
            until_then = time.monotonic() + STAYS_SECONDS + LEFT_SECONDS + 0.5
            while time.monotonic() < until_then:
                client.send(MEDIA, relay.address)
                assert (await owner.receive())[0].payload == MEDIA
                await asyncio.sleep(0.05)
            assert relay.is_running()
            last = time.monotonic()

            async def ended() -> bool:
                return not relay.is_running()

            await until(ended, "it ends, because its clients are elsewhere")
            assert time.monotonic() - last > LEFT_SECONDS - 0.2
        finally:
            client.close()


async def test_route_keys_are_rotated_without_dropping_a_call(nats_url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("A:00112233445566778899aabbccddeeff\n")
    settings = {"ANTIPHON_ROUTE_KEYS": "", "ANTIPHON_ROUTE_KEYS_FILE": str(file)}
    async with relay_process(nats_url, settings=settings) as relay, fake_transceiver(nats_url) as owner:
        await relay.knows(routes=1)
        alice, bob, carol = Datagrams(), Datagrams(), Datagrams()
        try:
            before = owner.ufrag()
            await enter(alice, relay, owner, before)
            bob.send(binding_request(mint(keys=NEW_KEYS)), relay.address)
            await relay.dropped("forged_token")
            file.write_text(NEW_KEYS + "\n")
            os.kill(relay.pid, signal.SIGHUP)

            async def taken() -> bool:
                bob.send(binding_request(mint(keys=NEW_KEYS)), relay.address)
                return (await relay.statistics()).flows_half_open == 1

            await until(taken, "a token of the new key is taken")
            alice.send(binding_request(before), relay.address)
            while (await owner.receive())[0].client != alice.address:
                pass  # what the other client has sent until it was taken
            carol.send(binding_request(before), relay.address)
            await relay.dropped("forged_token", 2)
            file.write_text("nonsense")
            os.kill(relay.pid, signal.SIGHUP)
            alice.send(MEDIA, relay.address)
            while (await owner.receive())[0].payload != MEDIA:
                pass
        finally:
            for each in (alice, bob, carol):
                each.close()


async def test_metrics_and_health_are_told_over_http_without_addresses(nats_url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with (
        relay_process(nats_url, settings={"ANTIPHON_RELAY_HTTP_BIND": f"127.0.0.1:{port}"}) as relay,
        fake_transceiver(nats_url) as owner,
    ):
        assert (await get(port, "/readyz"))[0] in (200, 503)
        await relay.knows(routes=1)
        client = Datagrams()
        try:
            await enter(client, relay, owner)
            client.send(b"\xffnoise", relay.address)
            await relay.dropped("unknown_client", 0)
            status, text = await get(port, "/metrics")
            port_of_client = str(client.address.port)
        finally:
            client.close()
        assert (await get(port, "/healthz"))[0] == (await get(port, "/readyz"))[0] == 200
        assert (await get(port, "/"))[0] == 404
    assert status == 200
    assert 'antiphon_relay_flows{state="confirmed"} 1' in text
    documented = set(re.findall(r"`(antiphon_relay_\w+)`", (DOCS / "relay.md").read_text()))
    assert documented == {name for name in METRICS if name.startswith("antiphon_relay_")}
    shown = set(re.findall(r"^# TYPE (antiphon_\w+)", text, re.MULTILINE))
    assert shown <= set(METRICS)
    # there is one relay, and it may have dropped nothing
    assert documented - shown <= {"antiphon_relay_round_trip_seconds", "antiphon_relay_drops_total"}
    assert 'antiphon_relay_batch_datagrams_bucket{le="1.0"}' in text
    assert port_of_client not in text


async def get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body
