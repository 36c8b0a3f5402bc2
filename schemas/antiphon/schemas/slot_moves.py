"""The signed announcement that another cluster goes on with the sessions of a transceiver slot.

Ingress relays of all regions believe it only with the signature of the old cluster, whose announcement key (Ed25519,
RFC 8032) the transceivers of the second region hold too. What is signed:

    "antiphon-move-1" | cluster (2) | slot (2) | epoch (2) | to cluster (2) | to slot (2) | to epoch (2) | made at (8)

numbers big-endian, `made at` in milliseconds of Unix time.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from antiphon.schemas.errors import MalformedError

_PACKED = struct.Struct(">15sHHHHHHQ")
_LABEL: Final = b"antiphon-move-1"

Identity = tuple[int, int, int]
"""(cluster, slot, epoch) of a transceiver, as a token names it."""


class SlotMove(NamedTuple):
    """The sessions of `old` go on at `new` since `made_at` (ms of Unix time). A value."""

    old: Identity
    """Of the lost cluster."""
    new: Identity
    """The transceiver that goes on with its sessions."""
    made_at: int
    """Milliseconds of Unix time."""

    def signed_bytes(self) -> bytes:
        """What the signature is made of."""
        return _PACKED.pack(_LABEL, *self.old, *self.new, self.made_at)


class AnnouncementKey:
    """A cluster's private announcement key. Made by transceivers of its second region from a file, never changed."""

    def __init__(self, seed: bytes) -> None:
        """`seed`: 32 bytes."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @classmethod
    def from_text(cls, text: str) -> AnnouncementKey:
        """64 hex digits; ValueError never shows them."""
        if not re.fullmatch(r"[0-9A-Fa-f]{64}", text.strip()):
            raise ValueError("an announcement key is written as 64 hex digits: make one with `antiphon keys --copy-of`")
        return cls(bytes.fromhex(text.strip()))

    @property
    def public(self) -> str:
        """The public key as 64 hex digits."""
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, move: SlotMove) -> str:
        """The signature as 128 hex digits."""
        return self._key.sign(move.signed_bytes()).hex()


class ClusterKeys:
    """The public announcement keys of clusters. Made by a relay from its settings, never changed."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        """Cluster number -> 32 bytes."""
        self._keys = {cluster: Ed25519PublicKey.from_public_bytes(key) for cluster, key in keys.items()}

    @classmethod
    def from_text(cls, text: str) -> ClusterKeys:
        """`1:<64 hex digits>,2:<64 hex digits>`; empty: no announcement of a move is believed. ValueError otherwise."""
        keys: dict[int, bytes] = {}
        for part in filter(None, (each.strip() for each in re.split(r"[,\s]", text))):
            found = re.fullmatch(r"([0-9]{1,4}):([0-9A-Fa-f]{64})", part)
            if found is None or int(found[1]) >= 1 << 12 or int(found[1]) in keys:
                raise ValueError(f"{part!r:.90} is no cluster's public key: 1:<64 hex digits>, each cluster once")
            keys[int(found[1])] = bytes.fromhex(found[2])
        return cls(keys)

    def verify(self, move: SlotMove, signature: str) -> None:
        """`MalformedError` unless the old cluster's key has signed it."""
        key = self._keys.get(move.old[0])
        if key is None:
            raise MalformedError(f"a move of cluster {move.old[0]}, whose public announcement key is not set here")
        try:
            key.verify(bytes.fromhex(signature), move.signed_bytes())
        except (InvalidSignature, ValueError, struct.error):
            raise MalformedError(f"a move of cluster {move.old[0]} without that cluster's signature") from None
