"""The control markers that chat servers let through into an answer's text, by model family. Pure data and its reader.

`marker_at` decides with as few characters as possible whether a marker begins at a place, so that ordinary text with
`<` or `[` in it is held back for a few characters at most.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final, NamedTuple


class Kind(Enum):
    """What a marker does."""

    THINK = auto()
    """Thoughts begin."""
    END_THINK = auto()
    CHANNEL = auto()
    """A channel's name follows, then `MESSAGE` (harmony) or the text itself (Gemma)."""
    MESSAGE = auto()
    HEADER = auto()
    """A role's name follows."""
    END = auto()
    """A message ends."""
    TOOL = auto()
    """A function call as text: for `text_calls`."""
    DROP = auto()
    """Only the marker itself is left out."""


class Marker(NamedTuple):
    """A marker and where it ends. A value."""

    kind: Kind
    end: int
    name: str = ""


class MoreNeeded(NamedTuple):
    """A marker may begin here, or not: the next characters tell."""


MORE: Final = MoreNeeded()
STARTS: Final = re.compile(r"[<\[\u25c1]")
"""The characters with which a marker can begin."""
_LONGEST: Final = 96
"""Characters of a marker, its attributes included."""

_THOUGHTS: Final = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "thought_process",
    "thinking_process",
    "reasoning",
    "reflection",
    "analysis",
    "scratchpad",
    "inner_monologue",
    "internal_monologue",
    "inner_thoughts",
    "antthinking",
    "antml:thinking",
    "antml:reasoning",
    "seed:think",
    "mm:think",
)
_DROPPED: Final = ("answer", "final", "final_answer", "response", "solution", "output")
"""Tags around an answer, which is spoken without them."""
_ENDS: Final = ("s", "eos", "bos", "pad", "end_of_turn", "end_of_text", "eod")
_TAGS: Final = {
    **dict.fromkeys(_THOUGHTS, Kind.THINK),
    **dict.fromkeys(_DROPPED, Kind.DROP),
    **dict.fromkeys(_ENDS, Kind.DROP),
    "start_of_turn": Kind.HEADER,
    "unused94": Kind.THINK,
    "unused95": Kind.END_THINK,
}
_PLAIN: Final = {
    "[think]": Kind.THINK,
    "[/think]": Kind.END_THINK,
    "[thinking]": Kind.THINK,
    "[/thinking]": Kind.END_THINK,
    "[inst]": Kind.DROP,
    "[/inst]": Kind.DROP,
    "\u25c1think\u25b7": Kind.THINK,  # Kimi
    "\u25c1/think\u25b7": Kind.END_THINK,
}
_TAG: Final = re.compile(r"<(/?)([a-z][a-z0-9_:]*|)")
_REST_OF_TAG: Final = re.compile(r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s<>\"']*))*\s*/?>")
_REST_MAY_GROW: Final = re.compile(r"\s*$|\s+[\w:-]+\s*$|\s+[\w:-]+\s*=[^<>]*$|\s*/$")
_TOKEN: Final = re.compile(r"<[|\uff5c]([\w\u2581/:.-]{1,48})[|\uff5c]?>|<([a-z_/]{1,24})[|\uff5c]>", re.IGNORECASE)
_TOKEN_MAY_GROW: Final = re.compile(
    r"<[|\uff5c][\w\u2581/:.-]{0,48}[|\uff5c]?$|<[a-z_/]{1,24}[|\uff5c]?$", re.IGNORECASE
)
_CLOSED_TOKENS: Final = ("channel|", "turn|", "tool_call|", "tool_response|", "tool|", "think|", "image|", "audio|")
"""Names in front of `|>`, as Gemma 4 ends its blocks."""


def marker_at(text: str, at: int) -> Marker | MoreNeeded | None:
    """The marker that begins at this place of the text; None if none does."""
    part = text[at : at + _LONGEST]
    lower = part.lower()
    if part[0] != "<":
        return _plain(lower, at)
    if (token := _TOKEN.match(part)) is not None:
        name = (token[1] or token[2]).strip().lower()
        if token[1] or f"{name}|" in _CLOSED_TOKENS:
            opens = "|" if part[token.end() - 2] in "|\uff5c" and token[1] else ""
            return Marker(_token_kind(name, closes=not token[1]), at + token.end(), name + opens)
        return None
    if part[1:2] in ("|", "\uff5c"):
        return MORE if _TOKEN_MAY_GROW.match(part) and len(part) < _LONGEST else None
    return _tag(part, lower, at)


def _plain(lower: str, at: int) -> Marker | MoreNeeded | None:
    for mark, kind in _PLAIN.items():
        if lower.startswith(mark):
            return Marker(kind, at + len(mark))
        if mark.startswith(lower):
            return MORE
    return None


def _tag(part: str, lower: str, at: int) -> Marker | MoreNeeded | None:
    if part == "<":
        return MORE
    head = _TAG.match(lower)
    assert head is not None
    slash, name, rest = head[1], head[2], part[head.end() :]
    if not rest:
        may_grow = any(known.startswith(name) for known in _TAGS) or any(
            known.startswith(slash + name) for known in _CLOSED_TOKENS
        )
        return MORE if may_grow else None
    kind = _TAGS.get(name)
    if kind is None:
        grows = rest in ("|", "\uff5c") and f"{slash}{name}|" in _CLOSED_TOKENS
        return MORE if grows else None
    if (closed := _REST_OF_TAG.match(rest)) is None:
        if rest in ("|", "\uff5c") and f"{slash}{name}|" in _CLOSED_TOKENS:
            return MORE
        return MORE if _REST_MAY_GROW.match(rest) and len(part) < _LONGEST else None
    end = at + head.end() + closed.end()
    if kind is Kind.THINK and (slash or closed[0].endswith("/>")):
        return Marker(Kind.END_THINK if slash else Kind.DROP, end, name)
    return Marker(kind, end, name)


def _token_kind(name: str, closes: bool) -> Kind:
    """Of `<|name|>` and its like."""
    if "channel" in name:
        return Kind.END_THINK if closes else Kind.CHANNEL
    if any(word in name for word in ("tool", "python_tag", "action", "function", "call")) and name != "call":
        return Kind.TOOL
    if any(word in name for word in ("think", "thought", "inner_", "reasoning")):
        return (
            Kind.END_THINK
            if closes or name.startswith(("end", "/")) or name.endswith(("end", "suffix"))
            else Kind.THINK
        )
    if name == "message":
        return Kind.MESSAGE
    if name in ("start", "im_start", "start_header_id", "turn", "start_of_turn", "start_of_role") and not closes:
        return Kind.HEADER
    if name in ("end", "return", "call"):
        return Kind.END
    return Kind.DROP
