"""What an audio section offers: codecs, telephone events, extensions, direction. Broken attributes are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from antiphon.rtc.codec import CLOCK_RATES, STATIC_PAYLOAD_TYPES, Codec, CodecName
from antiphon.rtc.sdp.reader import OfferError, Section

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("sendrecv", "sendonly", "recvonly", "inactive")
REVERSED: Final[dict[Direction, Direction]] = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
"""Offered -> answered (RFC 3264 section 6.1)."""


def sends(direction: Direction) -> bool:
    """The party with this direction sends."""
    return direction in ("sendrecv", "sendonly")


def receives(direction: Direction) -> bool:
    """The party with this direction receives."""
    return direction in ("sendrecv", "recvonly")


AUDIO_LEVEL: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
PROTOCOL: Final = re.compile(r"(?:(?:UDP|TCP)/(?:D?TLS)/)?RTP/S?AVPF?", re.IGNORECASE)
"""Those that clients write for SRTP with DTLS keys; the answer repeats the offer's (RFC 9429 section 5.1.2)."""

_NUMBER: Final = re.compile(r"[0-9]{1,3}")
_LONGEST: Final = 64
"""Characters of an encoding name."""


class Encoding(NamedTuple):
    """An `a=rtpmap`."""

    name: str
    """In lower case."""
    rate: int
    channels: int


def encodings(section: Section) -> dict[int, Encoding]:
    """The encodings of the payload types in the m-line, in its order; static ones need no rtpmap (RFC 3551)."""
    mapped: dict[int, Encoding] = {}
    for value in section.values("rtpmap"):
        key, encoding = [*value.text.split(), "", ""][:2]
        name, rate, channels, *_ = [*encoding.split("/"), "", "1"]
        if _NUMBER.fullmatch(key) and rate.isdecimal() and len(encoding) <= _LONGEST:
            count = int(channels) if channels.isdecimal() else 1
            mapped.setdefault(int(key), Encoding(name.lower(), int(rate), count))
    found: dict[int, Encoding] = {}
    for number in filter(_is_payload_type, _numbers(section)):
        if number in mapped:
            found[number] = mapped[number]
        elif number in STATIC_PAYLOAD_TYPES:
            static = STATIC_PAYLOAD_TYPES[number]
            found[number] = Encoding(static.lower(), CLOCK_RATES[static], 1)
    return found


def _numbers(section: Section) -> Iterator[int]:
    return (int(each) for each in section.media.formats if _NUMBER.fullmatch(each))


def _is_payload_type(number: int) -> bool:
    """7 bits, and none that RTCP packet types look like on a shared port (RFC 5761 section 4)."""
    return number < 128 and not 64 <= number < 96


def codecs(section: Section) -> tuple[Codec, ...]:
    """Those that a call can have, best first: Opus, then both laws of G.711 in the client's order.

    `OfferError` where there is none.
    """
    offered = encodings(section)
    names: dict[str, CodecName] = {name.lower(): name for name in CLOCK_RATES}
    usable = [
        Codec(names[encoding.name], number)
        for number, encoding in offered.items()
        if encoding.name in names
        and encoding.rate == CLOCK_RATES[names[encoding.name]]
        and encoding.channels <= (2 if encoding.name == "opus" else 1)
    ]
    if not usable:
        listed = ", ".join(dict.fromkeys(encoding.name for encoding in offered.values())) or "no codec known here"
        text = f"the offer's audio has {listed:.200}: Opus (opus/48000/2), PCMU or PCMA is needed"
        raise OfferError("no_opus", f"{text}; {section.line}")
    return tuple(sorted(usable, key=lambda codec: codec.name != "opus"))


def telephone_events(section: Section, codec: Codec) -> tuple[int, int] | None:
    """(payload type, clock rate) of RFC 4733, best at the codec's own rate (section 2.1)."""
    offered = {
        encoding.rate: number for number, encoding in encodings(section).items() if encoding.name == "telephone-event"
    }
    for rate in (codec.clock_rate, 48000, 8000):
        if rate in offered:
            return offered[rate], rate
    return None


def audio_level(section: Section, session: Section) -> tuple[int, str] | None:
    """The number of the header extension of RFC 6464 and the answer's direction suffix, if the client sends it.

    `a=extmap:<number>[/<direction>] <URI> [<attributes>]` (RFC 8285 section 8), numbers of the one-byte form.
    """
    for value in (*section.values("extmap"), *session.values("extmap")):
        place, uri = [*value.text.split(), "", ""][:2]
        number, _, direction = place.partition("/")
        known = {"": "", "sendrecv": "", "sendonly": "/recvonly"}
        if uri == AUDIO_LEVEL and _NUMBER.fullmatch(number) and 0 < int(number) < 15 and direction.lower() in known:
            return int(number), known[direction.lower()]
    return None


def direction(section: Section, session: Section) -> Direction:
    """What the client wants to do; `sendrecv` if nothing says so (RFC 8866 section 6.7)."""
    for source in (section, session):
        stated = [(source.values(name)[-1].line.number, name) for name in DIRECTIONS if name in source]
        if stated:
            return max(stated)[1]  # clients that change their SDP by hand add lines at its end
    return "sendrecv"
