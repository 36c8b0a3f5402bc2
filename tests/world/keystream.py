"""No keystream twice: what servers sent for calls, as the links saw it before any cut, is looked through.

SRTP and DTLS make a packet's keystream of the key and a counter that the packet names. A call that goes on in another
region has the same keys: if both regions seal different content under one counter, whoever has both packets has the
difference of their contents. So each (SSRC, index) and each (client, epoch, record number) has one content, by
whichever way a packet came, and however often.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from antiphon.rtc.rtp.packet import is_rtcp
from antiphon.schemas import tunnel
from antiphon.schemas.backbone import BackboneKeys
from antiphon.schemas.errors import MalformedError

RECORD: Final = struct.Struct(">I")
"""In front of each recorded IP packet: its length."""
UDP: Final = 17
RTP_HEADER: Final = 12
APPLICATION_DATA: Final = 23
RECORD_HEADER: Final = 13


class Sealed(NamedTuple):
    """One sealed content. A value."""

    counter: tuple[object, ...]
    """What its keystream is made of, besides keys."""
    content: bytes


class Found(NamedTuple):
    """What the look has found. A value."""

    counters: int
    twice: list[tuple[object, ...]]
    """Counters that were used for different contents."""


def recorded(file: Path) -> Iterator[bytes]:
    """The IP packets of the recording; half a packet at its end is left out."""
    data = file.read_bytes()
    at = 0
    while at + RECORD.size <= len(data):
        (length,) = RECORD.unpack_from(data, at)
        at += RECORD.size
        if at + length <= len(data):
            yield data[at : at + length]
        at += length


def source_port(packet: bytes) -> int:
    """Of a recorded packet."""
    start = (packet[0] & 0xF) * 4
    return int.from_bytes(packet[start : start + 2], "big")


class Where(NamedTuple):
    """How packets towards callers are told from others. A value."""

    callers: str
    """Their address."""
    ingress: str
    """Of the relays that they enter by: what others send there over the backbone goes to callers."""
    backbone_ports: frozenset[int]
    keys: BackboneKeys


def look(packets: Iterable[bytes], where: Where) -> Found:
    """All IPv4 packets of a run, in any order."""
    seen: dict[tuple[object, ...], bytes] = {}
    twice: list[tuple[object, ...]] = []
    for packet in packets:
        for sealed in _sealed(packet, where):
            digest = hashlib.blake2s(sealed.content, digest_size=16).digest()
            if seen.setdefault(sealed.counter, digest) != digest:
                twice.append(sealed.counter)
    return Found(len(seen), twice)


def _sealed(packet: bytes, where: Where) -> Iterator[Sealed]:
    start = (packet[0] & 0xF) * 4
    if packet[0] >> 4 != 4 or packet[9] != UDP or len(packet) < start + 8:
        return
    from_port, to_port = struct.unpack_from(">HH", packet, start)
    to = ".".join(map(str, packet[16:20]))
    datagram = packet[start + 8 :]
    client = to_port
    if to == where.ingress and to_port in where.backbone_ports and from_port in where.backbone_ports:
        try:
            header, datagram = where.keys.open(datagram)
            client = tunnel.unpack(header).client.port
        except MalformedError:  # a hello
            return
    elif to != where.callers:
        return
    if not datagram:
        return
    first = datagram[0]
    if 127 < first < 192 and len(datagram) > RTP_HEADER:
        yield _rtp(datagram)
    elif first == APPLICATION_DATA:
        yield from _records(client, datagram)


def _rtp(datagram: bytes) -> Sealed:
    if is_rtcp(datagram):
        ssrc = datagram[4:8]
        return Sealed(("rtcp", ssrc, datagram[-4:]), datagram)  # AES-GCM: the index stands last
    sequence = datagram[2:4]
    return Sealed(("rtp", datagram[8:12], sequence), datagram)


def _records(client: int, datagram: bytes) -> Iterator[Sealed]:
    at = 0
    while at + RECORD_HEADER <= len(datagram) and datagram[at] == APPLICATION_DATA:
        length = int.from_bytes(datagram[at + 11 : at + 13], "big")
        yield Sealed(("dtls", client, datagram[at + 3 : at + 11]), datagram[at : at + RECORD_HEADER + length])
        at += RECORD_HEADER + length
