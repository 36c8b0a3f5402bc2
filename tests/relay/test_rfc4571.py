"""Datagrams in a byte stream: they come out whole, and no stream makes the reader raise anything else or keep more."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.relay.core.outgoing import MAX_DATAGRAM
from antiphon.relay.dataplane.rfc4571 import FrameReader, FrameTooLongError, pack_frame

pytestmark = pytest.mark.pure


def test_a_frame_is_16_bits_of_length_and_the_datagram() -> None:
    assert pack_frame(b"abc") == struct.pack("!H", 3) + b"abc"


@given(st.lists(st.binary(max_size=60), max_size=20), st.data())
def test_datagrams_come_out_whole_however_the_stream_is_cut(datagrams: list[bytes], data: st.DataObject) -> None:
    reader = FrameReader(MAX_DATAGRAM)
    stream, found = b"".join(map(pack_frame, datagrams)), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += reader.receive(stream[:cut])
        stream = stream[cut:]
    assert found == [datagram for datagram in datagrams if datagram]
    assert reader.unread == b""


@given(st.binary(max_size=5000))
def test_no_stream_raises_or_is_kept_beyond_a_datagram(stream: bytes) -> None:
    reader = FrameReader(MAX_DATAGRAM)
    with contextlib.suppress(FrameTooLongError):
        reader.receive(stream)
        assert len(reader.unread) <= 1502


def test_a_frame_longer_than_a_datagram_is_an_error() -> None:
    with pytest.raises(FrameTooLongError, match="1501"):
        FrameReader(MAX_DATAGRAM).receive(struct.pack("!H", 1501))
