"""Takes out of a continued answer the words that it repeats. Pure.

A model that is asked to go on after the words that were spoken often begins with some of them, or with all. The first
words are held back while they may be such a repetition, at most as long as what was spoken.
"""

from __future__ import annotations

import re
from typing import Final

_LOOK_BACK: Final = 2000
"""Characters of what was spoken in which the repetition may begin."""
_SHORTEST: Final = 8
"""Letters of a repetition that may end in the middle of a word."""


class Continuation:
    """The text of an answer that goes on after words that were spoken. Owned by the decoder of that answer."""

    def __init__(self, spoken: str) -> None:
        self._spoken = spoken
        self._held = ""
        spoken = spoken[-_LOOK_BACK:]
        starts = [match.start() for match in re.finditer(r"\S+", spoken)]
        self._suffixes = [_plain(spoken[start:]) for start in starts] if spoken.strip() else []
        """What a repetition would begin with, the longest first."""
        self._decided = not self._suffixes

    def feed(self, text: str) -> str:
        """What is new of the text."""
        if self._decided:
            return text
        self._held += text
        plain = _plain(self._held)
        if any(len(plain) <= len(suffix) and suffix.startswith(plain) for suffix in self._suffixes):
            return ""
        return self._decide(plain)

    def end(self) -> str:
        """What is new of the rest."""
        return "" if self._decided else self._decide(_plain(self._held))

    def _decide(self, plain: str) -> str:
        self._decided = True
        held, self._held = self._held, ""
        for suffix in self._suffixes:
            if plain.startswith(suffix) and _is_repetition(suffix, plain):
                rest = _behind(held, len(suffix))
                in_a_word = suffix[-1:].isalnum() and rest[:1].isalnum()
                return rest if in_a_word else _separated(self._spoken, rest)
        return _separated(self._spoken, held)


def _is_repetition(suffix: str, plain: str) -> bool:
    """Not the same word by chance: several words, or a word that no number is and that ends there."""
    more = plain[len(suffix) : len(suffix) + 1]
    ends = not more or not more.isalnum()
    return (" " in suffix and (ends or len(suffix) >= _SHORTEST)) or (ends and len(suffix) > 1 and suffix.isalpha())


def _plain(text: str) -> str:
    """Words in lower case with one blank between them."""
    return " ".join(text.lower().split())


def _behind(text: str, length: int) -> str:
    """The text behind its first `length` characters, counted as `_plain` counts them."""
    for at in range(len(text) + 1):
        if len(_plain(text[:at])) >= length and _plain(text[:at]) == _plain(text)[:length]:
            return text[at:]
    return ""


def _separated(spoken: str, text: str) -> str:
    """With one blank between the spoken words and the next; a model begins a message without one."""
    if spoken[-1:].isspace():
        return text.lstrip()
    return f" {text}" if text and not text[0].isspace() and text[0].isalnum() else text
