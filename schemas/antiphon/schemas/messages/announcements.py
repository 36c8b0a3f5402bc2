"""Who is there: what transceivers and relays announce of themselves, and the slots that transceivers hold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from antiphon.schemas.addresses import parse_address
from antiphon.schemas.messages.message import Message


def _addresses(value: list[str]) -> list[str]:
    return [str(parse_address(text)) for text in value]


class TransceiverAnnouncement(Message):
    """A transceiver says where it is and how it fares; each second and on change."""

    cluster: int = Field(ge=0, lt=1 << 12)
    slot: int = Field(ge=0, lt=1 << 16)
    epoch: int = Field(ge=0, lt=1 << 16)
    tunnel_address: str
    """Where relays send tunnel packets, and where its tunnel packets come from: `ip:port`."""
    state: Literal["ready", "draining"]
    sessions: int = Field(ge=0)
    capacity: int = Field(ge=0)
    lateness_ms: float = Field(ge=0, default=0.0)
    """p99 of due time against done time over the last seconds."""
    holder: str = Field(default="", max_length=64)
    """Random identity of the process: it may speak for several slots, its own and those it has taken over."""
    lifeline: str | None = None
    """TCP `ip:port` where it says its `holder` and holds the line: a line that breaks tells of its death at once."""

    @field_validator("tunnel_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(parse_address(value))


class RelayAnnouncement(Message):
    """A relay says under which addresses clients reach it and where its tunnel packets come from."""

    name: str
    region: str = "local"
    public_addresses: list[str] = Field(min_length=1, max_length=16)
    """UDP addresses for the candidates of an answer, `ip:port`."""
    tunnel_addresses: list[str] = Field(min_length=1, max_length=256)
    """Source addresses of its tunnel sockets, one per worker: transceivers accept no others."""
    tcp_addresses: list[str] = Field(default_factory=list, max_length=16)
    """ICE-TCP addresses for candidates of type passive (RFC 6544), `ip:port`; empty: none offered."""
    state: Literal["ready", "draining"] = "ready"

    _are_addresses = field_validator("public_addresses", "tunnel_addresses", "tcp_addresses")(_addresses)
