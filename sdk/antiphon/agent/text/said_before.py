"""Leaves out what an answer repeats of its beginning, which an instance that died has spoken already. Pure."""

from __future__ import annotations

import re
from typing import Final

_SENTENCE: Final = re.compile(r"[.!?…。！？]\s+|[。！？]")


class SaidBefore:
    """One answer that is made anew. Owned by it, called with its text from the beginning.

    Blanks do not count: words that were spoken are kept clause by clause. When the new answer goes another way, its
    sentence is spoken from its beginning, so that the caller hears it whole.
    """

    def __init__(self, said: str) -> None:
        self._said = "".join(said.split())
        self._at = 0
        """Characters of it that the answer has repeated."""
        self._held = ""
        """The text in which it did."""

    @property
    def is_over(self) -> bool:
        """Nothing is left out any more."""
        return self._at >= len(self._said)

    def push(self, text: str) -> str:
        """What of the text is to be spoken, with what was held back before it."""
        if self.is_over:
            return text
        for index, letter in enumerate(text):
            if letter.isspace():
                continue
            if letter != self._said[self._at]:
                self._said = ""  # it goes another way from here
                return self._sentence_of(self._held + text[:index]) + text[index:]
            self._at += 1
            if self.is_over:
                return text[index + 1 :]
        self._held += text
        return ""

    def repeats(self, words: str) -> bool:
        """Whether audio with these words was spoken whole; then they count as repeated."""
        compact = "".join(words.split())
        if self.is_over or not compact or not self._said.startswith(compact, self._at):
            return False
        self._at += len(compact)
        self._held += words + " "
        return True

    def _sentence_of(self, repeated: str) -> str:
        ends = [match.end() for match in _SENTENCE.finditer(repeated)]
        return repeated[ends[-1] :] if ends else repeated
