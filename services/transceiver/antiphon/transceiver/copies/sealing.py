"""How the state in a copy is sealed: for its place and its number, under the password key of the call's cluster."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag

from antiphon.schemas import subjects
from antiphon.schemas.messages import StoreCopy
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto


def _place(copy: StoreCopy) -> str:
    """A state that was moved to another copy, or under another number, can't be opened."""
    key = subjects.copy_key(copy.cluster, copy.slot, copy.epoch, copy.session_id)
    return f"copy {key} {copy.generation} {copy.number}"


def sealed(crypto: CheckpointCrypto, copy: StoreCopy, state: bytes) -> StoreCopy:
    """The copy with this state in it."""
    data = crypto.seal(_place(copy), state)
    return copy.model_copy(update={"state": base64.b64encode(data).decode()})


def opened(crypto: CheckpointCrypto, copy: StoreCopy) -> bytes:
    """The state; ValueError if it was not sealed for this copy with this cluster's password key."""
    try:
        return crypto.open(_place(copy), base64.b64decode(copy.state, validate=True))
    except (binascii.Error, InvalidTag):
        raise ValueError("it was not written with the password key of its cluster") from None
