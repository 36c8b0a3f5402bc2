"""SDP fragments of Trickle ICE (RFC 8840 section 9), as WHIP uses them (RFC 9725 section 4.3). Text in, text out.

A fragment names its ICE session by the client's ufrag and password. Its candidates are not read: relays answer from the
address to which a client sends, so that they learn it from its first check.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from antiphon.schemas.messages import IceCredentials

MEDIA_TYPE: Final = "application/trickle-ice-sdpfrag"
MAX_SECTIONS: Final = 64

_LINE: Final = re.compile(r"[a-z]=[^\r\n\0]*")
_MEDIA: Final = re.compile(r"m=([a-z]+) \d{1,5}(?:/\d+)? ([A-Z/]+) ([!-~]+(?: [!-~]+)*)")
_ICE_CHARACTERS: Final = "[A-Za-z0-9+/]"
_UFRAG: Final = re.compile(f"{_ICE_CHARACTERS}{{4,256}}")
_PASSWORD: Final = re.compile(f"{_ICE_CHARACTERS}{{22,256}}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


class FragmentError(ValueError):
    """This is no fragment that says whose it is."""


class Section(NamedTuple):
    """The pseudo m-line of a fragment and its mid, for the answer to repeat."""

    media: str = "audio"
    protocol: str = "RTP/AVP"
    formats: str = "0"
    mid: str = ""


class Fragment(NamedTuple):
    """What a client's fragment says."""

    credentials: IceCredentials
    section: Section
    """The first, which in a BUNDLE group is the only one."""
    bundle: bool
    """It has a BUNDLE group."""


def read_fragment(text: str) -> Fragment:
    """`FragmentError` says which line is missing or wrong. What else SDP may hold is passed over."""
    lines = [line.strip(" \t\r") for line in text.split("\n")]
    sections: list[list[str]] = [[]]
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        if not _LINE.fullmatch(line):
            raise FragmentError(f"line {number} of the fragment is no line of SDP: {line!r:.80}")
        if line.startswith("m="):
            if not _MEDIA.fullmatch(line):
                raise FragmentError(f"line {number} of the fragment is no m= line: {line!r:.80}")
            if len(sections) > MAX_SECTIONS:
                raise FragmentError(f"the fragment has more than {MAX_SECTIONS} m= lines")
            sections.append([])
        sections[-1].append(line)
    session, *media = sections
    return Fragment(
        credentials=_credentials(session, media),
        section=_section(media[0]) if media else Section(),
        bundle=any(line.startswith("a=group:BUNDLE") for line in session),
    )


def _credentials(session: list[str], media: list[list[str]]) -> IceCredentials:
    """Those of the session part count for all sections; else those of the audio, which is what a call uses."""
    audio = [lines for lines in media if lines[0].startswith("m=audio ")]
    for lines in (session, *audio, *media):
        ufrag, password = _value(lines, "ice-ufrag"), _value(lines, "ice-pwd")
        if ufrag is None and password is None:
            continue
        if ufrag is None or not _UFRAG.fullmatch(ufrag):
            raise FragmentError(
                f"the fragment's a=ice-ufrag is {ufrag or 'missing'!r:.80}: 4 to 256 letters and digits"
            )
        if password is None or not _PASSWORD.fullmatch(password):
            raise FragmentError("the fragment's a=ice-pwd is missing or no 22 to 256 letters and digits")
        return IceCredentials(ufrag=ufrag, password=password)
    raise FragmentError("the fragment has no a=ice-ufrag and a=ice-pwd, which say of which ICE session it is")


def _section(lines: list[str]) -> Section:
    header = _MEDIA.fullmatch(lines[0])
    assert header is not None
    mid = _value(lines, "mid") or ""
    return Section(header[1], header[2], header[3][:256], mid if _TOKEN.fullmatch(mid) else "")


def _value(lines: list[str], name: str) -> str | None:
    """The first attribute of this name."""
    start = f"a={name}:"
    return next((line.removeprefix(start).strip() for line in lines if line.startswith(start)), None)


def write_fragment(asked: Fragment, ours: IceCredentials, candidates: Sequence[str]) -> str:
    """The answer to a restart: our credentials and all our candidates, in the section that the client named."""
    media, protocol, formats, mid = asked.section
    lines = ["a=ice-lite", "a=ice-options:trickle"]
    if asked.bundle and mid:
        lines.append(f"a=group:BUNDLE {mid}")
    lines.append(f"m={media} 9 {protocol} {formats}")
    if mid:
        lines.append(f"a=mid:{mid}")
    lines += [f"a=ice-ufrag:{ours.ufrag}", f"a=ice-pwd:{ours.password}", *candidates, "a=end-of-candidates"]
    return "\r\n".join(lines) + "\r\n"
