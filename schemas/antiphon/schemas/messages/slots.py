"""The claim of a transceiver slot."""

from __future__ import annotations

from pydantic import Field

from antiphon.schemas.messages.message import Message


class SlotClaim(Message):
    """The last process that took a slot, kept in `BUCKET_SLOTS` so that an epoch is never used twice."""

    epoch: int = Field(ge=0, lt=1 << 16)
    """16 bit: one more than that of the claim before, modulo 2^16."""
    holder: str
    """Random identity of the process that took the slot."""
    claimed_at: float
    """Unix time, s."""
