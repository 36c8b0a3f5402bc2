"""ICE, DTLS and the shared port, as an offer describes them: for one section, its bundle, or the whole session."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from antiphon.rtc.sdp.reader import OfferError, Section

MAX_FINGERPRINTS: Final = 8
"""More than there are algorithms."""
MAX_CREDENTIAL: Final = 256
"""Characters of a ufrag or a password (RFC 8839 section 5.4)."""

_DIGEST_LENGTH: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""Octets, of the algorithms that the handshake can check."""
_HEX_OCTET: Final = re.compile(r"[0-9A-Fa-f]{2}")
_CREDENTIAL: Final = re.compile(rf"[!-~]{{1,{MAX_CREDENTIAL}}}")
"""Wider than the `ice-char` of RFC 8839: what stands there is used as it is."""


class Transport(NamedTuple):
    """How the client of an offer wants to connect."""

    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    """(algorithm, value) of its certificates."""
    client: bool
    """We are to be the DTLS client: the peer offered actpass or passive."""


def read_transport(sources: Sequence[Section], section: Section) -> Transport:
    """What the first of `sources` has that has it; `OfferError` names what none of them has, for `section`.

    In a bundle only its tagged section needs these attributes (RFC 9143 section 7.1.3), and some clients write them at
    session level; so the sources differ by section.
    """
    ufrag, password = _credentials(sources, section)
    fingerprints = _fingerprints(sources, section)
    if not any(name in source for source in sources for name in ("rtcp-mux", "rtcp-mux-only")):
        text = "the offer has no a=rtcp-mux for its audio: RTP and RTCP share one port here (RFC 5761)"
        raise OfferError("bad_offer", f"{text}; {section.line}")
    role = next((value.text.lower() for source in sources for value in source.values("setup")), "actpass")
    return Transport(ufrag, password, fingerprints, client=role != "active")


def _credentials(sources: Sequence[Section], section: Section) -> tuple[str, str]:
    # A ufrag and a password of different sections do not belong together, unless no section has both.
    for each in (*([source] for source in sources), sources):
        ufrag, password = _credential(each, "ice-ufrag"), _credential(each, "ice-pwd")
        if ufrag and password:
            return ufrag, password
    text = "the offer has no a=ice-ufrag and a=ice-pwd for its audio that can be read"
    unusable = next((v.line for s in sources for name in ("ice-ufrag", "ice-pwd") for v in s.values(name)), None)
    raise OfferError("bad_offer", f"{text}; {unusable or section.line}")


def _credential(sources: Iterable[Section], name: str) -> str:
    found = (value.text for source in sources for value in source.values(name))
    return next((text for text in found if _CREDENTIAL.fullmatch(text)), "")


def _fingerprints(sources: Sequence[Section], section: Section) -> tuple[tuple[str, str], ...]:
    for source in sources:
        found = tuple(dict.fromkeys(_usable_fingerprints(source)))
        if found:
            return found[:MAX_FINGERPRINTS]
    unusable = next((value.line for source in sources for value in source.values("fingerprint")), None)
    if unusable is not None:
        text = "the offer's a=fingerprint is no SHA-256, SHA-384 or SHA-512 in hex with colons"
    elif any("crypto" in source for source in sources):
        text = "the offer has a=crypto (SDES) and no a=fingerprint for its audio: DTLS-SRTP is needed"
    else:
        text = "the offer has no a=fingerprint for its audio: DTLS-SRTP is needed"
    raise OfferError("bad_offer", f"{text}; {unusable or section.line}")


def _usable_fingerprints(source: Section) -> Iterator[tuple[str, str]]:
    """RFC 8122 section 5."""
    for value in source.values("fingerprint"):
        algorithm, digest = [*value.text.split(), "", ""][:2]
        octets = digest.split(":")
        if len(octets) == _DIGEST_LENGTH.get(algorithm.lower()) and all(map(_HEX_OCTET.fullmatch, octets)):
            yield algorithm.lower(), digest.upper()
