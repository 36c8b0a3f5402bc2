"""What an association tells its owner, besides messages."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.rtc.sctp.inbound import Message


class Established:
    """Messages pass now, both ways."""


class Restarted:
    """The peer began anew (RFC 9260 section 5.2.4.1): its streams, and what was on its way, are gone."""


class AcknowledgementDue:
    """With `holds_acknowledgements`: something arrived that `acknowledgement` covers."""


@dataclass(slots=True)
class StreamsReset:
    """The peer closed its side of these streams."""

    streams: list[int]


@dataclass(slots=True)
class StreamsClosed:
    """Our side of these streams is closed: the peer has confirmed it."""

    streams: list[int]


@dataclass(slots=True)
class Closed:
    """The association is over; nothing follows."""

    reason: str
    by_peer: bool


Event = Established | Restarted | AcknowledgementDue | StreamsReset | StreamsClosed | Closed | Message
