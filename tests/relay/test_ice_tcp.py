"""ICE-TCP through a real relay process: the stream, the tunnel's bit 15, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.processes.relay_process import (
    FakeTransceiver,
    RelayProcess,
    binding_request,
    fake_transceiver,
    mint,
    relay_process,
    until,
    workers_of,
)

from antiphon.relay.dataplane.ice_tcp_worker import MAX_CONNECTIONS, allow_descriptors
from antiphon.relay.dataplane.rfc4571 import pack_frame
from antiphon.runtime.nats import connection
from antiphon.schemas import subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement, decode

MEDIA = b"\x80\x6f" + bytes(160)


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


@pytest.fixture
async def relay(nats_url: str) -> AsyncIterator[RelayProcess]:
    async with relay_process(nats_url, settings={"ANTIPHON_RELAY_TCP_BIND": "127.0.0.1:0"}) as running:
        yield running


@pytest.fixture
async def owner(nats_url: str, relay: RelayProcess) -> AsyncIterator[FakeTransceiver]:
    async with fake_transceiver(nats_url) as fake:
        await relay.knows(routes=1)
        yield fake


@pytest.fixture
async def address(nats_url: str, relay: RelayProcess) -> Address:
    """Where clients connect, as the relay announces it."""
    client = await connection.connect(nats_url, "test")
    heard = await client.subscribe(subjects.relay_announce("test"))
    said = decode((await heard.next_msg(5)).data, RelayAnnouncement)
    await client.close()
    return parse_address(said.tcp_addresses[0])


@pytest.mark.process
async def test_a_call_over_tcp_goes_both_ways(relay: RelayProcess, owner: FakeTransceiver, address: Address) -> None:
    reader, writer = await asyncio.open_connection(*address)
    here = Address(*writer.get_extra_info("sockname"))
    request = binding_request(owner.ufrag())
    for part in (pack_frame(request)[:1], pack_frame(request)[1:30], pack_frame(request)[30:]):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01)
    packet, through = await owner.receive()
    assert (packet.payload, packet.client, packet.tcp) == (request, here, True)
    assert through == relay.tunnels[1]
    owner.datagrams.send(packet.header + b"\1\1answer", through)
    assert await read_frame(reader) == b"\1\1answer"
    writer.write(pack_frame(MEDIA) + pack_frame(b"") + pack_frame(MEDIA[::-1]))
    assert [(await owner.receive())[0].payload for _ in range(2)] == [MEDIA, MEDIA[::-1]]
    for number in range(20):
        owner.datagrams.send(packet.header + MEDIA + bytes([number]), through)
    assert [await read_frame(reader) for _ in range(20)] == [MEDIA + bytes([number]) for number in range(20)]
    writer.close()
    await writer.wait_closed()

    async def forgotten() -> bool:
        owner.datagrams.send(packet.header + MEDIA, through)
        return (await relay.statistics()).drops.get("not_learning", 0) > 0

    await until(forgotten, "the flow ends with its connection")


@pytest.mark.process
@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n\r\n", pack_frame(MEDIA), pack_frame(binding_request(mint(epoch=9))), b"\xff\xff" + bytes(99)],
    ids=["HTTP", "media", "a token of no transceiver", "a frame that never ends"],
)
async def test_a_connection_without_a_call_is_closed(
    relay: RelayProcess, owner: FakeTransceiver, address: Address, said: bytes
) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(said)
    async with asyncio.timeout(15):
        assert await reader.read() == b""
    writer.close()
    assert set(owner.datagrams.waiting()) <= {tunnel.HELLO}


@pytest.mark.process
async def test_a_slow_reader_loses_datagrams_and_holds_little_memory(
    relay: RelayProcess, owner: FakeTransceiver, address: Address
) -> None:
    reader, writer = await asyncio.open_connection(*address, limit=1024)
    writer.write(pack_frame(binding_request(owner.ufrag())))
    packet, through = await owner.receive()
    owner.datagrams.send(packet.header + b"\1\1answer", through)
    assert await read_frame(reader) == b"\1\1answer"
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(200):
        for _ in range(50):
            owner.datagrams.send(packet.header + bytes(1400), through)
        if (await relay.statistics()).drops.get("slow_reader", 0):
            break
    await relay.dropped("slow_reader")
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert await read_frame(reader) == bytes(1400)
    writer.write(pack_frame(MEDIA))
    assert (await owner.receive())[0].payload == MEDIA
    writer.close()


def worker_descriptors(relay: RelayProcess) -> int:
    """Of the process that holds the connections: the last that was started."""
    return _open_descriptors(_worker_of(relay))


async def enter(owner: FakeTransceiver, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A call over a new connection."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(pack_frame(binding_request(owner.ufrag())))
    packet, through = await owner.receive()
    owner.datagrams.send(packet.header + b"\1\1answer", through)
    assert await read_frame(reader) == b"\1\1answer"
    return reader, writer


@pytest.mark.process
async def test_connections_of_a_killed_relay_end_at_once_and_calls_go_on_over_new_ones(nats_url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = Address(*probe.getsockname())
    settings = {"ANTIPHON_RELAY_TCP_BIND": str(address)}
    async with relay_process(nats_url, settings=settings) as relay, fake_transceiver(nats_url) as owner:
        await relay.knows(routes=1)
        reader, writer = await enter(owner, address)
        relay.kill()
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
        await relay.start()
        await relay.knows(routes=1)
        owner.datagrams.waiting()
        reader, writer = await enter(owner, address)
        writer.write(pack_frame(MEDIA))
        assert (await owner.receive())[0].payload == MEDIA
        assert (await relay.statistics()).flows_confirmed == 1
        writer.close()


@pytest.mark.process
async def test_connections_that_come_and_go_leave_nothing_behind(
    relay: RelayProcess, owner: FakeTransceiver, address: Address
) -> None:
    before = worker_descriptors(relay)
    for number in range(20):
        _, writer = await enter(owner, address)
        if number % 2:
            writer.transport.abort()
        else:
            writer.close()

    async def gone() -> bool:
        return (await relay.statistics()).flows_confirmed == 0 and worker_descriptors(relay) == before

    await until(gone, "connections and flows are gone")


def _worker_of(relay: RelayProcess) -> int:
    """The process id of the worker that takes connections."""
    (worker,) = (
        each for each in workers_of(relay.pid) if b"ice_tcp_worker" in Path(f"/proc/{each}/cmdline").read_bytes()
    )
    return worker


def _open_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.process
async def test_a_client_that_comes_again_from_the_same_port_takes_no_other_call_down(
    relay: RelayProcess, owner: FakeTransceiver, address: Address
) -> None:
    worker = _worker_of(relay)
    before = _open_descriptors(worker)
    first = socket.create_connection(address)
    source = first.getsockname()

    async def accepted() -> bool:
        return _open_descriptors(worker) > before

    await until(accepted, "the connection is accepted")
    os.kill(worker, signal.SIGSTOP)  # the end of the first connection and the second one are seen at once
    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    first.close()
    second = socket.create_connection(address, source_address=source)
    os.kill(worker, signal.SIGCONT)
    second.close()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(pack_frame(binding_request(owner.ufrag())))
    packet, through = await owner.receive()
    owner.datagrams.send(packet.header + b"\1\1answer", through)
    assert await read_frame(reader) == b"\1\1answer"
    assert _worker_of(relay) == worker
    writer.close()


@pytest.mark.process
async def test_silent_connections_keep_no_call_out_where_descriptors_are_few(
    nats_url: str,
) -> None:
    few = 64
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with relay_process(nats_url, settings={"ANTIPHON_RELAY_TCP_BIND": "127.0.0.1:0"}) as relay:
        resource.prlimit(_worker_of(relay), resource.RLIMIT_NOFILE, (few, hard))
        async with fake_transceiver(nats_url) as owner:
            await relay.knows(routes=1)
            client = await connection.connect(nats_url, "test")
            heard = await client.subscribe(subjects.relay_announce("test"))
            where = parse_address(decode((await heard.next_msg(5)).data, RelayAnnouncement).tcp_addresses[0])
            await client.close()
            with contextlib.ExitStack() as idle:
                for _ in range(2 * few):
                    idle.enter_context(socket.create_connection(where))
                reader, writer = await asyncio.open_connection(*where)
                writer.write(pack_frame(binding_request(owner.ufrag())))
                async with asyncio.timeout(5):  # before the idle ones are closed
                    packet, through = await owner.receive()
                    owner.datagrams.send(packet.header + b"\1\1answer", through)
                    assert await read_frame(reader) == b"\1\1answer"
                writer.close()


@pytest.mark.pure
def test_a_worker_may_open_as_many_descriptors_as_it_has_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        allow_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(hard, MAX_CONNECTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
