"""The backbone between two relays: a datagram behind a header that names its whole way, both ways the same.

    8 or 20 bytes   the client's address as in the tunnel (`tunnel`), bit 14 of the family set
    2               ingress number of the relay that the client enters by
    2               transceiver slot
    2               epoch of that slot
    2               flags: bits 8-15 ingress worker, 4-7 version (1), 1 the client is on ICE-TCP, 0 a tag follows
    0 or 8          tag: BLAKE2s with a key of 32 bytes and 8 bytes of digest, over header and datagram

All numbers are big-endian. Between relays the header has 16 or 28 bytes, with the tag 24 or 36. Between the cluster's
relay and the transceiver it has no tag and the tag's flag is clear, so that a client keeps one name however its
packets come: the transceiver sends the 16 or 28 bytes back unchanged in front of every reply. The ingress worker is the
place of the worker in the announced `backbone_addresses` of the ingress, where replies go.

Relays also measure the way to each other by hellos, of 16 bytes, with the tag 24:

    2    0xfd 0x7f: no address family has this number
    1    kind: 1 hello, 2 answer
    1    version (1)
    2    ingress number of the relay that sent the hello; 0 if it has none
    2    flags: bit 1 asks the cluster's transceivers for the clients of this ingress, bit 0 a tag follows
    8    what the answer repeats: the sender's clock

A hello is answered with the same bytes and kind 2.
"""

from __future__ import annotations

import hmac
import re
import struct
from collections.abc import Iterable
from hashlib import blake2s
from typing import Final, NamedTuple

from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.errors import MalformedError

BACKBONE_BIT: Final = tunnel.BACKBONE_BIT
ROUTE_BYTES: Final = tunnel.ROUTE_BYTES
"""Bytes of the header behind the client's address."""
TAG_BYTES: Final = 8
VERSION: Final = 1
TAG_FLAG: Final = 0x01
TCP_FLAG: Final = 0x02
MAX_WORKERS: Final = 256
HELLO_MAGIC: Final = b"\xfd\x7f"
HELLO_BYTES: Final = 16
HELLO, ANSWER = 1, 2
ASK_CLIENTS_FLAG: Final = 0x02
NO_INGRESS: Final = 0
"""Ingress numbers are 1 to 65535."""

_ROUTE = struct.Struct(">HHHBB")
_HELLO = struct.Struct(">2sBBHH8s")


class Route(NamedTuple):
    """What a backbone header says behind the client's address. A value."""

    ingress: int
    """16 bit, from 1: the relay that the client enters by."""
    slot: int
    """16 bit."""
    epoch: int
    """16 bit."""
    worker: int
    """8 bit: the worker of the ingress that replies go to."""


class Hello(NamedTuple):
    """A hello between relays, or its answer. A value."""

    kind: int
    """`HELLO` or `ANSWER`."""
    ingress: int
    """Of the relay that sent the hello; 0: it has none."""
    asks_clients: bool
    """The cluster's relay asks its transceivers for the clients of this ingress."""
    stamp: bytes
    """8 bytes: the clock of the relay that sent the hello."""


def pack_header(client: Address, route: Route, tcp: bool = False) -> bytes:
    """The header of a client without a tag: 16 bytes for IPv4, 28 for IPv6."""
    return with_route(tunnel.pack_header(client, tcp), route)


def with_route(header: bytes, route: Route) -> bytes:
    """A tunnel header of 8 or 20 bytes becomes a backbone header."""
    tcp = TCP_FLAG if header[1] & 0x80 else 0
    try:
        way = _ROUTE.pack(route.ingress, route.slot, route.epoch, route.worker, VERSION << 4 | tcp)
    except struct.error:
        raise ValueError(f"backbone route {tuple(route)}: 16, 16, 16 and 8 bits") from None
    return header[:1] + bytes((header[1] | BACKBONE_BIT >> 8,)) + header[2:] + way


def route_of(header: bytes | memoryview) -> Route:
    """The route in a whole backbone header; `MalformedError` for another version, and where the flags disagree."""
    ingress, slot, epoch, worker, flags = _ROUTE.unpack(header[-ROUTE_BYTES:])
    if flags >> 4 != VERSION or flags & 0x0C or bool(flags & TCP_FLAG) != bool(header[1] & 0x80):
        raise MalformedError(f"backbone header has flags {flags:#04x}: another version")
    if ingress == NO_INGRESS:
        raise MalformedError("backbone header names ingress 0")
    return Route(ingress, slot, epoch, worker)


def is_hello(packet: bytes | memoryview) -> bool:
    """Whether this is a hello or an answer, complete or not."""
    return packet[:2] == HELLO_MAGIC


class BackboneKeys:
    """Packs and opens backbone packets, with a tag if there is a key. The first key seals, each one opens.

    Made by a relay from its settings, never changed; used by one thread.
    """

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        """32 bytes each, newest first; none: packets carry no tag, and one with a tag is refused."""
        self._keys = tuple(keys)
        if any(len(key) != 32 for key in self._keys) or len(self._keys) > 2:
            raise ValueError("a backbone key has 32 bytes, and at most two are live")
        self._hashers = tuple(blake2s(key=key, digest_size=TAG_BYTES) for key in self._keys)

    @classmethod
    def from_text(cls, text: str) -> BackboneKeys:
        """One or two keys of 64 hex digits, comma separated; empty: none. ValueError never shows a key."""
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if any(not re.fullmatch(r"[0-9A-Fa-f]{64}", part) for part in parts) or len(parts) > 2:
            raise ValueError("takes one or two keys of 64 hex digits, comma separated: the first seals, both open")
        return cls(map(bytes.fromhex, parts))

    @property
    def tagged(self) -> bool:
        """Whether packets carry a tag."""
        return bool(self._keys)

    @property
    def overhead(self) -> int:
        """Bytes of the tag."""
        return TAG_BYTES if self._keys else 0

    def seal(self, header: bytes, datagram: bytes | memoryview) -> bytes:
        """The packet for the other relay. `header`: as `pack_header` makes it."""
        if not self._hashers:
            return b"".join((header, datagram))
        header = header[:-1] + bytes((header[-1] | TAG_FLAG,))
        return b"".join((header, self._tag(0, header, datagram), datagram))

    def open(self, packet: bytes | memoryview) -> tuple[bytes, bytes]:
        """(header without tag, datagram) of a packet of another relay; `MalformedError` for anything else."""
        length = tunnel.header_length(packet)
        header = bytes(packet[:length])
        if not header[1] & BACKBONE_BIT >> 8:
            raise MalformedError("a tunnel packet, no backbone packet")
        if bool(header[-1] & TAG_FLAG) != bool(self._hashers):
            raise MalformedError(f"backbone packet {'without' if self._hashers else 'with'} a tag")
        datagram = bytes(packet[length + self.overhead :])
        if self._hashers:
            self._check(header, bytes(packet[length : length + TAG_BYTES]), datagram)
            header = header[:-1] + bytes((header[-1] & ~TAG_FLAG,))
        route_of(header)
        return header, datagram

    def seal_hello(self, hello: Hello) -> bytes:
        """A hello or an answer, 16 or 24 bytes."""
        flags = (ASK_CLIENTS_FLAG if hello.asks_clients else 0) | (TAG_FLAG if self._hashers else 0)
        packed = _HELLO.pack(HELLO_MAGIC, hello.kind, VERSION, hello.ingress, flags, hello.stamp)
        return packed + self._tag(0, packed, b"") if self._hashers else packed

    def open_hello(self, packet: bytes | memoryview) -> Hello:
        """`MalformedError` for anything that `seal_hello` does not make with a live key."""
        if len(packet) != HELLO_BYTES + self.overhead:
            raise MalformedError(f"a hello of {len(packet)} bytes")
        packed = bytes(packet[:HELLO_BYTES])
        magic, kind, version, ingress, flags, stamp = _HELLO.unpack(packed)
        expected = TAG_FLAG if self._hashers else 0
        if magic != HELLO_MAGIC or version != VERSION or kind not in (HELLO, ANSWER) or flags & ~2 != expected:
            raise MalformedError("a hello of another version, or of a relay with other backbone keys")
        if self._hashers:
            self._check(packed, bytes(packet[HELLO_BYTES:]), b"")
        return Hello(kind, ingress, bool(flags & ASK_CLIENTS_FLAG), stamp)

    @property
    def live(self) -> int:
        """How many keys are live."""
        return len(self._hashers)

    def tags(self, parts: Iterable[memoryview], key: int = 0) -> list[bytes]:
        """The tag of each header (its flag set) with its datagram behind it: for a relay's packet loop."""
        copy = self._hashers[key].copy
        tags: list[bytes] = []
        for part in parts:
            hasher = copy()
            hasher.update(part)
            tags.append(hasher.digest())
        return tags

    def _tag(self, key: int, header: bytes, datagram: bytes | memoryview) -> bytes:
        hasher = self._hashers[key].copy()
        hasher.update(header)
        hasher.update(datagram)
        return hasher.digest()

    def _check(self, header: bytes, tag: bytes, datagram: bytes) -> None:
        for key in range(len(self._hashers)):
            if hmac.compare_digest(self._tag(key, header, datagram), tag):
                return
        raise MalformedError("backbone packet has no tag of a live key")
