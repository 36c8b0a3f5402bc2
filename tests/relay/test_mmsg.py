"""The batched system calls: what the columns say, and what happens to a row that the kernel refuses."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from antiphon.relay.core.flow_key import key_of
from antiphon.relay.dataplane.mmsg import HEADROOM, SLOT, Batch, why_not

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


def put(batch: Batch, row: int, data: bytes, to: int) -> None:
    at = row * SLOT + HEADROOM
    batch.octets[at : at + len(data)] = data
    batch.destinations[row * 2] = to
    batch.pieces[row * 2], batch.pieces[row * 2 + 1] = batch.slots_at + at, len(data)


def test_the_batched_calls_work_on_this_system() -> None:
    assert why_not() is None


def test_a_batch_is_no_larger_than_its_slots_and_leaves_the_rest(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    for number in range(6):
        there.sendto(bytes([number]) * (number + 1), here.getsockname())
    batch = Batch(4)
    assert batch.receive(here.fileno()) == 4
    assert batch.lengths[14:64:16].tolist() == [1, 2, 3, 4]
    assert batch.octets[HEADROOM : 4 * SLOT : SLOT].tolist() == [0, 1, 2, 3]
    assert batch.sources[0:8:2].tolist() == [key_of(there.getsockname())] * 4
    assert batch.receive(here.fileno()) == 2
    assert batch.receive(here.fileno()) == 0


def test_a_row_that_the_kernel_refuses_does_not_keep_the_others(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    batch = Batch(4)
    nowhere = key_of(("127.0.0.1", 0))
    for row, to in enumerate([nowhere, key_of(there.getsockname()), nowhere, key_of(there.getsockname())]):
        put(batch, row, bytes([row]), to)
    assert batch.send(here.fileno(), 4) == 2
    assert [there.recv(10), there.recv(10)] == [b"\1", b"\3"]
