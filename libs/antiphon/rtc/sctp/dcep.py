"""Messages that open data channels (DCEP, RFC 8832), and the payload protocol identifiers of RFC 8831. Sans-IO."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

DCEP, TEXT, BINARY, EMPTY_TEXT, EMPTY_BINARY = 50, 51, 53, 56, 57
"""Payload protocol identifiers (RFC 8831 section 8). 52 and 54 are deprecated, and no browser sends them."""
ACK, OPEN = 2, 3
_UNORDERED, _RETRANSMITS, _LIFETIME = 0x80, 1, 2
_HEADER: Final = struct.Struct("!BBHLHH")


class Opening(NamedTuple):
    """What a DATA_CHANNEL_OPEN asks for."""

    label: str
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    max_lifetime: int | None = None
    """Milliseconds."""


def pack_open(opening: Opening) -> bytes:
    kind, limit = 0 if opening.ordered else _UNORDERED, 0
    if opening.max_retransmits is not None:
        kind, limit = kind | _RETRANSMITS, opening.max_retransmits
    elif opening.max_lifetime is not None:
        kind, limit = kind | _LIFETIME, opening.max_lifetime
    label, protocol = opening.label.encode(), opening.protocol.encode()
    return _HEADER.pack(OPEN, kind, 0, limit, len(label), len(protocol)) + label + protocol


def read_open(payload: bytes) -> Opening | None:
    """None for one that is malformed or of a type that RFC 8832 does not have."""
    if len(payload) < _HEADER.size:
        return None
    _, kind, _, limit, label, protocol = _HEADER.unpack_from(payload)
    begin = _HEADER.size
    if begin + label + protocol > len(payload) or kind & ~_UNORDERED > _LIFETIME:
        return None
    try:
        names = payload[begin : begin + label].decode(), payload[begin + label : begin + label + protocol].decode()
    except UnicodeDecodeError:
        return None
    return Opening(
        *names,
        not kind & _UNORDERED,
        limit if kind & _RETRANSMITS else None,
        limit if kind & _LIFETIME else None,
    )


def encode(payload: str | bytes) -> tuple[int, bytes]:
    """The payload protocol identifier of a message, and its octets: SCTP has no empty messages."""
    if isinstance(payload, str):
        return (TEXT, payload.encode()) if payload else (EMPTY_TEXT, b"\0")
    return (BINARY, payload) if payload else (EMPTY_BINARY, b"\0")


def decode(protocol: int, payload: bytes) -> str | bytes | None:
    """A message as it was sent; None for an identifier that no message has."""
    if protocol == TEXT:
        return payload.decode(errors="replace")
    if protocol == BINARY:
        return payload
    if protocol == EMPTY_TEXT:
        return ""
    return b"" if protocol == EMPTY_BINARY else None
