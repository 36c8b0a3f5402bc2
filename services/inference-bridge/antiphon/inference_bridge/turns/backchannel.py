"""Two questions about words: are they a backchannel (a sign of listening), do they sound complete? Pure."""

from __future__ import annotations

import re
from typing import Final


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SOUNDS: Final = _listed("um er erm wow")
_HUMMED: Final = re.compile(r"m+h*m*|h+[mu]+h*m*|[uao]+h+[uao]*h*m*|(?:na){2,}")
"""A hum has no spelling: "mhm", "uh-huh", "aha", and what recognisers write for one ("aho", "nana"); not "no"."""
_AGREEMENT: Final = _listed("yeah yep yes yup okay ok right sure alright good great nice cool fine exactly indeed true")
"""A backchannel while the agent tells something; an answer when the agent has asked something."""
_PHRASES: Final = ("i see", "got it", "go on", "of course", "all right", "i know", "makes sense")
_MAX_WORDS: Final = 4

_UNFINISHED: Final = _listed(
    "and but or so because since if when while that which who the a an my your his her our their this to "
    "for of in on at with from by about is are was were am be like um uh er erm hmm well maybe please "
    "than as into i we you"
)
"""Words with which a sentence seldom ends."""
_MAY_END: Final = _listed("please you about")


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+|\d+", text.lower().replace("-", ""))


def _is_sound(word: str) -> bool:
    """A sign of listening whatever was asked."""
    return word in _SOUNDS or _HUMMED.fullmatch(word) is not None


def is_backchannel(text: str, asked: bool) -> bool:
    """Whether `text`, spoken while the agent speaks, only shows that the caller listens.

    `asked`: the agent's words so far hold a question, so that "yes" is an answer.
    """
    words = _words(text)
    if len(words) > _MAX_WORDS:
        return False
    if all(_is_sound(word) for word in words):
        return True
    if asked:
        return False
    plain = " ".join(word for word in words if not _is_sound(word))
    for phrase in _PHRASES:
        plain = plain.replace(phrase, "")
    return all(word in _AGREEMENT for word in plain.split())


def sounds_complete(text: str) -> bool:
    """Whether a listener would take `text` for all that the speaker wanted to say.

    Rules for English on a recogniser that writes punctuation: a sentence that trails off, ends with a comma or with a
    word that asks for more is not complete.
    """
    stripped = text.strip()
    words = _words(stripped)
    if not words or stripped.endswith((",", "-", "...", "…", ":", ";")):
        return False
    if words[-1] in _MAY_END and stripped.endswith((".", "?", "!")):
        return True
    return words[-1] not in _UNFINISHED
