"""Many datagrams in one call: nothing of them is lost, mixed up or sent out of order."""

from __future__ import annotations

import asyncio
import socket

import pytest
from support.conditions import until

from antiphon.transceiver.net.datagram_batch import ROOM, ROWS, ReceiveBatch
from antiphon.transceiver.net.held_datagrams import HeldDatagrams
from antiphon.transceiver.net.udp_socket import TunnelSocket

pytestmark = pytest.mark.process


class Reader:
    """Notes what a socket has read, and from where."""

    def __init__(self) -> None:
        self.read: list[tuple[bytes, tuple[str, int]]] = []

    def received(self, packet: bytes, source: tuple[str, int]) -> None:
        self.read.append((packet, source))

    def received_batch(self, batch: ReceiveBatch, count: int) -> None:
        for row, length in enumerate(batch.lengths(count)):
            self.received(batch.datagram(row, length), batch.source(batch.name(row)))


def nothing() -> None: ...


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_what_is_held_arrives_whole_in_order_and_from_its_own_socket(host: str) -> None:
    held, reader = HeldDatagrams(), Reader()
    receiving = TunnelSocket(host, 0)
    receiving.start(reader, nothing, nothing)
    sending = [TunnelSocket(host, 0, held) for _ in range(2)]
    to = (host, receiving.port)
    packets = [bytes([number % 256]) * (number * 7 % 1400 + 1) for number in range(3 * ROWS)]
    packets[5] = bytes(ROOM + 100)  # longer than a row: it is sent by itself, and cut by who receives it
    held.hold()
    for number, packet in enumerate(packets):
        sending[number // 200].send(packet, to)
    held.release()
    await until(lambda: len(reader.read) == len(packets))
    assert [packet for packet, _ in reader.read] == [packet[:ROOM] for packet in packets]
    assert [source for _, source in reader.read] == [
        (host, sending[number // 200].port) for number in range(len(packets))
    ]
    for each in (receiving, *sending):
        each.close()


async def test_a_datagram_that_the_kernel_refuses_costs_no_other_one() -> None:
    held, reader = HeldDatagrams(), Reader()
    receiving, sending = TunnelSocket("127.0.0.1", 0), TunnelSocket("127.0.0.1", 0, held)
    receiving.start(reader, nothing, nothing)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()
    for _ in range(20):
        held.hold()
        sending.send(b"nobody", nobody)
        sending.send(b"to us", ("127.0.0.1", receiving.port))
        sending.send(b"no port", ("127.0.0.1", 0))
        sending.send(b"to us", ("127.0.0.1", receiving.port))
        held.release()
        await asyncio.sleep(0)
    await until(lambda: len(reader.read) == 40)
    assert sending.dropped == 20
    for each in (receiving, sending):
        each.close()


async def test_the_error_of_a_peer_that_is_gone_does_not_hide_what_waits() -> None:
    reader, socket_ = Reader(), TunnelSocket("127.0.0.1", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()
    socket_.send(b"nobody", nobody)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"here", ("127.0.0.1", socket_.port))
        socket_.start(reader, nothing, nothing)
        await until(lambda: len(reader.read) == 1)
    socket_.close()
