"""The look for a keystream that was used twice, at packets that are made up."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from antiphon.schemas.addresses import Address
from antiphon.schemas.backbone import BackboneKeys, Route, pack_header
from world.keystream import RECORD, Where, look, recorded

pytestmark = pytest.mark.pure

KEYS = BackboneKeys([bytes(32)])
CALLERS, INGRESS, FAR = "10.78.4.1", "10.78.1.1", "10.78.3.1"
WHERE = Where(CALLERS, INGRESS, frozenset({3500, 3510}), KEYS)
RTP = b"\x80\x6f\x00\x07" + bytes(4) + b"SSRC" + b"sealed"
RTCP = b"\x80\xc8\x00\x06SSRC" + bytes(20) + b"\x80\x00\x00\x07"
DATA = bytes((23, 254, 253)) + b"\0\1\0\0\0\0\0\7" + b"\0\6" + b"sealed"


def packet(source: str, to: str, from_port: int, to_port: int, datagram: bytes) -> bytes:
    addresses = bytes(map(int, f"{source}.{to}".split(".")))
    head = struct.pack(">BxHxxxxBBxx", 0x45, 28 + len(datagram), 64, 17) + addresses
    return head + struct.pack(">HHHxx", from_port, to_port, 8 + len(datagram)) + datagram


def over_two_hops(datagram: bytes) -> bytes:
    header = pack_header(Address(CALLERS, 5555), Route(1, 1, 1, 0))
    return packet(FAR, INGRESS, 3510, 3500, KEYS.seal(header, datagram))


def to_caller(datagram: bytes, source: str = INGRESS) -> bytes:
    return packet(source, CALLERS, 3478, 5555, datagram)


@pytest.mark.parametrize("datagram", [RTP, RTCP, DATA])
def test_another_content_under_a_used_counter_is_found_by_whichever_way_it_came(datagram: bytes) -> None:
    other = bytearray(datagram)
    other[-1 if datagram is not RTCP else 12] ^= 1
    assert len(look([over_two_hops(datagram), to_caller(bytes(other))], WHERE).twice) == 1
    assert len(look([to_caller(datagram), to_caller(bytes(other), FAR)], WHERE).twice) == 1


@pytest.mark.parametrize("datagram", [RTP, RTCP, DATA])
def test_a_packet_that_is_forwarded_or_repeated_is_the_same(datagram: bytes) -> None:
    found = look([over_two_hops(datagram), to_caller(datagram), to_caller(datagram)], WHERE)
    assert found.counters == 1
    assert found.twice == []


def test_what_callers_send_is_left_out() -> None:
    up = packet(CALLERS, INGRESS, 5555, 3478, RTP)
    header = pack_header(Address(CALLERS, 5555), Route(1, 1, 1, 0))
    onward = packet(INGRESS, FAR, 3500, 3510, KEYS.seal(header, RTP))
    assert look([up, onward], WHERE).counters == 0


def test_a_recording_is_read_up_to_its_last_whole_packet(tmp_path: Path) -> None:
    file = tmp_path / "packets"
    file.write_bytes(RECORD.pack(3) + b"abc" + RECORD.pack(2) + b"de" + RECORD.pack(9) + b"half")
    assert [*recorded(file)] == [b"abc", b"de"]
