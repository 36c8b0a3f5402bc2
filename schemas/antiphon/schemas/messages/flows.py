"""A relay asks which transceiver owns a client, and the owner answers."""

from __future__ import annotations

from antiphon.schemas.messages.message import Message


class FlowFind(Message):
    """A relay asks which transceiver owns a client: on `FLOW_FIND`."""

    client: str
    """`ip:port`."""
    tcp: bool = False
    """The client is on ICE-TCP."""


class FlowOwner(Message):
    """The owner's answer; other transceivers do not answer."""

    cluster: int
    """12 bit."""
    slot: int
    """16 bit: the slot whose `TransceiverAnnouncement` has the tunnel address."""
    epoch: int
    """16 bit."""
