"""A relay asks whose client this is, and the owner answers."""

from __future__ import annotations

from antiphon.schemas.messages.message import Message


class FlowFind(Message):
    """A relay asks whose client this is."""

    client: str
    """`ip:port`."""
    tcp: bool = False


class FlowOwner(Message):
    """The owner's answer (silence from everybody else)."""

    cluster: int
    slot: int
    epoch: int
