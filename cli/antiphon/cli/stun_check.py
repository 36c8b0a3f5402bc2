"""One authenticated STUN binding request through a relay: does UDP get from here to the call's owner and back?

A success response whose MESSAGE-INTEGRITY holds can come from the session's transceiver only, since nobody
else on the path has the ICE password. RFC 8489 (STUN) and RFC 8445 section 7.1 (its use by ICE).
"""

from __future__ import annotations

import binascii
import hmac
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.errors import MalformedError

BINDING_REQUEST: Final = 0x0001
BINDING_SUCCESS: Final = 0x0101
BINDING_ERROR: Final = 0x0111
MAGIC_COOKIE: Final = 0x2112A442
USERNAME: Final = 0x0006
MESSAGE_INTEGRITY: Final = 0x0008
ERROR_CODE: Final = 0x0009
PRIORITY: Final = 0x0024
FINGERPRINT: Final = 0x8028
ICE_CONTROLLING: Final = 0x802A
FINGERPRINT_XOR: Final = 0x5354554E

RETRANSMIT_S: Final = 0.25
HEADER: Final = struct.Struct(">HHI12s")


class Answer(NamedTuple):
    """What an SDP answer says about where and how to reach the session."""

    ufrag: str
    password: str
    candidates: list[Address]
    """UDP candidates, in the order of the answer."""


def read_answer(sdp: str) -> Answer:
    """Read the first ufrag, the first password and all UDP candidates; `MalformedError` names what is missing."""
    lines = sdp.splitlines()
    ufrag = next((line[12:] for line in lines if line.startswith("a=ice-ufrag:")), "")
    password = next((line[10:] for line in lines if line.startswith("a=ice-pwd:")), "")
    candidates: list[Address] = []
    for line in lines:
        words = line.split()
        if line.startswith("a=candidate:") and len(words) >= 6 and words[2].lower() == "udp":
            host, port = words[4:6]
            candidates.append(parse_address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    if not ufrag or not password:
        raise MalformedError("the SDP answer has no ICE ufrag and password")
    if not candidates:
        raise MalformedError("the SDP answer names no UDP candidate: no relay has announced itself")
    return Answer(ufrag, password, list(dict.fromkeys(candidates)))


def binding_request(answer: Answer, local_ufrag: str) -> tuple[bytes, bytes]:
    """A request as a browser sends it, and its transaction id."""
    transaction = secrets.token_bytes(12)
    attributes = b"".join(
        (
            _attribute(USERNAME, f"{answer.ufrag}:{local_ufrag}".encode()),
            _attribute(PRIORITY, struct.pack(">I", 1853824767)),
            _attribute(ICE_CONTROLLING, secrets.token_bytes(8)),
        )
    )
    # Both checks cover a header whose length already counts them (RFC 8489, 14.5 and 14.7).
    covered = HEADER.pack(BINDING_REQUEST, len(attributes) + 24, MAGIC_COOKIE, transaction) + attributes
    attributes += _attribute(MESSAGE_INTEGRITY, hmac.digest(answer.password.encode(), covered, "sha1"))
    covered = HEADER.pack(BINDING_REQUEST, len(attributes) + 8, MAGIC_COOKIE, transaction) + attributes
    fingerprint = struct.pack(">I", binascii.crc32(covered) ^ FINGERPRINT_XOR)
    return covered + _attribute(FINGERPRINT, fingerprint), transaction


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _attributes(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(offset, type, value) of each attribute; ends at the first that does not fit."""
    offset = HEADER.size
    while offset + 4 <= len(message):
        kind, length = struct.unpack_from(">HH", message, offset)
        if offset + 4 + length > len(message):
            return
        yield offset, kind, message[offset + 4 : offset + 4 + length]
        offset += 4 + length + -length % 4


def is_authentic_success(message: bytes, transaction: bytes, password: str) -> bool:
    """Whether this is the success response to our request, vouched for by the holder of the password.

    Raises `MalformedError` when it is an error response instead.
    """
    if len(message) < HEADER.size or message[4:20] != struct.pack(">I", MAGIC_COOKIE) + transaction:
        return False
    kind = int.from_bytes(message[:2], "big")
    for offset, attribute, value in _attributes(message):
        if kind == BINDING_ERROR and attribute == ERROR_CODE and len(value) >= 4:
            raise MalformedError(
                f"the transceiver answers {value[2] * 100 + value[3]} {value[4:].decode('utf-8', 'replace')}"
            )
        if kind == BINDING_SUCCESS and attribute == MESSAGE_INTEGRITY:
            covered = message[:2] + struct.pack(">H", offset + 24 - HEADER.size) + message[4:offset]
            return hmac.compare_digest(value, hmac.digest(password.encode(), covered, "sha1"))
    return False


def reach(answer: Answer, candidate: Address, local_ufrag: str, timeout: float = 3.0) -> float | None:
    """Round trip to the session by way of this candidate in ms; None when no authentic answer comes in time.

    `MalformedError` when an error response comes.
    """
    family = socket.AF_INET6 if ":" in candidate.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(RETRANSMIT_S)
        udp.connect(candidate)
        request, transaction = binding_request(answer, local_ufrag)
        begun = time.monotonic()
        while time.monotonic() - begun < timeout:
            sent = time.monotonic()
            try:
                udp.send(request)
                if is_authentic_success(udp.recv(2048), transaction, answer.password):
                    return (time.monotonic() - sent) * 1000
            except TimeoutError:
                continue
            except ConnectionRefusedError:  # the port is closed; whoever should have it may be restarting
                time.sleep(RETRANSMIT_S)
    return None
