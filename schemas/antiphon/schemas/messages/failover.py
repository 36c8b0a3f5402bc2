"""Between transceivers: requests to continue sessions, and the news that another cluster has done so."""

from __future__ import annotations

from pydantic import Field

from antiphon.schemas.messages.message import Message
from antiphon.schemas.slot_moves import SlotMove


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


class SlotMoved(Message):
    """Another cluster goes on with the sessions of a slot whose cluster is lost: on `cluster_moved`, each second.

    Published by the transceiver that goes on with them, for as long as it does. Relays verify the signature.
    """

    cluster: int = Field(ge=0, lt=1 << 12)
    """Of the lost transceiver, 12 bit."""
    slot: int = Field(ge=0, lt=1 << 16)
    """16 bit, likewise."""
    epoch: int = Field(ge=0, lt=1 << 16)
    """16 bit, likewise."""
    to_cluster: int = Field(ge=0, lt=1 << 12)
    """Of the transceiver that goes on, 12 bit."""
    to_slot: int = Field(ge=0, lt=1 << 16)
    """16 bit, likewise."""
    to_epoch: int = Field(ge=0, lt=1 << 16)
    """16 bit, likewise."""
    made_at: int = Field(ge=0, lt=1 << 63)
    """Milliseconds of Unix time. Of two moves of one slot the later one counts."""
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")
    """Of the lost cluster's announcement key, see `antiphon.schemas.slot_moves`."""

    @property
    def move(self) -> SlotMove:
        """What the signature is of."""
        new = self.to_cluster, self.to_slot, self.to_epoch
        return SlotMove((self.cluster, self.slot, self.epoch), new, self.made_at)
