"""SCTP packets on the wire, read and written (RFC 9260 section 3, RFC 3758, RFC 6525). Sans-IO.

The association gets only what was checked here: verification tag and checksum first, then every length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from google_crc32c import value as crc32c

from antiphon.schemas.errors import MalformedError

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR = range(10)
COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE, RE_CONFIG, FORWARD_TSN = 10, 11, 14, 130, 192

FIRST, LAST, UNORDERED, AT_ONCE = 2, 1, 4, 8
"""Flags of a DATA chunk: it begins a message, it ends one, messages of its stream have no order, and its sender wants
an acknowledgement without delay (RFC 7053)."""
REFLECTED: Final = 1
"""Flag of ABORT and SHUTDOWN-COMPLETE: the tag in their packet is not ours but our peer's (T bit)."""

STATE_COOKIE, EXTENSIONS, FORWARD_TSN_SUPPORTED = 7, 0x8008, 0xC000
"""Parameters of INIT and INIT-ACK."""
RESET_OUTGOING, RESET_INCOMING, RESET_TSN, RESET_RESPONSE, ADD_OUTGOING, ADD_INCOMING = range(13, 19)
"""Parameters of RE-CONFIG."""

MAX_CHUNKS: Final = 100
"""In one packet. 72 of the smallest DATA chunk fill 1452 octets, the most that UDP carries on an Ethernet."""

_WITH_PARAMETERS: Final = {INIT: 16, INIT_ACK: 16, HEARTBEAT: 0, HEARTBEAT_ACK: 0, ABORT: 0, ERROR: 0, RE_CONFIG: 0}
"""Where a chunk's parameters, or causes, begin in its body."""
_KNOWN: Final = {DATA, SACK, SHUTDOWN, SHUTDOWN_ACK, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE, FORWARD_TSN} | set(
    _WITH_PARAMETERS
)
_RE_CONFIG_LENGTHS: Final = {13: (12, 2), 14: (4, 2), 15: (4, 0), 16: (8, 8), 17: (8, 0), 18: (8, 0)}
"""RFC 6525 section 4: octets of a parameter's fixed part, and of which unit what follows it is a multiple."""


class SctpError(MalformedError):
    """An SCTP packet that is not accepted; the text is only for the log."""


class RawChunk(NamedTuple):
    """One chunk whose lengths are right."""

    kind: int
    flags: int
    body: bytes


def verification_tag(packet: bytes) -> int:
    """Of a packet that `read_packet` has taken."""
    return int.from_bytes(packet[4:8], "big")


def read_packet(packet: bytes, tag: int, peer_tag: int = 0) -> list[RawChunk]:
    """The chunks of a packet for the association with this verification tag; SctpError if anything in it is wrong.

    `peer_tag`: of our own packets, which ABORT and SHUTDOWN-COMPLETE may return (section 8.5.1). The tag of a
    COOKIE-ECHO is the one in its cookie: the association looks at it.
    Chunks of a kind that is not known are left out, and those after one that says so (section 3.2). So is all but the
    first of each kind other than DATA: no stack bundles two, and each costs as much as a packet.
    """
    if len(packet) < 16:
        raise SctpError(f"{len(packet)} octets are no SCTP packet: the shortest has 16")
    tag_in_packet, kind = verification_tag(packet), packet[12]
    if tag_in_packet != (0 if kind == INIT else tag) and not (
        kind == COOKIE_ECHO
        or (kind in (ABORT, SHUTDOWN_COMPLETE) and packet[13] & REFLECTED and tag_in_packet == peer_tag != 0)
    ):
        raise SctpError(f"verification tag {tag_in_packet} is not this association's")
    (checksum,) = struct.unpack_from("<L", packet, 8)
    if checksum != crc32c(packet[:8] + bytes(4) + packet[12:]):
        raise SctpError("the checksum is wrong")
    chunks: list[RawChunk] = []
    seen: set[int] = set()
    stopped = False
    for number, (kind, flags, body) in enumerate(_chunks(packet)):
        if number >= MAX_CHUNKS:
            raise SctpError(f"more than {MAX_CHUNKS} chunks in a packet")
        if kind not in _KNOWN:
            stopped = stopped or kind < 128
            continue
        _check(kind, body)
        if not stopped and kind not in seen:
            chunks.append(RawChunk(kind, flags, body))
            if kind != DATA:
                seen.add(kind)
    if INIT in seen and len(chunks) > 1:
        raise SctpError("INIT is not alone in its packet")
    return chunks


def _chunks(packet: bytes) -> Iterator[RawChunk]:
    position, end = 12, len(packet)
    while position < end:
        if end - position < 4:
            raise SctpError(f"{end - position} octets are left after the last chunk")
        kind, flags, length = struct.unpack_from("!BBH", packet, position)
        if length < 4 or position + length > end:
            raise SctpError(f"a chunk of type {kind} says length {length} where {end - position} octets are left")
        yield RawChunk(kind, flags, packet[position + 4 : position + length])
        position += length + -length % 4


def _check(kind: int, body: bytes) -> None:
    """That this chunk can be read."""
    size = len(body)
    if kind in _WITH_PARAMETERS:
        begin = _WITH_PARAMETERS[kind]
        if size < begin:
            raise SctpError(f"a chunk of type {kind} has {size} octets: at least {begin} are needed")
        if begin and (not any(body[:4]) or not any(body[8:10]) or not any(body[10:12])):
            raise SctpError("INIT with tag 0 or without streams")
        values = list(_parameters(kind, body[begin:]))
        if kind == RE_CONFIG:
            _check_re_config(values)
        return
    if kind == DATA:
        right = size > 12  # without user data it is a protocol violation (section 3.3.1)
    elif kind == SACK:
        right = size >= 12 and size == 12 + 4 * sum(struct.unpack_from("!HH", body, 8))
    elif kind == FORWARD_TSN:
        right = size >= 4 and size % 4 == 0
    else:
        right = kind != SHUTDOWN or size == 4
    if not right:
        raise SctpError(f"a chunk of type {kind} can't have {size} octets")


def _parameters(kind: int, body: bytes) -> Iterator[tuple[int, int]]:
    """Type and length, header included, of each parameter; SctpError if one is not inside of its chunk."""
    position, end = 0, len(body)
    while position < end:
        if end - position < 4:
            raise SctpError(f"{end - position} octets are left after the last parameter in a chunk of type {kind}")
        name, length = struct.unpack_from("!HH", body, position)
        if length < 4 or position + length > end:
            raise SctpError(f"a parameter in a chunk of type {kind} says length {length} of {end - position}")
        yield name, length
        position += length + -length % 4


def _check_re_config(parameters: list[tuple[int, int]]) -> None:
    if not 0 < len(parameters) <= 2:
        raise SctpError(f"RE-CONFIG with {len(parameters)} parameters: it has one or two")
    for name, length in parameters:
        least, unit = _RE_CONFIG_LENGTHS.get(name, (0, 1))
        more = length - 4 - least
        if more < 0 or (more % unit if unit else more):
            raise SctpError(f"a RE-CONFIG parameter of type {name} can't have length {length}")


def read_parameters(body: bytes) -> list[tuple[int, bytes]]:
    """Type and value of each parameter, or cause, of a chunk that `read_packet` has taken."""
    found, position = [], 0
    while position < len(body):
        name, length = struct.unpack_from("!HH", body, position)
        found.append((name, body[position + 4 : position + length]))
        position += length + -length % 4
    return found


def trimmed_gaps(gaps: list[tuple[int, int]], outstanding: int) -> list[tuple[int, int]]:
    """Gap ack blocks in order, without overlaps, of no more than the chunks that are outstanding.

    None holds the first of them: it would be acknowledged otherwise, and has to be sent again until it is.
    """
    found: list[tuple[int, int]] = []
    for first, last in sorted(gaps):
        first, last = max(first, 2), min(last, outstanding)
        if first > last:
            continue
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


# ---- written


def pack_packet(source: int, destination: int, tag: int, chunks: list[bytes]) -> bytes:
    """A packet with its checksum. Each chunk is padded."""
    header = struct.pack("!HHL", source, destination, tag)
    body = b"".join(chunks)
    return header + struct.pack("<L", crc32c(header + b"\0\0\0\0" + body)) + body


def pack_chunk(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack("!BBH", kind, flags, len(body) + 4) + body + bytes(-len(body) % 4)


def pack_parameter(kind: int, value: bytes) -> bytes:
    """A parameter of a chunk or a cause of an error, padded."""
    return struct.pack("!HH", kind, len(value) + 4) + value + bytes(-len(value) % 4)


def pack_data(flags: int, tsn: int, stream: int, sequence: int, protocol: int, payload: bytes) -> bytes:
    """A DATA chunk, padded."""
    size = len(payload)
    header = struct.pack("!BBHLHHL", DATA, flags, size + 16, tsn & 0xFFFFFFFF, stream, sequence, protocol)
    return header + payload + bytes(-size % 4)


def pack_sack(tsn: int, window: int, gaps: list[tuple[int, int]], duplicates: list[int]) -> bytes:
    words = [number for gap in gaps for number in gap]
    counts = len(gaps), len(duplicates)
    return pack_chunk(
        SACK, struct.pack(f"!LLHH{len(words)}H{len(duplicates)}L", tsn, window, *counts, *words, *duplicates)
    )


def pack_init(kind: int, tag: int, window: int, streams: int, tsn: int, parameters: list[bytes]) -> bytes:
    """INIT or INIT-ACK."""
    return pack_chunk(kind, struct.pack("!LLHHL", tag, window, streams, streams, tsn) + b"".join(parameters))


def pack_forward_tsn(tsn: int, streams: dict[int, int]) -> bytes:
    """`streams`: of each ordered one, the last sequence number that is given up."""
    words = [number for stream in streams.items() for number in stream]
    return pack_chunk(FORWARD_TSN, struct.pack(f"!L{len(words)}H", tsn & 0xFFFFFFFF, *words))
