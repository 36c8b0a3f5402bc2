"""The tunnel between relay and transceiver: a datagram, preceded by its client's address.

    IPv4, 8 bytes:   family 2 (u16 little-endian) | port (u16 big-endian) | address (4)
    IPv6, 20 bytes:  family 10 (u16 little-endian) | port (u16 big-endian) | address (16)

Bit 15 of the family means that the client is on ICE-TCP. Bit 14 means that the client entered by a relay of another
place: 8 bytes follow the address, which name the way back (`backbone`). The IPv4 layout is that of the first 8 bytes of
Linux `sockaddr_in`, so a relay can use those bytes as flow key and header at once. The transceiver sends
the header back unchanged in front of every reply.

A transceiver forwards packets of a call that has moved to another transceiver: `FORWARDED`, the relay's address in the
layout of a header, the relay's packet.

Three packets carry no client datagram: a relay's `HELLO` ("tell me your clients"), a `hello_for` ("tell me your clients
that entered by this ingress"), and a bare header without payload, by which a transceiver tells a relay that this client
is its own.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

from antiphon.schemas.addresses import Address
from antiphon.schemas.errors import MalformedError

FAMILY_IPV4: Final = 2
FAMILY_IPV6: Final = 10
TCP_BIT: Final = 0x8000
BACKBONE_BIT: Final = 0x4000
IPV4_HEADER: Final = 8
IPV6_HEADER: Final = 20
ROUTE_BYTES: Final = 8
"""Behind the address where `BACKBONE_BIT` is set: the header has 16 or 28 bytes then."""
HELLO: Final = bytes(8) + b"\xff"
_HELLO_FOR: Final = struct.Struct(">6xHB")
_OF_INGRESS: Final = 0xFE

FORWARDED: Final = b"\xfe\x7f"
"""First octets of a packet that one transceiver forwards to another: no address family has this number."""

_PREFIX = struct.Struct("<H")
_PORT = struct.Struct(">H")


class Tunnelled(NamedTuple):
    """A tunnel packet, unpacked. A value."""

    header: bytes
    """8, 16, 20 or 28 bytes: the flow's name, sent back unchanged in front of replies."""
    client: Address
    """The address in the header."""
    tcp: bool
    """The client is on ICE-TCP."""
    payload: bytes
    """The client's datagram; empty for a bare header."""


def pack_header(client: Address, tcp: bool = False) -> bytes:
    """The header of a client: 8 bytes for IPv4, 20 for IPv6."""
    address = ipaddress.ip_address(client.host).packed
    family = (FAMILY_IPV4 if len(address) == 4 else FAMILY_IPV6) | (TCP_BIT if tcp else 0)
    return _PREFIX.pack(family) + _PORT.pack(client.port) + address


def header_length(packet: bytes | memoryview) -> int:
    """8 or 20, 16 or 28 with a route; `MalformedError` if no header starts here. All that a forwarding loop reads."""
    if len(packet) >= 2:
        family = packet[0] | (packet[1] & 0x3F) << 8
        length = IPV4_HEADER if family == FAMILY_IPV4 else IPV6_HEADER if family == FAMILY_IPV6 else 0
        if length and packet[1] & 0x40:
            length += ROUTE_BYTES
        if length and len(packet) >= length:
            return length
    raise MalformedError(f"tunnel packet of {len(packet)} bytes has no IPv4 or IPv6 header")


def hello_for(ingress: int) -> bytes:
    """Asks a transceiver for its clients that entered by this ingress (number from 1)."""
    return _HELLO_FOR.pack(ingress, _OF_INGRESS)


def ingress_of_hello(packet: bytes) -> int | None:
    """The ingress of a `hello_for`; None for any other packet."""
    if len(packet) != _HELLO_FOR.size or packet[-1] != _OF_INGRESS or any(packet[:6]):
        return None
    return packet[6] << 8 | packet[7]


def pack_forwarded(relay: Address, packet: bytes) -> bytes:
    """A relay's packet as one transceiver forwards it to another, which answers through that relay."""
    return FORWARDED + pack_header(relay) + packet


def unpack_forwarded(packet: bytes) -> tuple[Address, bytes]:
    """The relay and its packet; `MalformedError` for anything that `pack_forwarded` does not make."""
    if packet[: len(FORWARDED)] != FORWARDED:
        raise MalformedError(f"{len(packet)} bytes are no forwarded tunnel packet")
    read = unpack(packet[len(FORWARDED) :])
    return read.client, read.payload


def unpack(packet: bytes) -> Tunnelled:
    """Split a tunnel packet; `MalformedError` for anything that is not one (a `HELLO` is none)."""
    length = header_length(packet)
    address = ipaddress.ip_address(packet[4 : length - ROUTE_BYTES if packet[1] & 0x40 else length])
    port = packet[2] << 8 | packet[3]
    if not port:
        raise MalformedError("tunnel header names client port 0")
    return Tunnelled(packet[:length], Address(str(address), port), bool(packet[1] & 0x80), packet[length:])
