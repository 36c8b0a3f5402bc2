"""Which words of an utterance are certain before it is over. Pure.

A recogniser that hears the beginning of an utterance several times, each time with more behind it, changes its mind
about the end, seldom about the beginning. A word is certain when two hypotheses in a row have written it, and
everything before it, alike. What was told is never taken back: should the last hypothesis disagree all the same, what
was told stays, and the words behind it are taken from the last one.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher


class LocalAgreement:
    """Of one utterance."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._last: list[str] = []

    def hypothesis(self, text: str) -> str:
        """What `text`, heard of the utterance so far, makes certain: more text behind what was told; may be empty."""
        words, before = text.split(), self._last
        self._last = words
        agreed = _alike(words, before)
        if agreed <= len(self._told) or words[: len(self._told)] != self._told:
            return ""
        told = len(self._told)
        self._told = words[:agreed]
        return (" " if told else "") + " ".join(words[told:agreed])

    def finish(self, text: str) -> tuple[str, str]:
        """The utterance is over and was heard as `text`: all of it, and what of that was not told yet."""
        words, told = text.split(), len(self._told)
        rest = words[told if words[:told] == self._told else _place_behind(self._told, words) :]
        more = " ".join(rest)
        return " ".join([*self._told, *rest]), f" {more}" if told and more else more


def _alike(words: list[str], others: list[str]) -> int:
    """How many words the two have in common from the beginning, to the letter."""
    count = 0
    for word, other in zip(words, others, strict=False):
        if word != other:
            break
        count += 1
    return count


def _place_behind(told: list[str], words: list[str]) -> int:
    """Where in `words` goes on what `told` began."""
    blocks = SequenceMatcher(None, _bare(told), _bare(words), autojunk=False).get_matching_blocks()
    *matches, _ = blocks
    if not matches:
        return min(len(told), len(words))
    last = matches[-1]
    return min(len(words), last.b + last.size + len(told) - (last.a + last.size))


def _bare(words: list[str]) -> list[str]:
    return [re.sub(r"\W", "", word.lower()) for word in words]
