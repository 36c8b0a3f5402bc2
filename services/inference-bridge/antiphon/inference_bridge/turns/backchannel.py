"""Questions about words: are they a backchannel (a sign of listening), complete, an "are you there"? Pure.

The words themselves are data, a module per language in `turns.words`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from antiphon.inference_bridge.languages import Language, ruled
from antiphon.inference_bridge.turns.words.english import ENGLISH
from antiphon.inference_bridge.turns.words.french import FRENCH
from antiphon.inference_bridge.turns.words.german import GERMAN
from antiphon.inference_bridge.turns.words.italian import ITALIAN
from antiphon.inference_bridge.turns.words.rules import WordRules, words_of
from antiphon.inference_bridge.turns.words.spanish import SPANISH

_RULES: Final[Mapping[Language, WordRules]] = {
    "en": ENGLISH,
    "de": GERMAN,
    "es": SPANISH,
    "fr": FRENCH,
    "it": ITALIAN,
}
_NO_RULES: Final = WordRules(frozenset(), frozenset(), (), frozenset(), (), (), frozenset(), frozenset(), (), ())
"""Of a language that only a service by URL has: hums are signs of listening, punctuation says what is complete."""
_HUMMED: Final = re.compile(r"m+h*m*|h+[mu]+h*m*|[uao]+h+[uao]*h*m*|(?:na){2,}")
"""A hum has no spelling: "mhm", "uh-huh", "aha", and what recognisers write for one ("aho", "nana"); not "no"."""
_MAX_WORDS: Final = 4
_MAX_PRESENCE_WORDS: Final = 12
_END_WORDS: Final = 6
"""More than any of the ends that are listed has."""
_TRAILING: Final = (",", "-", "–", "—", "...", "…", ":", ";")
_SENTENCE_ENDS: Final = (".", "?", "!")


def _rules(language: str) -> WordRules:
    found = ruled(language or "en")
    return _RULES[found] if found else _NO_RULES


def _is_sound(word: str, rules: WordRules) -> bool:
    """A sign of listening whatever was asked."""
    return word in rules.sounds or _HUMMED.fullmatch(word) is not None


@cache
def _any_of(listed: tuple[str, ...]) -> re.Pattern[str]:
    """Finds whole words: one of these phrases, the longest that fits."""
    return re.compile(rf"(?<!\S)(?:{'|'.join(map(re.escape, listed)) or '(?!)'})(?!\S)")


def is_backchannel(text: str, asked: bool, language: str = "en") -> bool:
    """Whether `text`, spoken while the agent speaks, only shows that the caller listens.

    `asked`: the agent's words so far ask for an answer (`invites_answer`), so that "yes" is one. `language`: of the
    session, as a tag (BCP 47).
    """
    rules = _rules(language)
    words = words_of(text)
    if len(words) > _MAX_WORDS:
        return False
    if all(_is_sound(word, rules) for word in words):
        return True
    if asked:
        return False
    plain = " ".join(word for word in words if not _is_sound(word, rules))
    left = _any_of(rules.agreement_phrases).sub("", plain)
    return all(word in rules.agreement for word in left.split())


def sounds_complete(text: str, language: str = "en") -> bool:
    """Whether a listener would take `text` for all that the speaker wanted to say.

    For a recogniser that writes punctuation: a sentence that trails off, ends with a comma or with a word that asks for
    more is not complete.
    """
    rules = _rules(language)
    stripped = text.strip().rstrip('"”»)').rstrip()
    words = words_of(stripped)
    if not words or stripped.endswith(_TRAILING):
        return False
    last, ended = words[-1], stripped.endswith(_SENTENCE_ENDS)
    if last.endswith("'") and len(last) > 1 and not ended:
        return False  # elided: "j'", "qu'"
    if len(words) == 1 and last in rules.agreement:
        return True
    if stripped.endswith(("?", "!")) and last in rules.may_end_question:
        return True
    end = " ".join(words[-_END_WORDS:])
    if ended and _ends_with(end, rules.finished_phrases):
        return True
    if _ends_with(end, rules.unfinished_phrases):
        return False
    return last not in rules.unfinished or (ended and last in rules.may_end)


def _ends_with(text: str, listed: tuple[str, ...]) -> bool:
    return any(text == phrase or text.endswith(f" {phrase}") for phrase in listed)


def is_presence_check(text: str, language: str = "en") -> bool:
    """Whether `text` only asks if the agent is still there: "Hello?", "Are you there?".

    To be asked while the caller waits for an answer: at the beginning of a call "Hello." is a greeting.
    """
    rules = _rules(language)
    words = words_of(text)
    if not words or len(words) > _MAX_PRESENCE_WORDS:
        return False
    pattern = _any_of(rules.presence)
    plain = " ".join(words)
    if not pattern.search(plain):
        return False
    left = pattern.sub("", plain).split()
    return len(left) <= _MAX_WORDS and all(_is_sound(word, rules) or word in rules.agreement for word in left)


def invites_answer(text: str, language: str = "en") -> bool:
    """Whether the agent's words ask for an answer: by a question mark, or by words ("Please say yes.")."""
    if any(mark in text for mark in "?？؟"):
        return True
    return _any_of(_rules(language).invitations).search(" ".join(words_of(text))) is not None
