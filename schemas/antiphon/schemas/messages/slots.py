"""The claims of a transceiver slot and of a number in the hub."""

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


class NumberClaim(Message):
    """Who has a number that no other may have in any region: kept in `BUCKET_NUMBERS` of the hub, renewed each minute.

    Processes of one name share it, and a restarted one has it again. It runs out a day after it was renewed last.
    """

    holder: str = Field(min_length=1, max_length=64)
    """Name of the relay."""
    process: str = Field(max_length=64)
    """Random identity of the process that wrote this."""
    renewed_at: float = Field(ge=0)
    """Unix time, s."""
