"""Who holds a transceiver slot."""

from __future__ import annotations

from pydantic import Field

from antiphon.schemas.messages.message import Message


class SlotClaim(Message):
    """Who holds a transceiver slot, kept in `BUCKET_SLOTS` so that an epoch is never used twice."""

    epoch: int = Field(ge=0, lt=1 << 16)
    holder: str
    """Random identity of the process that took the slot."""
    claimed_at: float
    """Unix time, s."""
