"""Datagrams in messages that the kernel cuts up: what is grouped, and that it arrives as it was."""

from __future__ import annotations

import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.relay.core.flow_key import key_of
from antiphon.relay.dataplane.mmsg import Batch
from antiphon.relay.dataplane.segmentation import MAX_MESSAGE, SEGMENTS, grouped, uniform

SO_NO_CHECK = 11
ROWS = st.lists(st.tuples(st.sampled_from([0x1000, 0x2000, 0x3000]), st.integers(1, 1408)), min_size=1, max_size=128)


@pytest.mark.pure
@given(ROWS, st.booleans())
def test_every_row_is_in_one_message_of_its_destination_and_none_is_longer_than_the_first(
    rows: list[tuple[int, int]], one_destination: bool
) -> None:
    destinations, lengths = [to for to, _ in rows], [length for _, length in rows]
    if one_destination:
        destinations = [0x1000] * len(rows)
    order, messages = grouped(None if one_destination else destinations, lengths)
    assert sorted(order) == list(range(len(rows)))
    expected_first = 0
    for first, count, length in messages:
        assert first == expected_first
        expected_first += count
        mine = order[first : first + count]
        assert len({destinations[row] for row in mine}) == 1
        assert [lengths[row] for row in mine[:-1]] == [length] * (count - 1)
        assert lengths[mine[-1]] <= length
        assert count <= SEGMENTS
        assert count * length <= MAX_MESSAGE
    assert expected_first == len(rows)


@pytest.mark.pure
@given(st.integers(1, 128), st.integers(1, 1408))
def test_equal_rows_make_the_fewest_messages(count: int, length: int) -> None:
    messages = uniform(count, length)
    assert sum(message.rows for message in messages) == count
    assert len(messages) == -(-count // min(SEGMENTS, MAX_MESSAGE // length))


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="the batched loop is for Linux")
def test_segmented_datagrams_arrive_as_they_were_at_both_destinations() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for receiver in (one, two):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(5)
        keys = [key_of(receiver.getsockname()) for receiver in (one, two)]
        datagrams = [(keys[row % 2], bytes([row]) * (100 + row % 5)) for row in range(40)]
        batch = Batch(64)
        order, messages = grouped([to for to, _ in datagrams], [len(data) for _, data in datagrams])
        for place, row in enumerate(order):
            to, data = datagrams[row]
            batch.put(place, data, to)
        assert batch.segment(sender.fileno(), messages) == 40
        assert batch.segments
        for receiver, key in ((one, keys[0]), (two, keys[1])):
            expected = sorted(data for to, data in datagrams if to == key)
            assert sorted(receiver.recv(2000) for _ in expected) == expected


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="the batched loop is for Linux")
def test_where_segmentation_is_refused_it_is_not_tried_again() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)  # the kernel cuts nothing up without checksums
        batch = Batch(2)
        for row in range(2):
            batch.put(row, bytes([row]), key_of(receiver.getsockname()))
        assert batch.segment(sender.fileno(), uniform(2, 1)) == 0
        assert not batch.segments
        assert batch.send(sender.fileno(), 2) == 2
        assert [receiver.recv(10), receiver.recv(10)] == [b"\0", b"\1"]
