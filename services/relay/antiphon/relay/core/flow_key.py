"""Addresses as the integers that the packet path works with.

A client's key is its tunnel header read as a little-endian integer: 64 bit for IPv4 (family, port,
address: the first 8 bytes of Linux `sockaddr_in`), 160 bit for IPv6. So one number is flow key, tunnel header
and, for IPv4, socket address at once, and whole batches of them move without Python looking at each. A
transceiver's tunnel address is written the same way. The family in the low 16 bits keeps the two apart, and
its bit 15 the clients on ICE-TCP.
"""

from __future__ import annotations

import functools
import socket
import struct
from typing import Any, Final

from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address

_V4_PREFIX: Final = struct.Struct("<H").pack(tunnel.FAMILY_IPV4)
_V6_PREFIX: Final = struct.Struct("<H").pack(tunnel.FAMILY_IPV6)
_FAMILIES: Final = {tunnel.FAMILY_IPV4: socket.AF_INET, tunnel.FAMILY_IPV6: socket.AF_INET6}

_FAMILY: Final = 0xFFFF ^ tunnel.TCP_BIT
_CACHED: Final = 1 << 14
"""Addresses whose conversion is remembered: a live call asks for the same ones hundreds of times a second."""


@functools.lru_cache(_CACHED)
def key_of(sockaddr: tuple[Any, ...]) -> int:
    """The key of a socket address as `recvfrom` gives it: (host, port) or (host, port, flow info, scope)."""
    port = sockaddr[1].to_bytes(2, "big")
    if len(sockaddr) == 2:
        return int.from_bytes(_V4_PREFIX + port + socket.inet_aton(sockaddr[0]), "little")
    host = sockaddr[0].partition("%")[0]
    return int.from_bytes(_V6_PREFIX + port + socket.inet_pton(socket.AF_INET6, host), "little")


def key_of_address(address: Address) -> int:
    """The key of an address in an announcement."""
    return int.from_bytes(tunnel.pack_header(address), "little")


def key_of_header(header: bytes) -> int:
    """The key of a tunnel header: the inverse of `header_of`."""
    return int.from_bytes(header, "little")


@functools.lru_cache(_CACHED)
def header_of(key: int) -> bytes:
    """The tunnel header of a key: 8 or 20 bytes; the 8 octets of an owner in another cluster."""
    length = tunnel.IPV6_HEADER if key & _FAMILY == tunnel.FAMILY_IPV6 else tunnel.IPV4_HEADER
    return key.to_bytes(length, "little")


def family_of(key: int) -> socket.AddressFamily:
    """The socket family that reaches this key."""
    return _FAMILIES[key & _FAMILY]


@functools.lru_cache(_CACHED)
def sockaddr_of(key: int) -> tuple[str, int]:
    """The socket address of a key, as `sendto` takes it in either family."""
    header = header_of(key)
    return socket.inet_ntop(family_of(key), header[4:]), header[2] << 8 | header[3]


@functools.lru_cache(_CACHED)
def sockaddr_in6_of(key: int) -> bytes:
    """The 28 bytes of Linux `sockaddr_in6` for an IPv6 key."""
    header = header_of(key)
    return header[:4] + bytes(4) + header[4:] + bytes(4)


def key_in_tunnel_packet(packet: bytes | memoryview) -> int | None:
    """The client's key in front of a tunnel packet, with the bit for ICE-TCP; None if there is no header."""
    if len(packet) < tunnel.IPV4_HEADER or packet[1] & 0x7F or not (packet[2] or packet[3]):
        return None
    if packet[0] == tunnel.FAMILY_IPV4:
        return int.from_bytes(packet[: tunnel.IPV4_HEADER], "little")
    if packet[0] == tunnel.FAMILY_IPV6 and len(packet) >= tunnel.IPV6_HEADER:
        return int.from_bytes(packet[: tunnel.IPV6_HEADER], "little")
    return None
