"""The values in the bucket of sessions: checkpoints, claims of endpoints, and where a session has moved.

All are sealed for their key, so that what other clients of NATS get into the bucket counts as nothing. Of a checkpoint
or claim only the process that wrote it can be read without the password key.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from antiphon.schemas import subjects
from antiphon.transceiver.net.endpoint import Moved, TransceiverIdentity

PROCESS_ID_CHARACTERS: Final = 16
_NONCE: Final = 12
_MOVED: Final = b"moved "
"""Begins the entry at the place that a session has left. A checkpoint begins with a process id, in hex digits."""
_HEADER: Final = "~"
"""Begins a client's header among the names in such an entry: no ufrag has this character (RFC 8839 section 5.4)."""


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

    def writer_of(self, key: str, sealed: bytes) -> str | None:
        """The process that sealed it for that key; None: none did, it is none of ours."""
        try:
            self.open(key, sealed)
        except (ValueError, InvalidTag):
            return None
        return sealed[:PROCESS_ID_CHARACTERS].decode(errors="replace")

    def is_ours(self, writer: str) -> bool:
        """Whether it is this process."""
        return writer.encode() == self._process_id

    def seal_moved(self, moved: Moved) -> bytes:
        """The entry at the place that a session has left."""
        nonce = os.urandom(_NONCE)
        headers = (_HEADER + header.hex() for header in moved.headers)
        text = " ".join((subjects.checkpoint_prefix(*moved.to), *moved.ufrags, *headers)).encode()
        return _MOVED + nonce + self._cipher.encrypt(nonce, text, _MOVED + moved.key.encode())

    def open_moved(self, key: str, value: bytes) -> Moved | None:
        """None if it is something else; ValueError or InvalidTag if no transceiver of ours wrote it."""
        if not value.startswith(_MOVED):
            return None
        sealed = value.removeprefix(_MOVED)
        if len(sealed) < _NONCE:
            raise ValueError(f"it has {len(value)} bytes only")
        text = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _MOVED + key.encode())
        to, *names = text.decode().split()
        ufrags = tuple(name for name in names if not name.startswith(_HEADER))
        headers = tuple(bytes.fromhex(name.removeprefix(_HEADER)) for name in names if name.startswith(_HEADER))
        return Moved(key, identity_of(f"{to}."), ufrags, headers)


def identity_of(key: str) -> TransceiverIdentity:
    """The endpoint that a key of the bucket belongs to; ValueError if it is no key of ours."""
    cluster, slot, epoch, _ = key.split(".")
    return TransceiverIdentity(int(cluster), int(slot), int(epoch))
