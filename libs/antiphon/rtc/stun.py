"""STUN (RFC 8489) as ICE uses it (RFC 8445): binding requests and their responses, packed and unpacked.

Bytes in, bytes out: no socket, no clock, no randomness. Each end packs requests and unpacks their responses, and the
other way round. An unpacked message is not authentic yet: `is_authentic` checks its MESSAGE-INTEGRITY.
"""

from __future__ import annotations

import binascii
import hmac
import ipaddress
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from antiphon.schemas.addresses import Address

MAGIC_COOKIE: Final = 0x2112A442
BINDING_REQUEST: Final = 0x0001
BINDING_INDICATION: Final = 0x0011
BINDING_SUCCESS: Final = 0x0101
BINDING_ERROR: Final = 0x0111
USERNAME: Final = 0x0006
MESSAGE_INTEGRITY: Final = 0x0008
ERROR_CODE: Final = 0x0009
UNKNOWN_ATTRIBUTES: Final = 0x000A
XOR_MAPPED_ADDRESS: Final = 0x0020
PRIORITY: Final = 0x0024
USE_CANDIDATE: Final = 0x0025
FINGERPRINT: Final = 0x8028
ICE_CONTROLLED: Final = 0x8029
ICE_CONTROLLING: Final = 0x802A
FINGERPRINT_XOR: Final = 0x5354554E
HEADER_LENGTH: Final = 20
INTEGRITY_LENGTH: Final = 20
"""HMAC-SHA1."""
HOST_PRIORITY: Final = 0x6E0001FF
"""Of a peer-reflexive candidate of a host with one address (RFC 8445 section 5.1.2.1)."""

BAD_REQUEST: Final = 400
UNKNOWN_ATTRIBUTE: Final = 420
COMPREHENSION_OPTIONAL: Final = 0x8000
"""Attributes from here on may be ignored (RFC 8489 section 14)."""
MAX_UNKNOWN: Final = 8
"""Unknown attributes that a response names: with them it is never longer than its request."""
_COMPREHENDED: Final = frozenset((1, 6, 8, 9, 0xA, 0x14, 0x15, 0x1C, 0x1D, 0x1E, 0x20, 0x24, 0x25))
"""Of the attributes that have to be understood: those of RFC 8489 section 18.3 and RFC 8445 section 16.1."""

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_FAMILY_OCTETS: Final = {1: 4, 2: 16}


class StunError(ValueError):
    """Bytes that are not the message that was to be unpacked, or not one that we could use."""


class NoCredentialsError(StunError):
    """A well-formed request without USERNAME or MESSAGE-INTEGRITY, as some clients send it to keep a path alive."""

    def __init__(self, transaction_id: bytes, fingerprint: bool) -> None:
        super().__init__("a binding request without USERNAME or without MESSAGE-INTEGRITY")
        self.transaction_id = transaction_id
        self.fingerprint = fingerprint
        """It has FINGERPRINT."""


class BindingRequest(NamedTuple):
    """An ICE connectivity check, not yet authenticated."""

    transaction_id: bytes
    local_ufrag: str
    """Ours: the part of USERNAME before the colon."""
    remote_ufrag: str
    use_candidate: bool
    integrity: int
    """Offset of MESSAGE-INTEGRITY in the datagram."""
    unknown: tuple[int, ...] = ()
    """Attributes that have to be understood and are not (RFC 8489 section 6.3.1)."""


class BindingSuccess(NamedTuple):
    """The answer to a check, not yet authenticated."""

    transaction_id: bytes
    mapped: Address | None
    """XOR-MAPPED-ADDRESS: where the other end sees us; None if it does not say."""
    integrity: int
    """Offset of MESSAGE-INTEGRITY in the datagram."""


class BindingError(NamedTuple):
    """An error response. Those to requests without credentials can't be authentic."""

    transaction_id: bytes
    code: int
    """0 if it has no ERROR-CODE."""


def is_stun(datagram: bytes) -> bool:
    """STUN starts with two zero bits (RFC 7983)."""
    return len(datagram) >= HEADER_LENGTH and datagram[0] < 4


def message_type(datagram: bytes) -> int | None:
    """The type of a STUN message; None if it has no magic cookie or not the length that it gives."""
    if len(datagram) < HEADER_LENGTH:
        return None
    kind, length, cookie, _ = _HEADER.unpack_from(datagram)
    return kind if cookie == MAGIC_COOKIE and length + HEADER_LENGTH == len(datagram) and not length & 3 else None


def pack_binding_request(
    username: str,
    password: bytes,
    transaction_id: bytes,
    tie_breaker: int,
    *,
    priority: int = HOST_PRIORITY,
    use_candidate: bool = False,
    controlled: bool = False,
) -> bytes:
    """A connectivity check (RFC 8445 section 7.1) of a controlling or controlled agent: with integrity and fingerprint.

    `username`: `<ufrag of the other end>:<our ufrag>`; `password`: the other end's; `transaction_id`: 12 random octets;
    `tie_breaker`: 64 random bits, the same in all checks of one agent.
    """
    name = username.encode()
    body = _ATTRIBUTE.pack(USERNAME, len(name)) + name + bytes(-len(name) % 4)
    body += _ATTRIBUTE.pack(PRIORITY, 4) + struct.pack("!I", priority)
    body += _ATTRIBUTE.pack(ICE_CONTROLLED if controlled else ICE_CONTROLLING, 8) + struct.pack("!Q", tie_breaker)
    if use_candidate:
        body += _ATTRIBUTE.pack(USE_CANDIDATE, 0)
    return _pack_message(BINDING_REQUEST, transaction_id, body, password)


def unpack_binding_request(datagram: bytes) -> BindingRequest:
    """Read a check up to its MESSAGE-INTEGRITY: what follows that is not covered by it and is ignored.

    `NoCredentialsError` for a request that can be read and has no USERNAME of two ufrags, or no MESSAGE-INTEGRITY.
    """
    transaction_id, attributes, integrity = _unpack_message(datagram, BINDING_REQUEST)
    local, colon, remote = attributes.get(USERNAME, b"").partition(b":")
    if not integrity or not colon or not local.isascii() or not remote.isascii():
        raise NoCredentialsError(transaction_id, FINGERPRINT in attributes)
    unknown = tuple(each for each in attributes if each < COMPREHENSION_OPTIONAL and each not in _COMPREHENDED)
    nominates = USE_CANDIDATE in attributes
    return BindingRequest(transaction_id, local.decode(), remote.decode(), nominates, integrity, unknown)


def pack_binding_success(transaction_id: bytes, client: Address, password: bytes) -> bytes:
    """The answer to a check from `client`: XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT."""
    packed = ipaddress.ip_address(client.host).packed
    value = struct.pack("!BBH", 0, 1 if len(packed) == 4 else 2, client.port ^ MAGIC_COOKIE >> 16)
    value += _masked(packed, transaction_id)
    body = _ATTRIBUTE.pack(XOR_MAPPED_ADDRESS, len(value)) + value
    return _pack_message(BINDING_SUCCESS, transaction_id, body, password)


def unpack_binding_success(datagram: bytes) -> BindingSuccess:
    """Read an answer up to its MESSAGE-INTEGRITY: what follows that is not covered by it and is ignored."""
    transaction_id, attributes, integrity = _unpack_message(datagram, BINDING_SUCCESS)
    if not integrity:
        raise StunError("a STUN message without MESSAGE-INTEGRITY")
    value = attributes.get(XOR_MAPPED_ADDRESS)
    return BindingSuccess(transaction_id, None if value is None else _unpack_mapped(value, transaction_id), integrity)


def pack_binding_error(
    transaction_id: bytes,
    code: int,
    *,
    unknown: Sequence[int] = (),
    password: bytes | None = None,
    fingerprint: bool = True,
) -> bytes:
    """An error response without a reason phrase: with MESSAGE-INTEGRITY only where there is a `password`.

    RFC 8489 section 9.1.3: the response to a request without credentials has none.
    """
    body = _ATTRIBUTE.pack(ERROR_CODE, 4) + struct.pack("!HBB", 0, code // 100, code % 100)
    if unknown:
        kinds = unknown[:MAX_UNKNOWN]
        body += _ATTRIBUTE.pack(UNKNOWN_ATTRIBUTES, 2 * len(kinds)) + struct.pack(f"!{len(kinds)}H", *kinds)
        body += bytes(-len(body) % 4)
    return _pack_message(BINDING_ERROR, transaction_id, body, password, fingerprint)


def unpack_binding_error(datagram: bytes) -> BindingError:
    """Read an error response, with or without MESSAGE-INTEGRITY."""
    transaction_id, attributes, _ = _unpack_message(datagram, BINDING_ERROR)
    value = attributes.get(ERROR_CODE, b"")
    code = (value[2] & 7) * 100 + value[3] if len(value) >= 4 else 0
    return BindingError(transaction_id, code)


def is_authentic(datagram: bytes, message: BindingRequest | BindingSuccess, password: bytes) -> bool:
    """Check MESSAGE-INTEGRITY with the password of the end that was asked (RFC 8489 section 14.5)."""
    at = message.integrity
    # The length field covers the message up to and including the attribute, whatever follows it.
    covered = datagram[:2] + struct.pack("!H", at + 24 - HEADER_LENGTH) + datagram[4:at]
    return hmac.compare_digest(hmac.digest(password, covered, "sha1"), datagram[at + 4 : at + 24])


def _unpack_message(datagram: bytes, expected: int) -> tuple[bytes, dict[int, bytes], int]:
    """Transaction id, the attributes before MESSAGE-INTEGRITY, and its offset or 0; of equal attributes the last."""
    if len(datagram) < HEADER_LENGTH:
        raise StunError(f"{len(datagram)} bytes are no STUN message")
    kind, length, cookie, transaction_id = _HEADER.unpack_from(datagram)
    if kind != expected or cookie != MAGIC_COOKIE or length + HEADER_LENGTH != len(datagram):
        raise StunError(f"not a STUN message of type 0x{expected:04x}")
    attributes: dict[int, bytes] = {}
    position, end = HEADER_LENGTH, len(datagram)
    while position + 4 <= end:
        attribute, size = _ATTRIBUTE.unpack_from(datagram, position)
        value = position + 4
        if value + size > end:
            raise StunError(f"attribute 0x{attribute:04x} is longer than the message")
        if attribute == MESSAGE_INTEGRITY and size == INTEGRITY_LENGTH:
            return transaction_id, attributes, position
        attributes[attribute] = datagram[value : value + size]
        position = value + size + (-size & 3)
    return transaction_id, attributes, 0


def _masked(packed: bytes, transaction_id: bytes) -> bytes:
    """An address exclusive-ored with cookie and transaction id, which is its own inverse (RFC 8489 section 14.2)."""
    mask = struct.pack("!I", MAGIC_COOKIE) + transaction_id
    return bytes(a ^ b for a, b in zip(packed, mask, strict=False))


def _unpack_mapped(value: bytes, transaction_id: bytes) -> Address:
    if len(value) < 4 or len(value) != 4 + _FAMILY_OCTETS.get(value[1], -1):
        raise StunError(f"XOR-MAPPED-ADDRESS of {len(value)} bytes is no address")
    host = ipaddress.ip_address(_masked(value[4:], transaction_id))
    return Address(str(host), (value[2] << 8 | value[3]) ^ MAGIC_COOKIE >> 16)


def _pack_message(
    kind: int, transaction_id: bytes, body: bytes, password: bytes | None, fingerprint: bool = True
) -> bytes:
    """Header, body, MESSAGE-INTEGRITY, FINGERPRINT; each check covers a header that counts it already (section 14)."""
    if password is not None:
        covered = _HEADER.pack(kind, len(body) + 24, MAGIC_COOKIE, transaction_id) + body
        body += _ATTRIBUTE.pack(MESSAGE_INTEGRITY, INTEGRITY_LENGTH) + hmac.digest(password, covered, "sha1")
    if not fingerprint:
        return _HEADER.pack(kind, len(body), MAGIC_COOKIE, transaction_id) + body
    message = _HEADER.pack(kind, len(body) + 8, MAGIC_COOKIE, transaction_id) + body
    return message + _ATTRIBUTE.pack(FINGERPRINT, 4) + struct.pack("!I", binascii.crc32(message) ^ FINGERPRINT_XOR)
