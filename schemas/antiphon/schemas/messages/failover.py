"""Requests from one transceiver to another: continue sessions of a third or of the asking one."""

from __future__ import annotations

from pydantic import Field

from antiphon.schemas.messages.message import Message


class TakeOver(Message):
    """A transceiver that stops asks another one to continue its sessions, whose checkpoints are all stored.

    Sent on `transceiver_take_over`, answered by `ControlReply`.
    """

    cluster: int = Field(ge=0, lt=1 << 12)
    """12 bit."""
    slot: int = Field(ge=0, lt=1 << 16)
    """16 bit: the transceiver slot in the cluster."""
    epoch: int = Field(ge=0, lt=1 << 16)
    """16 bit, counts the processes that have held the slot and wraps."""
    holder: str = Field(max_length=64)
    """The asking process, as in its announcement."""


class Adopt(Message):
    """A transceiver that has taken over another one's slot asks a third one to continue some of the sessions.

    Sent on `transceiver_adopt`, answered by `ControlReply`. The transceiver that continues them moves their checkpoints
    below its own `checkpoint_prefix`, and writes at the old place where they are.
    """

    cluster: int = Field(ge=0, lt=1 << 12)
    """12 bit."""
    slot: int = Field(ge=0, lt=1 << 16)
    """16 bit: the transceiver slot in the cluster."""
    epoch: int = Field(ge=0, lt=1 << 16)
    """16 bit, counts the processes that have held the slot and wraps."""
    sessions: list[str] = Field(min_length=1, max_length=10_000)
    """Session ids."""
