"""The batched system calls: what the columns say, and what happens to a row that the kernel refuses."""

from __future__ import annotations

import socket
import sys
from array import array
from collections.abc import Iterator

import pytest

from antiphon.relay.core.flow_key import header_of, key_of
from antiphon.relay.dataplane.mmsg import Batch, why_not

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="the batched loop is for Linux")]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two bound UDP sockets."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
            each.settimeout(5)
        yield one, two


def test_the_batched_calls_work_on_this_system() -> None:
    assert why_not() is None


def test_a_batch_is_no_larger_than_its_slots_and_leaves_the_rest(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    for number in range(6):
        there.sendto(bytes([number]) * (number + 1), here.getsockname())
    batch = Batch(4)
    assert batch.receive(here.fileno()) == 4
    assert batch.lengths_of(4) == [1, 2, 3, 4]
    assert batch.first_bytes_of(4) == bytes([0, 1, 2, 3])
    assert [bytes(batch.datagram(row, row + 1)) for row in range(4)] == [b"\0", b"\1\1", b"\2\2\2", b"\3\3\3\3"]
    assert batch.sources_of(4).tolist() == [key_of(there.getsockname())] * 4
    assert batch.receive(here.fileno()) == 2
    assert batch.receive(here.fileno()) == 0


def test_a_row_that_the_kernel_refuses_does_not_keep_the_others(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    batch = Batch(4)
    nowhere = key_of(("127.0.0.1", 0))
    for row, to in enumerate([nowhere, key_of(there.getsockname()), nowhere, key_of(there.getsockname())]):
        batch.put(row, bytes([row]), to)
    assert batch.send(here.fileno(), 4) == 2
    assert [there.recv(10), there.recv(10)] == [b"\1", b"\3"]


def test_columns_by_name_are_what_one_datagram_after_the_other_says(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    here, there = pair
    client = key_of(("192.0.2.7", 4000))
    for number in range(3):
        there.sendto(header_of(client) + bytes([number]), here.getsockname())
    batch = Batch(4)
    assert batch.receive(here.fileno()) == 3
    assert batch.headers_of(3).tolist() == [client] * 3
    assert batch.columns("B", 8)[3].tolist() == [0, 1, 2]
    sources = batch.sources_of(3)
    batch.set_headers(3, sources)
    batch.set_destinations(3, sources)
    batch.set_pieces(3, batch.memory_addresses(-8), memoryview(array("Q", [9, 17, 16])))
    assert batch.send(here.fileno(), 3) == 3
    packets = [header_of(key_of(there.getsockname())) + header_of(client) + bytes([number]) for number in range(3)]
    assert [there.recv(100) for _ in range(3)] == [packets[0][:9], packets[1], packets[2][:16]]


def test_columns_of_an_ipv6_batch_are_its_socket_addresses() -> None:
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as there,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as owner,
    ):
        for each, host in ((here, "::1"), (there, "::1"), (owner, "127.0.0.1")):
            each.bind((host, 0))
            each.settimeout(5)
        there.sendto(b"one", here.getsockname())
        there.sendto(b"three", here.getsockname())
        batch = Batch(4, from_ipv6=True)
        assert batch.receive(here.fileno()) == 2
        client = key_of(there.getsockname())
        assert batch.ipv6_sources_of(2) == [client] * 2
        batch.set_ipv6_headers(2)
        batch.set_destinations(2, memoryview(header_of(key_of(owner.getsockname())) * 2).cast("Q"))
        batch.set_pieces(2, batch.memory_addresses(-20), memoryview(array("Q", [23, 25])))
        assert batch.send(owner.fileno(), 2) == 2
        assert [owner.recv(100) for _ in range(2)] == [header_of(client) + b"one", header_of(client) + b"three"]
