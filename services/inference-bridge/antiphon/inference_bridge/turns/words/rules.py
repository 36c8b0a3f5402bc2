"""The shape of a language's rules for words, and how a text is cut into words to be compared with them. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*'?|'[^\W\d_]+|\d+")


def words_of(text: str) -> list[str]:
    """In lower case, with accents, without hyphens; an elided word keeps its apostrophe (`d'accord`, `qu'`)."""
    text = unicodedata.normalize("NFC", text)
    return _WORD.findall(text.lower().replace("-", "").replace("‐", "").replace("’", "'"))


def word_set(text: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(words_of(text))


def phrases(text: str) -> tuple[str, ...]:
    """The lines of a text as `words_of` writes them, longest first, so that none hides a longer one."""
    lines = {" ".join(words_of(line)) for line in text.splitlines()} - {""}
    return tuple(sorted(lines, key=lambda line: (-len(line), line)))


@dataclass(frozen=True)
class WordRules:
    """One language's words. A value; each language has one, made when its module is imported."""

    sounds: frozenset[str]
    """Signs of listening whatever was asked, besides hums, which every language writes by the same rule."""
    agreement: frozenset[str]
    """Words that are signs of listening while the agent tells something, and answers when it has asked."""
    agreement_phrases: tuple[str, ...]
    """Of several words, to the same effect."""
    unfinished: frozenset[str]
    """Words with which a sentence seldom ends."""
    unfinished_phrases: tuple[str, ...]
    """Ends of several words after which more must come (`I would like`)."""
    finished_phrases: tuple[str, ...]
    """Ends of several words that are complete all the same, where the recogniser wrote a full stop (`I think so.`)."""
    may_end: frozenset[str]
    """Those of `unfinished` that do end a sentence, if there is a full stop behind them. Recognisers write one behind
    broken-off speech too, so these are words that end a sentence more often than not."""
    may_end_question: frozenset[str]
    """Those of `unfinished` that only a question mark shows to be the end (`Where is it from?`)."""
    presence: tuple[str, ...]
    """What a caller says to learn whether the agent is still there."""
    invitations: tuple[str, ...]
    """Words by which an agent asks for an answer without a question mark."""
