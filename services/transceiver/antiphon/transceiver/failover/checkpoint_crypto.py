"""The values in the bucket of sessions: encrypted checkpoints, and entries that say where a session has moved."""

from __future__ import annotations

import os
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from antiphon.schemas import subjects
from antiphon.transceiver.net.endpoint import Moved, TransceiverIdentity

PROCESS_ID_CHARACTERS: Final = 16
_NONCE: Final = 12
_MOVED: Final = b"moved "
"""Begins the entry at the place that a session has left. A checkpoint begins with a process id, in hex digits."""


class CheckpointCrypto:
    """Checkpoints hold media keys: AES-256-GCM under a key derived from the password key, bound to its place.

    Owner: `CheckpointBucket`. Any task or thread may call: it has no state but its key.
    """

    def __init__(self, password_key: bytes, process_id: str) -> None:
        if len(process_id) != PROCESS_ID_CHARACTERS:
            raise ValueError(f"a process id has {PROCESS_ID_CHARACTERS} characters, not {len(process_id)}")
        self._process_id = process_id.encode()
        self._cipher = AESGCM(
            HKDF(hashes.SHA256(), 32, salt=None, info=b"antiphon session checkpoints").derive(password_key)
        )

    def seal(self, key: str, data: bytes) -> bytes:
        """The value for that key of the bucket; the process that wrote it is named in clear at its beginning."""
        nonce = os.urandom(_NONCE)
        return self._process_id + nonce + self._cipher.encrypt(nonce, data, self._process_id + key.encode())

    def open(self, key: str, sealed: bytes) -> bytes:
        """What any process sealed for that key; ValueError or InvalidTag if it was sealed for another, or with another
        password key."""
        head = sealed[:PROCESS_ID_CHARACTERS]
        nonce = sealed[PROCESS_ID_CHARACTERS : PROCESS_ID_CHARACTERS + _NONCE]
        if len(nonce) < _NONCE:
            raise ValueError(f"it has {len(sealed)} bytes only")
        return self._cipher.decrypt(nonce, sealed[PROCESS_ID_CHARACTERS + _NONCE :], head + key.encode())

    def is_ours(self, sealed: bytes) -> bool:
        """Whether this process wrote it."""
        return sealed[:PROCESS_ID_CHARACTERS] == self._process_id


def identity_of(key: str) -> TransceiverIdentity:
    """The endpoint that a key of the bucket belongs to."""
    cluster, slot, epoch, _ = key.split(".")
    return TransceiverIdentity(int(cluster), int(slot), int(epoch))


def write_moved(moved: Moved) -> bytes:
    """The entry at the place that a session has left."""
    return _MOVED + " ".join((subjects.checkpoint_prefix(*moved.to), *moved.ufrags)).encode()


def read_moved(key: str, value: bytes) -> Moved | None:
    """None if it is something else; ValueError if it can't be read."""
    if not value.startswith(_MOVED):
        return None
    to, *ufrags = value.removeprefix(_MOVED).decode().split()
    return Moved(key, identity_of(f"{to}."), tuple(ufrags))
