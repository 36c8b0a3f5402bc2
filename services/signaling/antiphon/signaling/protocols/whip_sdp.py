"""What WHIP wants of an offer and an answer besides what SDP wants (RFC 9725 section 4.2 and 4.4). Text in, text out.

Its media goes one way, from the client. So an offer goes on as `sendonly`, and is answered `recvonly`.
"""

from __future__ import annotations

import re
from typing import Final

_DIRECTION: Final = re.compile(r"a=(sendrecv|sendonly|recvonly|inactive)[ \t]*")
_AUDIO: Final = re.compile(r"m=audio (\d+)(?:/\d+)? ")


class NotIngestError(ValueError):
    """The offer does not send one track of audio."""


def ingest_offer(offer: str) -> str:
    """The offer with its sending audio as `sendonly`; `NotIngestError` if none sends, or more than one does."""
    sections = re.split(r"(?m)^(?=m=)", offer)
    default = _direction(sections[0]) or "sendrecv"
    sending = 0
    for index, section in enumerate(sections[1:], 1):
        header = _AUDIO.match(section)
        if header is None or (int(header[1]) == 0 and "a=bundle-only" not in section):
            continue
        if (_direction(section) or default) not in ("sendrecv", "sendonly"):
            continue
        sending += 1
        sections[index] = _sendonly(section)
    if sending > 1:
        raise NotIngestError(f"the offer sends {sending} tracks of audio: one is taken (RFC 9725 section 4.4.2)")
    if sending == 0 and any(map(_AUDIO.match, sections[1:])):
        raise NotIngestError("the offer's audio is recvonly or inactive: WHIP takes sendonly or sendrecv")
    return "".join(sections)


def ingest_answer(answer: str) -> str:
    """The answer with `rtcp-mux-only` (RFC 8858) and the word that Trickle ICE is understood (RFC 8840)."""
    answer = answer.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n")
    return answer.replace("a=ice-lite\r\n", "a=ice-lite\r\na=ice-options:trickle\r\n", 1)


def _direction(section: str) -> str | None:
    return next((found[1] for line in section.splitlines() if (found := _DIRECTION.fullmatch(line))), None)


def _sendonly(section: str) -> str:
    lines = section.splitlines(keepends=True)
    ends = "\r\n" if lines[0].endswith("\r\n") else "\n"
    kept = [line for line in lines if not _DIRECTION.fullmatch(line.rstrip("\r\n"))]
    if not kept[-1].endswith("\n"):
        kept[-1] += ends
    return "".join([*kept, f"a=sendonly{ends}"])
