"""The part of SDP that signaling needs: refuse unusable offers, put relay candidates into an answer.

Text in, text out. The transceiver is the authoritative reader of offers; the check here only keeps hopeless ones from
it. Lines and sections as in RFC 8866, candidates as in RFC 8839.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from antiphon.schemas.addresses import Address
from antiphon.signaling.placement.directory import RelayOffer

FIRST_PRIORITY: Final = 2130706000
"""Priority of the first candidate: below the highest of a host candidate (2130706431, RFC 8445 section 5.1.2), so that
a client can later add a better one for another relay and have it preferred."""
PRIORITY_STEP: Final = 256
FIRST_TCP_PRIORITY: Final = FIRST_PRIORITY - (1 << 24)
"""One type preference lower: every UDP candidate comes before every TCP one (RFC 6544 section 4.2)."""
FOUNDATIONS_PER_RELAY: Final = 10
"""The foundation's tens are the relay, so that a client knows which candidates fail together: 11, 12, 21."""

_LINE = re.compile(r"[a-z]=[^\r\n\0]*")
_MEDIA = re.compile(r"m=([a-z]+) (\d{1,5})(/\d+)? (\S+) (\S.*)")
_CONNECTION = re.compile(r"IN IP[46] (\S+)")
_OPUS = re.compile(r"a=rtpmap:\d+ opus/48000(/\d+)?", re.IGNORECASE)


class OfferError(ValueError):
    """The client's offer can't become a call. `code` is one of the refusal codes of a transceiver."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AnswerError(ValueError):
    """A transceiver's answer may not be passed on."""


def check_offer(text: str) -> None:
    """Raise `OfferError` for text that is no SDP, has no audio, or audio without Opus."""
    lines = _lines(text)
    if not lines or lines[0] != "v=0" or not all(map(_LINE.fullmatch, lines)):
        raise OfferError("bad_offer", "the body is no SDP offer: it has to start with the line v=0 (RFC 8866)")
    sections = _sections(lines)
    if len(sections) == 1:
        raise OfferError("bad_offer", "the offer has no media at all: it has no m= line")
    audio = [section for section in sections[1:] if section[0].startswith("m=audio ")]
    if not audio:
        kinds = ", ".join(sorted({section[0][2:].split(" ")[0][:20] for section in sections[1:]}))
        raise OfferError("no_audio", f"the offer has no audio, only {kinds}: a call needs one m=audio section")
    if not any(_OPUS.fullmatch(line) for section in audio for line in section):
        raise OfferError("no_opus", "the offer's audio has no Opus: it has to list opus/48000 among its codecs")


def with_candidates(answer: str, relays: Sequence[RelayOffer], equal: bool = False) -> str:
    """The answer with the addresses of these relays as its only candidates, best first.

    `equal`: the first addresses of all relays have one priority, the second ones another: the client's checks decide.

    They go into the first section that is in use, which carries the others by BUNDLE (RFC 9143); its address
    and port, and those of all sections in use, become the first relay's. `AnswerError` when the answer is no
    SDP or holds a network address of its own: clients never learn the addresses behind the relays.
    """
    if not relays or not relays[0].udp:
        raise ValueError("with_candidates needs at least one relay with an address")
    first = relays[0].udp[0]
    lines = _lines(answer)
    if not lines or lines[0] != "v=0" or not all(map(_LINE.fullmatch, lines)):
        raise AnswerError("the answer is no SDP")
    for line in lines:
        _refuse_address(line)
    session, *media = _sections(lines)
    headers = [_MEDIA.fullmatch(section[0]) for section in media]
    if not all(headers) or not any(header and int(header[2]) for header in headers):
        raise AnswerError("the answer accepts no media section")
    out = [_connection(first) if line.startswith("c=") else line for line in session]
    carrier_found = False
    for section, header in zip(media, headers, strict=True):
        assert header is not None
        if int(header[2]) == 0:  # rejected by the transceiver: stays as it is
            out += section
            continue
        out.append(f"m={header[1]} {first.port}{header[3] or ''} {header[4]} {header[5]}")
        out += [_connection(first) if line.startswith("c=") else line for line in section[1:]]
        if not carrier_found:
            carrier_found = True
            out += candidate_lines(relays, equal)
            out.append("a=end-of-candidates")
    return "\r\n".join(out) + "\r\n"


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _sections(lines: Sequence[str]) -> list[list[str]]:
    """The session's lines, then those of each m-section."""
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def _connection(relay: Address) -> str:
    return f"c=IN {'IP6' if ':' in relay.host else 'IP4'} {relay.host}"


def candidate_lines(relays: Sequence[RelayOffer], equal: bool) -> list[str]:
    """UDP of all relays, then TCP of all, each with a lower priority than the one before it.

    `equal`: than the one before it of the same relay.
    """
    udp: list[str] = []
    tcp: list[str] = []
    for number, relay in enumerate(relays, 1):
        foundation = number * FOUNDATIONS_PER_RELAY
        for place, address in enumerate(relay.udp):
            foundation += 1
            priority = FIRST_PRIORITY - PRIORITY_STEP * (place if equal else len(udp))
            udp.append(f"a=candidate:{foundation} 1 udp {priority} {address.host} {address.port} typ host")
        for place, address in enumerate(relay.tcp):
            foundation += 1
            priority = FIRST_TCP_PRIORITY - PRIORITY_STEP * (place if equal else len(tcp))
            where = f"{address.host} {address.port}"
            tcp.append(f"a=candidate:{foundation} 1 tcp {priority} {where} typ host tcptype passive")
    return udp + tcp


def _refuse_address(line: str) -> None:
    """The lines that can hold an address: candidates, c=, o=, a=rtcp (RFC 3605)."""
    if line.startswith(("a=candidate", "a=remote-candidates", "a=end-of-candidates")):
        raise AnswerError("the answer holds candidates of its own")
    if line.startswith(("c=", "o=", "a=rtcp:")):
        found = _CONNECTION.search(line)
        if found is None and not line.startswith("a=rtcp:"):
            raise AnswerError(f"the answer's {line[0]}= line is malformed")
        if found is not None and not _is_placeholder(found[1], own_machine=line.startswith("o=")):
            raise AnswerError(f"the answer's {line[0]}= line holds a network address")


def _is_placeholder(text: str, own_machine: bool) -> bool:
    """0.0.0.0 and ::, and in the o= line also the 127.0.0.1 that browsers write there (RFC 9429 section 5.2.1)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_unspecified or (own_machine and address.is_loopback)
