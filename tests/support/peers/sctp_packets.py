"""SCTP packets as an attacker writes them: any field, any length, with a checksum that is right."""

from __future__ import annotations

import struct

from google_crc32c import value as crc32c

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO = range(11)
RE_CONFIG, FORWARD_TSN = 130, 192
FIRST, LAST, UNORDERED = 2, 1, 4


def packet(tag: int, *chunks: bytes) -> bytes:
    header = struct.pack("!HHL", 5000, 5000, tag)
    body = b"".join(chunks)
    return header + struct.pack("<L", crc32c(header + bytes(4) + body)) + body


def chunk(kind: int, body: bytes, flags: int = 0, length: int | None = None) -> bytes:
    return struct.pack("!BBH", kind, flags, len(body) + 4 if length is None else length) + body + bytes(-len(body) % 4)


def parameter(kind: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("!HH", kind, len(value) + 4 if length is None else length) + value + bytes(-len(value) % 4)


def data(
    tsn: int, payload: bytes, flags: int = FIRST | LAST, stream: int = 1, sequence: int = 0, protocol: int = 51
) -> bytes:
    return chunk(DATA, struct.pack("!LHHL", tsn % (1 << 32), stream, sequence & 0xFFFF, protocol) + payload, flags)


def init(kind: int = INIT, *parameters: bytes, tag: int = 7, streams: int = 65535, tsn: int = 1) -> bytes:
    return chunk(kind, struct.pack("!LLHHL", tag, 1 << 20, streams, streams, tsn) + b"".join(parameters))


def sack(cumulative: int, gaps: list[tuple[int, int]], duplicates: int = 0, window: int = 1 << 20) -> bytes:
    body = struct.pack("!LLHH", cumulative % (1 << 32), window, len(gaps), duplicates)
    return chunk(SACK, body + b"".join(struct.pack("!HH", *gap) for gap in gaps) + bytes(4 * duplicates))


def forward_tsn(cumulative: int, *streams: tuple[int, int]) -> bytes:
    body = struct.pack("!L", cumulative % (1 << 32))
    return chunk(FORWARD_TSN, body + b"".join(struct.pack("!HH", *each) for each in streams))


def chunks_of(packet: bytes) -> list[tuple[int, int, bytes]]:
    """Type, flags and body of each chunk of a packet that is right."""
    found, position = [], 12
    while position < len(packet):
        kind, flags, length = struct.unpack_from("!BBH", packet, position)
        found.append((kind, flags, packet[position + 4 : position + length]))
        position += length + -length % 4
    return found


MALFORMED: dict[str, bytes] = {
    **{
        f"{name} with a parameter of length {length}": chunk(kind, before + struct.pack("!HH", 1, length) + bytes(28))
        for name, kind, before in (
            ("HEARTBEAT", HEARTBEAT, b""),
            ("HEARTBEAT-ACK", HEARTBEAT_ACK, b""),
            ("INIT", INIT, struct.pack("!LLHHL", 7, 1 << 20, 9, 9, 1)),
            ("INIT-ACK", INIT_ACK, struct.pack("!LLHHL", 7, 1 << 20, 9, 9, 1)),
            ("ABORT", ABORT, b""),
            ("ERROR", ERROR, b""),
            ("RE-CONFIG", RE_CONFIG, b""),
        )
        for length in (0, 1, 2, 3, 200)
    },
    "a second parameter of length 0": chunk(HEARTBEAT, parameter(1, b"first") + bytes(8)),
    "half a parameter": chunk(HEARTBEAT, parameter(1, b"first...") + b"\0\1"),
    "a chunk of length 0": chunk(HEARTBEAT, b"", length=0),
    "a chunk of length 3": chunk(HEARTBEAT, b"", length=3),
    "a chunk longer than its packet": chunk(HEARTBEAT, b"", length=400),
    "half a chunk header behind a chunk": chunk(HEARTBEAT, parameter(1, b"")) + b"\4\0",
    "an unknown chunk longer than its packet": chunk(HEARTBEAT, parameter(1, b"")) + chunk(0xBF, b"", length=900),
    "INIT that is cut": chunk(INIT, bytes(15)),
    "INIT with tag 0": init(tag=0),
    "INIT without streams": init(streams=0),
    "INIT with others": init() + chunk(HEARTBEAT, parameter(1, b"me too")),
    "SACK that is cut": chunk(SACK, bytes(11)),
    "SACK with more gaps than octets": chunk(SACK, struct.pack("!LLHH", 1, 1, 500, 0) + bytes(8)),
    "SACK with more duplicates than octets": chunk(SACK, struct.pack("!LLHH", 1, 1, 0, 65535)),
    "SHUTDOWN that is cut": chunk(SHUTDOWN, bytes(2)),
    "FORWARD-TSN that is cut": chunk(FORWARD_TSN, bytes(2)),
    "FORWARD-TSN with half a stream": chunk(FORWARD_TSN, bytes(6)),
    "DATA that is cut": chunk(DATA, bytes(9), FIRST | LAST),
    "DATA without data": data(1, b""),
    "RE-CONFIG without parameters": chunk(RE_CONFIG, b""),
    "RE-CONFIG with 100 parameters": chunk(RE_CONFIG, parameter(17, bytes(8)) * 100),
    "RE-CONFIG that resets half a stream": chunk(RE_CONFIG, parameter(13, bytes(13))),
    "RE-CONFIG with a cut response": chunk(RE_CONFIG, parameter(16, bytes(6))),
    "RE-CONFIG with a cut request to add": chunk(RE_CONFIG, parameter(17, bytes(3))),
    "a thousand HEARTBEATs": chunk(HEARTBEAT, parameter(1, b"")) * 1000,
}
"""By what is wrong: one or more chunks."""
