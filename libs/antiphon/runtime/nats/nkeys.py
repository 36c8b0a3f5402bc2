"""Keys of NATS users ("nkeys"): made, read and used to sign. Ed25519, written as NATS' own tools write them.

A seed is base32 of two prefix bytes, 32 bytes of key and a CRC-16; it begins with `SU`. A public key is base32 of one
prefix byte, 32 bytes of key and a CRC-16; it begins with `U`. Source: github.com/nats-io/nkeys, README.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED: Final = 18 << 3
_USER: Final = 20 << 3
_SEED_PREFIX: Final = bytes([_SEED | _USER >> 5, (_USER & 31) << 3])
_KEY_BYTES: Final = 32


class NkeyError(ValueError):
    """The text is no seed of a user; the text of the error never holds it."""


def new_seed() -> str:
    """The seed of a new user."""
    return _encode(_SEED_PREFIX + secrets.token_bytes(_KEY_BYTES))


def public_key(seed: str) -> str:
    """The user's public key, as the server's configuration names the user. `NkeyError` for what is no seed."""
    return _encode(bytes([_USER]) + _private(seed).public_key().public_bytes_raw())


def signature(seed: str, nonce: str) -> bytes:
    """The answer to a server's nonce, in base64. `NkeyError` for what is no seed."""
    return base64.b64encode(_private(seed).sign(nonce.encode()))


def _private(seed: str) -> Ed25519PrivateKey:
    raw = _decode(seed)
    if len(raw) != len(_SEED_PREFIX) + _KEY_BYTES or not raw.startswith(_SEED_PREFIX):
        raise NkeyError("is no seed of a NATS user: expected SU and 56 more letters and digits")
    return Ed25519PrivateKey.from_private_bytes(raw[len(_SEED_PREFIX) :])


def _encode(raw: bytes) -> str:
    checked = raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """The bytes before the checksum; `NkeyError` if it does not match."""
    try:
        checked = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raise NkeyError("is no NATS key: expected letters and digits of base32") from None
    raw = checked[:-2]
    if len(checked) < 3 or binascii.crc_hqx(raw, 0).to_bytes(2, "little") != checked[-2:]:
        raise NkeyError("is no NATS key: its checksum does not match, so it is not whole or was changed")
    return raw
