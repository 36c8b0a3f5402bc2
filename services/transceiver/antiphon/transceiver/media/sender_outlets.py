"""Where the output of an `AudioSender` goes, beside the packets that it sends itself."""

from __future__ import annotations

from typing import Protocol

from antiphon.rtc.media.codecs import Encoder
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.schemas import messages
from antiphon.transceiver.session.state import RtpState


class EventOutput(Protocol):
    """The session's output."""

    def event(self, event: messages.Message) -> None: ...
    def milestone(self, name: str, now: float) -> None: ...


class OutboundLane(Protocol):
    """The short way of a packet: `lanes.outbound_lane`."""

    def send(self, srtp: Srtp, encoder: Encoder, pcm: bytes, rtp: RtpState, marker: bool) -> tuple[int, bytes] | None:
        """Encode, protect and send 20 ms: octets of the payload, and the protected packet; None: nothing was done."""
