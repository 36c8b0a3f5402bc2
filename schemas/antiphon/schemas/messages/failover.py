"""Requests between transceivers: go on with my sessions."""

from __future__ import annotations

from pydantic import Field

from antiphon.schemas.messages.message import Message


class TakeOver(Message):
    """A transceiver that ends asks another one to go on with its sessions, all of them written down."""

    cluster: int = Field(ge=0, lt=1 << 12)
    slot: int = Field(ge=0, lt=1 << 16)
    epoch: int = Field(ge=0, lt=1 << 16)
    holder: str = Field(max_length=64)
    """Who asks."""


class Adopt(Message):
    """A transceiver that has taken over another's seat asks a third one to go on with some of its sessions.

    Who does moves their checkpoints to its own seat, and leaves word where they were.
    """

    cluster: int = Field(ge=0, lt=1 << 12)
    slot: int = Field(ge=0, lt=1 << 16)
    epoch: int = Field(ge=0, lt=1 << 16)
    sessions: list[str] = Field(min_length=1, max_length=10_000)
