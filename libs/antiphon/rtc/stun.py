"""The piece of STUN (RFC 8489) that an ICE-lite agent needs: read binding requests, answer them."""

from __future__ import annotations

import binascii
import hmac
import ipaddress
import struct
from typing import Final, NamedTuple

from antiphon.schemas.addresses import Address

MAGIC_COOKIE: Final = 0x2112A442
BINDING_REQUEST: Final = 0x0001
BINDING_SUCCESS: Final = 0x0101
USERNAME: Final = 0x0006
MESSAGE_INTEGRITY: Final = 0x0008
XOR_MAPPED_ADDRESS: Final = 0x0020
USE_CANDIDATE: Final = 0x0025
FINGERPRINT: Final = 0x8028
FINGERPRINT_XOR: Final = 0x5354554E
HEADER_LENGTH: Final = 20

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")


class StunError(ValueError):
    """Bytes that are no binding request that we could answer."""


class BindingRequest(NamedTuple):
    """An ICE connectivity check, not yet authenticated."""

    transaction_id: bytes
    local_ufrag: str
    """Ours: the part of USERNAME before the colon."""
    remote_ufrag: str
    use_candidate: bool
    integrity: int
    """Offset of MESSAGE-INTEGRITY in the datagram."""


def is_stun(datagram: bytes) -> bool:
    """STUN starts with two zero bits (RFC 7983)."""
    return len(datagram) >= HEADER_LENGTH and datagram[0] < 4


def unpack_binding_request(datagram: bytes) -> BindingRequest:
    """Read a check up to its MESSAGE-INTEGRITY: what follows that is not covered by it and is ignored."""
    if len(datagram) < HEADER_LENGTH:
        raise StunError(f"{len(datagram)} bytes are no STUN message")
    kind, length, cookie, transaction_id = _HEADER.unpack_from(datagram)
    if kind != BINDING_REQUEST or cookie != MAGIC_COOKIE or length + HEADER_LENGTH != len(datagram):
        raise StunError("not a binding request")
    username: bytes | None = None
    use_candidate = False
    position = HEADER_LENGTH
    while position + 4 <= len(datagram):
        attribute, size = _ATTRIBUTE.unpack_from(datagram, position)
        end = position + 4 + size
        if end > len(datagram):
            raise StunError(f"attribute 0x{attribute:04x} is longer than the message")
        if attribute == USERNAME:
            username = datagram[position + 4 : end]
        elif attribute == USE_CANDIDATE:
            use_candidate = True
        elif attribute == MESSAGE_INTEGRITY and size == 20:
            if username is None:
                break
            local, colon, remote = username.partition(b":")
            if not colon or not local.isascii() or not remote.isascii():
                raise StunError("USERNAME is not two ufrags with a colon between")
            return BindingRequest(transaction_id, local.decode(), remote.decode(), use_candidate, position)
        position = end + (-size & 3)
    raise StunError("binding request without USERNAME and MESSAGE-INTEGRITY")


def is_authentic(datagram: bytes, request: BindingRequest, password: bytes) -> bool:
    """Check MESSAGE-INTEGRITY with our password (RFC 8489 section 14.5)."""
    at = request.integrity
    # The length field covers the message up to and including the attribute, whatever follows it.
    covered = datagram[:2] + struct.pack("!H", at + 24 - HEADER_LENGTH) + datagram[4:at]
    return hmac.compare_digest(hmac.digest(password, covered, "sha1"), datagram[at + 4 : at + 24])


def pack_binding_success(transaction_id: bytes, client: Address, password: bytes) -> bytes:
    """The answer: XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT."""
    packed = ipaddress.ip_address(client.host).packed
    mask = struct.pack("!I", MAGIC_COOKIE) + transaction_id
    mapped = bytes(a ^ b for a, b in zip(packed, mask, strict=False))
    value = struct.pack("!BBH", 0, 1 if len(packed) == 4 else 2, client.port ^ MAGIC_COOKIE >> 16) + mapped
    body = _ATTRIBUTE.pack(XOR_MAPPED_ADDRESS, len(value)) + value
    covered = _HEADER.pack(BINDING_SUCCESS, len(body) + 24, MAGIC_COOKIE, transaction_id) + body
    body += _ATTRIBUTE.pack(MESSAGE_INTEGRITY, 20) + hmac.digest(password, covered, "sha1")
    message = _HEADER.pack(BINDING_SUCCESS, len(body) + 8, MAGIC_COOKIE, transaction_id) + body
    return message + _ATTRIBUTE.pack(FINGERPRINT, 4) + struct.pack("!I", binascii.crc32(message) ^ FINGERPRINT_XOR)
