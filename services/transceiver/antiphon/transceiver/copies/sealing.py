"""How what is in a copy is sealed: for its place and its number, under the password key of the call's cluster.

The second region opens each copy before it stores it. So only a process with that key can replace or drop one, and keys
that do not fit are found with the first copy, not when a cluster is lost.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple

import msgpack
from cryptography.exceptions import InvalidTag

from antiphon.schemas import subjects
from antiphon.schemas.messages import StoreCopy
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto

NOTHING: Final = b""
"""In a request to drop a copy."""


class Content(NamedTuple):
    """What is in a copy. A value."""

    state: bytes
    """The session, as `SessionState` writes it."""
    agent_lease: str
    """The lease of its agent, in JSON; empty: it has none."""

    def to_bytes(self) -> bytes:
        """As it is sealed."""
        packed: bytes = msgpack.packb([self.state, self.agent_lease], use_bin_type=True)
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Content:
        """ValueError for what `to_bytes` did not write."""
        state, lease = msgpack.unpackb(data, raw=False)
        if not isinstance(state, bytes) or not isinstance(lease, str):
            raise ValueError("another version wrote it")
        return cls(state, lease)


def _place(copy: StoreCopy) -> str:
    """What was sealed for another copy, or under another number, can't be opened."""
    key = subjects.copy_key(copy.cluster, copy.slot, copy.epoch, copy.session_id)
    return f"copy {key} {copy.generation} {copy.number} {copy.ended:d}"


def sealed(crypto: CheckpointCrypto, copy: StoreCopy, content: bytes) -> StoreCopy:
    """The copy with this in it."""
    data = crypto.seal(_place(copy), content)
    return copy.model_copy(update={"sealed": base64.b64encode(data).decode()})


def opened(crypto: CheckpointCrypto, copy: StoreCopy) -> bytes:
    """What is in it; ValueError if it was not sealed for this copy with this cluster's password key."""
    try:
        return crypto.open(_place(copy), base64.b64decode(copy.sealed, validate=True))
    except (binascii.Error, InvalidTag):
        raise ValueError(
            f"copy of {copy.session_id}: it is not sealed with the password key of cluster {copy.cluster}"
        ) from None
