"""From a text to sections of attributes, line by line (RFC 8866). What of them is needed is not known here.

A line that can't be read is left out, and so are blanks around lines, empty lines and the difference of LF and CRLF:
users copy SDP through text fields and templates (section 5 of the RFC asks to be forgiving with line ends).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

MAX_LENGTH: Final = 64 * 1024
"""Characters. Offers of browsers with many codecs have 10,000."""
MAX_LINES: Final = 4096
"""That are not blank."""
MAX_SECTIONS: Final = 64
"""Each gets an answer, also one that is declined."""
MAX_TOKEN: Final = 64
_QUOTED: Final = 80
"""Characters of a line that are shown in a message."""

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_INVISIBLE: Final = "\ufeff\u200b\0"
"""Byte order mark, zero-width space: what editors leave at the ends of lines beside blanks."""
_LINE: Final = re.compile(r"([A-Za-z])\s*=\s*(.*)", re.DOTALL)
_TOKEN: Final = re.compile(rf"[!#-'*+\-.0-9A-Z^-~]{{1,{MAX_TOKEN}}}")
"""RFC 8866 section 9: `token`."""
_PORT: Final = re.compile(r"([0-9]{1,5})(?:/[0-9]{1,5})?")


class OfferError(ValueError):
    """An offer that can't be answered; `code` is that of `Refused`."""

    def __init__(self, code: Literal["bad_offer", "no_audio", "no_opus"], message: str) -> None:
        super().__init__(message)
        self.code: Literal["bad_offer", "no_audio", "no_opus"] = code


class Line(NamedTuple):
    """One line of the text, for messages."""

    number: int
    """From 1, empty lines counted."""
    text: str

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= _QUOTED else self.text[: _QUOTED - 3] + "..."
        return f"line {self.number}: {''.join(each if each.isprintable() else '?' for each in shown)}"


class Value(NamedTuple):
    """What stands behind the colon of an attribute; empty without one."""

    text: str
    line: Line


class Media(NamedTuple):
    """An m-line; parts that it does not have are empty."""

    kind: str
    port: int
    """-1: none that can be read."""
    protocol: str
    formats: tuple[str, ...]


class Section:
    """The session's lines, or those from an m-line to the next. Made once by `read`, and only read afterwards."""

    def __init__(self, line: Line, media: Media) -> None:
        self.line = line
        """The m-line; the first line of the text for the session's section."""
        self.media = media
        self.attributes: dict[str, list[Value]] = {}
        """By their names in lower case."""

    def values(self, name: str) -> Sequence[Value]:
        """All values of an attribute, in the order of their lines."""
        return self.attributes.get(name, ())

    def __contains__(self, name: str) -> bool:
        return name in self.attributes

    @property
    def mid(self) -> str:
        """Empty where it has none that an answer can repeat."""
        return next((value.text for value in self.values("mid") if is_token(value.text)), "")

    @property
    def refused(self) -> bool:
        """The client itself does not want it (RFC 3264 section 6); with bundle-only it does (RFC 9143 section 6)."""
        return self.media.port == 0 and "bundle-only" not in self.attributes


class Description(NamedTuple):
    """What a text says."""

    session: Section
    media: tuple[Section, ...]


def is_token(text: str) -> bool:
    """A word that an answer may repeat."""
    return _TOKEN.fullmatch(text) is not None


def read(text: str) -> Description:
    """The sections of a text; `OfferError` if it is no SDP at all, or beyond the bounds above."""
    if len(text) > MAX_LENGTH:
        raise OfferError("bad_offer", f"the offer has {len(text)} characters: at most {MAX_LENGTH} are read")
    session = Section(Line(1, ""), Media("", -1, "", ()))
    section, media, count, is_sdp = session, list[Section](), 0, False
    for number, raw in enumerate(_LINE_END.split(text), 1):
        stripped = raw.strip().strip(_INVISIBLE).strip()
        if not stripped:
            continue
        count += 1
        if count > MAX_LINES:
            raise OfferError("bad_offer", f"the offer has more than {MAX_LINES} lines, which is all that is read")
        found = _LINE.fullmatch(stripped)
        if found is None:
            continue
        letter, value = found[1].lower(), found[2]
        if letter == "a":
            name, _, behind = value.partition(":")
            attribute = Value(behind.strip(), Line(number, stripped))
            section.attributes.setdefault(name.strip().lower(), []).append(attribute)
        elif letter == "m" and is_sdp:
            section = Section(Line(number, stripped), _media(value))
            media.append(section)
        elif letter == "v" and value == "0":
            is_sdp = True
    if not is_sdp:
        raise OfferError("bad_offer", f"the offer is no SDP: {_mistaken_for(text)}")
    if len(media) > MAX_SECTIONS:
        raise OfferError("bad_offer", f"the offer has {len(media)} media sections: at most {MAX_SECTIONS} are read")
    return Description(session, tuple(media))


def _media(value: str) -> Media:
    kind, port, protocol, *formats = [*value.split(), "", "", ""]
    number = _PORT.fullmatch(port)
    readable = number is not None and int(number[1]) < 1 << 16
    return Media(
        kind if is_token(kind) else "",
        int(number[1]) if number is not None and readable else -1,
        protocol if all(map(is_token, protocol.split("/"))) else "",
        tuple(each for each in formats if is_token(each)),
    )


def _mistaken_for(text: str) -> str:
    start = text.lstrip()[:1]
    if start == "{":
        return "it is JSON, and only the text of its member sdp belongs here"
    if "v=0\\r\\n" in text or "v=0\\n" in text:
        return "its line ends are written as \\r\\n, as in JSON: send the text with real line ends"
    return "it has to begin with the line v=0 (RFC 8866)"


def by_mid(media: Sequence[Section]) -> Mapping[str, Section]:
    """The sections that have a mid; the first of those with the same."""
    found: dict[str, Section] = {}
    for section in media:
        if section.mid:
            found.setdefault(section.mid, section)
    return found
