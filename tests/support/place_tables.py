"""Writes small tables in MaxMind's format, by its published specification (MaxMind DB File Format 2.0)."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from typing import Any, Final

_MARKER: Final = b"\xab\xcd\xefMaxMind.com"


def place_table(records: Mapping[str, Any], *, kind: str = "Test-City", ip_version: int = 6) -> bytes:
    """`records`: network -> record. IPv4 networks stand below ::/96, as the format has it."""
    nodes: list[list[int | None]] = [[None, None]]
    data = b""
    offsets: dict[bytes, int] = {}
    leaves: dict[tuple[int, int], int] = {}
    for text, record in records.items():
        network = ipaddress.ip_network(text)
        encoded = _encode(record)
        if encoded not in offsets:
            offsets[encoded] = len(data)
            data += encoded
        bits, length = int(network.network_address), network.prefixlen
        width = network.max_prefixlen
        if network.version == 4 and ip_version == 6:
            width, length = 128, length + 96
        path = [bits >> (width - 1 - n) & 1 for n in range(length)]
        node = 0
        for bit in path[:-1]:
            following = nodes[node][bit]
            if following is None:
                nodes.append([None, None])
                following = nodes[node][bit] = len(nodes) - 1
            node = following
        leaves[node, path[-1]] = offsets[encoded]
    tree = b""
    for number, node_records in enumerate(nodes):
        for bit, following in enumerate(node_records):
            value = len(nodes) if following is None else following
            if (number, bit) in leaves:
                value = len(nodes) + 16 + leaves[number, bit]
            tree += struct.pack(">I", value)
    metadata = {
        "node_count": len(nodes),
        "record_size": 32,
        "ip_version": ip_version,
        "database_type": kind,
        "languages": [],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1700000000,
        "description": {},
    }
    return tree + bytes(16) + data + _MARKER + _encode(metadata)


def _encode(value: Any) -> bytes:
    match value:
        case str():
            text = value.encode()
            return _control(2, len(text)) + text
        case float():
            return _control(3, 8) + struct.pack(">d", value)
        case int():
            return _control(6, 4) + struct.pack(">I", value)
        case list():
            return _control(11, len(value)) + b"".join(map(_encode, value))
        case dict():
            pairs = (_encode(key) + _encode(each) for key, each in value.items())
            return _control(7, len(value)) + b"".join(pairs)
    raise TypeError(f"{value!r} has no type of the format here")


def _control(kind: int, size: int) -> bytes:
    """The control octet, with the extended type in a second one; sizes below 285."""
    head = kind << 5 if kind < 8 else 0
    extended = b"" if kind < 8 else bytes([kind - 7])
    return bytes([head | min(size, 29)]) + extended + (bytes([size - 29]) if size >= 29 else b"")
