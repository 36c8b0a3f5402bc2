"""What stands in the bucket of sessions: checkpoints, sealed, and word of where a session has moved."""

from __future__ import annotations

import os
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from antiphon.schemas import subjects
from antiphon.transceiver.net.endpoint import Identity, Moved

HOLDER_BYTES: Final = 16
_NONCE: Final = 12
_MOVED: Final = b"moved "
"""Begins what is left where a session was: a checkpoint begins with a holder's name, in hex digits."""


class CheckpointCrypto:
    """Checkpoints hold media keys: AES-256-GCM under a key derived from the password key, bound to its place."""

    def __init__(self, password_key: bytes, holder: str) -> None:
        if len(holder) != HOLDER_BYTES:
            raise ValueError(f"a holder's name has {HOLDER_BYTES} characters, not {len(holder)}")
        self._holder = holder.encode()
        self._cipher = AESGCM(
            HKDF(hashes.SHA256(), 32, salt=None, info=b"antiphon session checkpoints").derive(password_key)
        )

    def seal(self, key: str, data: bytes) -> bytes:
        """The value for that key of the bucket; whose it is stands in clear at its beginning."""
        nonce = os.urandom(_NONCE)
        return self._holder + nonce + self._cipher.encrypt(nonce, data, self._holder + key.encode())

    def open(self, key: str, sealed: bytes) -> bytes:
        """What was sealed, by whomever; ValueError or InvalidTag if it was not sealed for that key with ours."""
        head, nonce = sealed[:HOLDER_BYTES], sealed[HOLDER_BYTES : HOLDER_BYTES + _NONCE]
        if len(nonce) < _NONCE:
            raise ValueError(f"it has {len(sealed)} bytes only")
        return self._cipher.decrypt(nonce, sealed[HOLDER_BYTES + _NONCE :], head + key.encode())

    def is_ours(self, sealed: bytes) -> bool:
        """Whether we wrote it."""
        return sealed[:HOLDER_BYTES] == self._holder


def identity_of(key: str) -> Identity:
    """The seat that a key of the bucket belongs to."""
    cluster, slot, epoch, _ = key.split(".")
    return int(cluster), int(slot), int(epoch)


def write_moved(moved: Moved) -> bytes:
    return _MOVED + " ".join((subjects.seat_prefix(*moved.to), *moved.ufrags)).encode()


def read_moved(key: str, value: bytes) -> Moved | None:
    """None if it is something else; ValueError if it can't be read."""
    if not value.startswith(_MOVED):
        return None
    to, *ufrags = value.removeprefix(_MOVED).decode().split()
    return Moved(key, identity_of(f"{to}."), tuple(ufrags))
