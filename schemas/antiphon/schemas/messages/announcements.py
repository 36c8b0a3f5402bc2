"""The announcements of transceivers and relays, published each second and kept in buckets."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator

from antiphon.schemas.addresses import parse_address
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages.message import Message

_DEGREES = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{0,20})?")


def _addresses(value: list[str]) -> list[str]:
    return [str(parse_address(text)) for text in value]


class Place(Message):
    """Where on earth something stands, in degrees (WGS 84)."""

    latitude: float = Field(ge=-90, le=90)
    """North is positive."""
    longitude: float = Field(ge=-180, le=180)
    """East is positive."""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """`<latitude>,<longitude>` in degrees; `MalformedError` otherwise."""
        parts = [part.strip() for part in text.split(",")]
        try:
            if len(parts) != 2 or not all(map(_DEGREES.fullmatch, parts)):
                raise ValueError
            return cls(latitude=float(parts[0]), longitude=float(parts[1]))
        except ValueError:
            raise MalformedError(
                f"{text!r:.80} is no place: <latitude>,<longitude> in degrees, such as 50.11,8.68"
            ) from None


class TransceiverAnnouncement(Message):
    """Where a transceiver is reached and how loaded it is: on `transceiver_announce`, each second and on change."""

    cluster: int = Field(ge=0, lt=1 << 12)
    """12 bit."""
    slot: int = Field(ge=0, lt=1 << 16)
    """16 bit: the transceiver slot in the cluster."""
    epoch: int = Field(ge=0, lt=1 << 16)
    """16 bit, counts the processes that have held the slot and wraps."""
    tunnel_address: str
    """Where relays send tunnel packets, and where its tunnel packets come from: `ip:port`."""
    state: Literal["ready", "draining"]
    """`draining`: it takes no new session and ends when its last one has ended."""
    sessions: int = Field(ge=0)
    """Sessions that run now."""
    capacity: int = Field(ge=0)
    """Sessions at once; it refuses further ones."""
    lateness_ms: float = Field(ge=0, default=0.0)
    """How late its timers ran in the last seconds: 99th percentile, ms."""
    connect_ms: float = Field(ge=0, default=0.0)
    """How long the client of one more call would wait for its connection, from how fast others get theirs."""
    holder: str = Field(default="", max_length=64)
    """Random name of the process. One process announces several slots: its own and those that it has taken over."""
    lifeline: str | None = None
    """TCP `ip:port` of its failure detector: it sends its `holder` to each peer that connects and keeps the connection
    open. The kernel closes the connection when the process dies."""
    lifeline_beats: bool = False
    """A peer that sends an octet over that connection gets one four times a second from then on: no kernel closes the
    connection of a machine without power."""
    node: str = Field(default="", max_length=253)
    """The machine that it runs on; processes of one machine may die together. Empty: unknown."""
    region: str = Field(default="", max_length=64)
    """The region that its cluster stands in; empty: there is one region only."""
    place: Place | None = None
    """Where its region is."""

    @field_validator("tunnel_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(parse_address(value))


class RelayAnnouncement(Message):
    """Under which addresses clients reach a relay, and where its tunnel packets come from: on `relay_announce`."""

    name: str
    """Unique among the relays."""
    region: str = "local"
    """Signaling offers the relays of its own region first."""
    public_addresses: list[str] = Field(min_length=1, max_length=16)
    """UDP addresses for the candidates of an answer, `ip:port`."""
    tunnel_addresses: list[str] = Field(min_length=1, max_length=256)
    """Source addresses of its tunnel sockets, one per worker: transceivers accept no others."""
    tcp_addresses: list[str] = Field(default_factory=list, max_length=16)
    """ICE-TCP addresses for candidates of type passive (RFC 6544), `ip:port`; empty: none offered."""
    state: Literal["ready", "draining"] = "ready"
    """`draining`: answers no longer offer it; its flows stay."""
    place: Place | None = None
    """Where it stands."""
    cluster: int | None = Field(default=None, ge=0, lt=1 << 12)
    """The cluster whose transceivers it serves; None: those of every announced one, where there is one region only."""
    ingress: int = Field(default=0, ge=0, lt=1 << 16)
    """Its number in backbone headers, from 1; 0: it sends nothing to other clusters."""
    backbone_addresses: list[str] = Field(default_factory=list, max_length=256)
    """One per worker, in their order: where packets of other relays go to, and where its own come from. Relays accept
    backbone packets from no others. Empty: it has no backbone."""
    taking_over: bool = False
    """Another process of this relay still has the public port: what is for clients goes there, and not here yet."""
    round_trips: dict[str, float] = Field(default_factory=dict, max_length=256)
    """Cluster number -> milliseconds to the nearest of its relays, measured by hellos; no entry: none answers."""

    _are_addresses = field_validator("public_addresses", "tunnel_addresses", "tcp_addresses", "backbone_addresses")(
        _addresses
    )
