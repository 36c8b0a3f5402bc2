"""The answer to an offer: a template of our own. It names no address: signaling adds those of the relays.

What browsers accept was measured line by line.
"""

from __future__ import annotations

from typing import NamedTuple

from antiphon.rtc.sdp.audio import AUDIO_LEVEL
from antiphon.rtc.sdp.offer import DEFAULT_MAX_MESSAGE, Offer, Section


class Answer(NamedTuple):
    """Our own parts of an answer."""

    ufrag: str
    password: str
    fingerprint: str
    """SHA-256 of our certificate, upper case with colons."""
    ssrc: int
    origin: int
    version: int = 1
    max_message: int = DEFAULT_MAX_MESSAGE
    """Octets of a data channel's message that we take."""


def write_answer(offer: Offer, ours: Answer) -> str:
    """The answer without any address: `c=IN IP4 0.0.0.0`, port 9, no candidates."""
    lines = ["v=0", f"o=- {ours.origin} {ours.version} IN IP4 0.0.0.0", "s=-", "t=0 0", "a=ice-lite"]
    if offer.group:
        lines.append(f"a=group:BUNDLE {' '.join(offer.group)}")
    lines.append("a=msid-semantic: WMS *")
    for section in offer.sections:
        lines += _section(section, offer, ours)
    return "\r\n".join(lines) + "\r\n"


def _section(section: Section, offer: Offer, ours: Answer) -> list[str]:
    port = 9 if section.accepted else 0
    head = ["c=IN IP4 0.0.0.0", *([f"a=mid:{section.mid}"] if section.mid else [])]
    transport = [
        f"a=ice-ufrag:{ours.ufrag}",
        f"a=ice-pwd:{ours.password}",
        f"a=fingerprint:sha-256 {ours.fingerprint}",
        f"a=setup:{'active' if offer.client else 'passive'}",
    ]
    start = f"m={section.kind} {port} {section.protocol}"
    match section.use:
        case "declined":
            return [f"{start} {section.formats}", *head]
        case "idle":
            codec = [f"a={line}" for line in section.codec_lines]
            return [f"{start} {section.formats}", *head, *transport, "a=inactive", "a=rtcp-mux", *codec]
        case "data":
            limit = f"a=max-message-size:{ours.max_message}"
            if section.formats.isdecimal():  # the form before RFC 8841
                return [f"{start} 5000", *head, *transport, "a=sctpmap:5000 webrtc-datachannel 65535", limit]
            return [f"{start} webrtc-datachannel", *head, *transport, "a=sctp-port:5000", limit]
        case "call" | "playback":
            formats, codec = _codec_lines(offer, section)
            found = [f"{start} {formats}", *head, *transport, f"a={section.direction}", "a=rtcp-mux", *codec]
            in_another = any(each.use == "playback" for each in offer.sections) and section.use == "call"
            voice = [] if in_another else ["a=msid:antiphon voice", f"a=ssrc:{ours.ssrc} cname:antiphon"]
            return [*found, "a=ptime:20", *voice]


def _codec_lines(offer: Offer, section: Section) -> tuple[str, list[str]]:
    """The payload types of the m-line, and what describes them."""
    number = offer.codec.payload_type
    formats, lines = [number], [f"a=rtpmap:{offer.codec.rtpmap}"]
    if offer.codec.name == "opus":
        lines.append(f"a=fmtp:{number} minptime=10;useinbandfec=1")
    if section.protocol.upper().endswith("F"):
        lines.append(f"a=rtcp-fb:{number} nack")
    if section.use == "call":
        if offer.telephone is not None:
            keys, rate = offer.telephone
            formats.append(keys)
            lines += [f"a=rtpmap:{keys} telephone-event/{rate}", f"a=fmtp:{keys} 0-15"]
        if offer.audio_level_id is not None:
            lines.append(f"a=extmap:{offer.audio_level_id}{offer.audio_level_suffix} {AUDIO_LEVEL}")
    return " ".join(map(str, formats)), lines
