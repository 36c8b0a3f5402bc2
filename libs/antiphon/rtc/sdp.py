"""SDP: the parts of an offer that matter here, and the answer to it.

aiortc parses the offer; the answer is a template of our own, because it names no address (signaling adds
the relays) and because what browsers accept was measured line by line.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, TypeGuard

from antiphon.rtc.aiortc_internals import MediaDescription, SessionDescription
from antiphon.rtc.sctp.inbound import MAX_MESSAGE

MAX_SECTIONS: Final = 16
DEFAULT_MAX_MESSAGE: Final = 65_536
"""Octets of a message that a client takes if its offer does not say (RFC 8841 section 6.1)."""

AUDIO_LEVEL: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_DIGEST_LENGTH: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_HEX_OCTET: Final = re.compile(r"[0-9A-Fa-f]{2}")


class OfferError(ValueError):
    """An offer that can't be answered; `code` is that of `Refused`."""

    def __init__(self, code: Literal["bad_offer", "no_audio", "no_opus"], message: str) -> None:
        super().__init__(message)
        self.code: Literal["bad_offer", "no_audio", "no_opus"] = code


class Section(NamedTuple):
    """One m-line of the offer, in its order: the answer needs all of them."""

    kind: str
    protocol: str
    mid: str
    formats: str
    accepted: bool


class Offer(NamedTuple):
    """The parts of an offer that a session is made from."""

    sections: tuple[Section, ...]
    fingerprints: tuple[tuple[str, str], ...]
    client: bool
    """We are to be the DTLS client (the peer offered actpass or passive)."""
    opus_payload_type: int
    direction: str
    """Of the answer's audio."""
    data_port: int | None
    data_max_message: int
    bundled: bool
    telephone: tuple[int, int] | None = None
    """(payload type, clock rate) of RFC 4733 telephone events."""
    audio_level_id: int | None = None
    """Of the header extension of RFC 6464."""
    ufrag: str = ""
    password: str = ""
    """The client's ICE credentials."""


_ANSWER_DIRECTION: Final = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly"}


def read_offer(text: str) -> Offer:
    """Read an offer; OfferError says what is missing and what to send instead."""
    if not text.lstrip().startswith("v=0"):
        raise OfferError("bad_offer", "the offer is no SDP: its first line must be v=0")
    try:
        description = SessionDescription.parse(text)
    except Exception as error:  # the parser raises whatever its line splitting runs into
        raise OfferError("bad_offer", f"the offer is no SDP that can be read: {error!r:.120}") from None
    if not description.media:
        raise OfferError("no_audio", "the offer has no media section: offer one audio track in both directions")
    if len(description.media) > MAX_SECTIONS:
        raise OfferError("bad_offer", f"the offer has {len(description.media)} media sections: at most {MAX_SECTIONS}")
    audio = next((media for media in description.media if media.kind == "audio" and media.port), None)
    if audio is None:
        kinds = ", ".join(sorted({media.kind for media in description.media}))
        raise OfferError("no_audio", f"the offer has no audio section, only {kinds}: add one audio track")
    opus = [
        codec.payloadType
        for codec in audio.rtp.codecs
        if codec.mimeType.lower() == "audio/opus" and codec.clockRate == 48000 and _is_payload_type(codec.payloadType)
    ]
    if not opus:
        codecs = ", ".join(sorted({c.name for c in audio.rtp.codecs})) or "no codec that is known here"
        raise OfferError("no_opus", f"the offer's audio has {codecs}: Opus (opus/48000/2) is needed")
    direction = _ANSWER_DIRECTION.get(audio.direction or "sendrecv")
    if direction is None:
        raise OfferError("no_audio", "the offer's audio is inactive: offer it sendrecv")
    application = next((m for m in description.media if m.kind == "application" and m.sctp_port is not None), None)
    accepted = [media for media in (audio, application) if media is not None]
    if audio.ice is None or not audio.ice.usernameFragment or not audio.ice.password:
        raise OfferError("bad_offer", "the offer has no a=ice-ufrag and a=ice-pwd for its audio")
    if audio.dtls is None or not audio.dtls.fingerprints:
        raise OfferError("bad_offer", "the offer has no a=fingerprint for its audio: DTLS-SRTP is needed")
    if not any(_is_fingerprint(f.algorithm, f.value) for f in audio.dtls.fingerprints):
        raise OfferError("bad_offer", "the offer's a=fingerprint is no SHA-256, SHA-384 or SHA-512 in hex with colons")
    if application is not None and not 0 < (application.sctp_port or 0) < 65536:
        raise OfferError("bad_offer", f"the offer's a=sctp-port is {application.sctp_port}: expected 1 to 65535")
    for media in accepted:
        if not _is_token(media.rtp.muxId) and len(description.media) > 1:
            raise OfferError("bad_offer", "every media section of the offer needs an a=mid of letters and digits")
    bundle = next((group.items for group in description.group if group.semantic == "BUNDLE"), [])
    if len(accepted) > 1 and not all(media.rtp.muxId in bundle for media in accepted):
        raise OfferError("bad_offer", "audio and data channel are not in one BUNDLE group: use bundlePolicy max-bundle")
    return Offer(
        sections=tuple(
            Section(m.kind, m.profile, _mid(m), " ".join(map(str, m.fmt)), any(m is a for a in accepted))
            for m in description.media
        ),
        fingerprints=tuple(
            (f.algorithm.lower(), f.value.upper())
            for f in audio.dtls.fingerprints
            if _is_fingerprint(f.algorithm, f.value)
        ),
        client=audio.dtls.role != "client",
        opus_payload_type=opus[0],
        direction=direction,
        data_port=application.sctp_port if application is not None else None,
        data_max_message=(
            application.sctpCapabilities.maxMessageSize
            if application is not None and application.sctpCapabilities is not None
            else DEFAULT_MAX_MESSAGE
        ),
        bundled=bool(bundle) and bool(_mid(audio)),
        telephone=_telephone(audio),
        audio_level_id=next(
            (one.id for one in audio.rtp.headerExtensions if one.uri == AUDIO_LEVEL and 0 < one.id < 15), None
        ),
        ufrag=audio.ice.usernameFragment,
        password=audio.ice.password,
    )


def _telephone(audio: MediaDescription) -> tuple[int, int] | None:
    """The offer's telephone events, best at the clock rate of its Opus (RFC 4733 section 2.1)."""
    offered = {
        codec.clockRate: codec.payloadType
        for codec in audio.rtp.codecs
        if codec.mimeType.lower() == "audio/telephone-event" and _is_payload_type(codec.payloadType)
    }
    for rate in (48000, 8000):
        if (number := offered.get(rate)) is not None:
            return number, rate
    return None


def _is_payload_type(number: int | None) -> TypeGuard[int]:
    """7 bits, and none that RTCP packet types look like on a shared port (RFC 5761 section 4)."""
    return number is not None and 0 <= number < 128 and not 64 <= number < 96


def _is_fingerprint(algorithm: str, value: str) -> bool:
    """RFC 8122 section 5, of an algorithm that the handshake can check."""
    octets = value.split(":")
    return len(octets) == _DIGEST_LENGTH.get(algorithm.lower()) and all(_HEX_OCTET.fullmatch(o) for o in octets)


def _mid(media: MediaDescription) -> str:
    """Empty where it has none that an answer can repeat: a single section needs none."""
    mid: str | None = media.rtp.muxId
    return mid if mid is not None and _is_token(mid) else ""


def _is_token(text: str | None) -> bool:
    return text is not None and 0 < len(text) <= 64 and all(c.isascii() and (c.isalnum() or c in "-_.") for c in text)


class Answer(NamedTuple):
    """Our own parts of an answer."""

    ufrag: str
    password: str
    fingerprint: str
    """SHA-256 of our certificate, upper case with colons."""
    ssrc: int
    origin: int
    version: int = 1


def write_answer(offer: Offer, ours: Answer) -> str:
    """The answer without any address: `c=IN IP4 0.0.0.0`, port 9, no candidates."""
    transport = (
        f"a=ice-ufrag:{ours.ufrag}\r\na=ice-pwd:{ours.password}\r\n"
        f"a=fingerprint:sha-256 {ours.fingerprint}\r\na=setup:{'active' if offer.client else 'passive'}\r\n"
    )
    lines = [f"v=0\r\no=- {ours.origin} {ours.version} IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n"]
    if offer.bundled:
        mids = " ".join(section.mid for section in offer.sections if section.accepted)
        lines.append(f"a=group:BUNDLE {mids}\r\n")
    lines.append("a=msid-semantic: WMS *\r\n")
    for section in offer.sections:
        mid = f"a=mid:{section.mid}\r\n" if section.mid else ""
        if not section.accepted:
            lines.append(f"m={section.kind} 0 {section.protocol} {section.formats}\r\nc=IN IP4 0.0.0.0\r\n{mid}")
        elif section.kind == "audio":
            pt = offer.opus_payload_type
            keys = f" {offer.telephone[0]}" if offer.telephone else ""
            extras = ""
            if offer.telephone:
                number, rate = offer.telephone
                extras += f"a=rtpmap:{number} telephone-event/{rate}\r\na=fmtp:{number} 0-15\r\n"
            if offer.audio_level_id is not None:
                extras += f"a=extmap:{offer.audio_level_id} {AUDIO_LEVEL}\r\n"
            lines.append(
                f"m=audio 9 UDP/TLS/RTP/SAVPF {pt}{keys}\r\nc=IN IP4 0.0.0.0\r\n{mid}{transport}"
                f"a={offer.direction}\r\na=rtcp-mux\r\na=rtpmap:{pt} opus/48000/2\r\n"
                f"a=fmtp:{pt} minptime=10;useinbandfec=1\r\na=rtcp-fb:{pt} nack\r\n{extras}a=ptime:20\r\n"
                f"a=msid:antiphon voice\r\na=ssrc:{ours.ssrc} cname:antiphon\r\n"
            )
        else:
            lines.append(
                f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n{mid}{transport}"
                f"a=sctp-port:5000\r\na=max-message-size:{MAX_MESSAGE}\r\n"
            )
    return "".join(lines)
