"""Full stops that end no clause in German, Spanish, French and Italian: behind an abbreviation, inside a sentence.

The abbreviations are those that the text normaliser of the language reads. English is in `clauses` itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Final

_WORDS: Final = {"de": "german_words", "es": "spanish_words", "fr": "french_words", "it": "italian_words"}
_ROMAN: Final = re.compile(r"(?<!\w)[IVX]+\.$")
"""`Wilhelm II. war`: an ordinal, which may end a sentence too."""
_LONGEST: Final = 16
"""Characters, more than any of the abbreviations has."""


def goes_on(front: str, following: str, language: str) -> bool:
    """Whether the sentence goes on behind the full stop that `front` ends with (blanks behind it do not matter).

    `following`: what has come of the text behind it. While nothing has, an abbreviation that may end a sentence
    (`usw.`) and a word that is one only beside a number (`art.`) are taken to go on; the next piece decides. False for
    a language without rules.
    """
    if language not in _WORDS:
        return False
    # no sentence of these languages begins with a small letter
    if following[:1].islower():
        return True
    always, beside_number, closing = _ends(language)
    end = front.rstrip()[-_LONGEST:]
    if closing.search(end) or (language == "de" and _ROMAN.search(end)):
        return not following or following[0].isdigit()
    if beside_number.search(end):
        return not following or following[0].isdigit() or re.match(r"[IVX]+\b", following) is not None
    return always.search(end) is not None or (language == "de" and end.endswith("str."))


@cache
def _ends(language: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Patterns for the end of abbreviations: of any, of those that need a number, of those that may end a sentence."""
    words = import_module(f"antiphon.inference_bridge.tts.normalization.{_WORDS[language]}")
    abbreviations = {written for written in words.ABBREVIATIONS if written.endswith(".")} | words.MORE_ABBREVIATIONS
    # the parts of "z. B." end no clause either
    parts = {written.split(" ")[0] for written in abbreviations if " " in written}
    return (
        _pattern((abbreviations - words.NUMBERED_ONLY - words.CLOSING) | parts),
        _pattern(words.NUMBERED_ONLY),
        _pattern(words.CLOSING),
    )


def _pattern(abbreviations: Iterable[str]) -> re.Pattern[str]:
    variants = {variant for each in abbreviations for variant in (each, each[0].upper() + each[1:])}
    written = sorted(variants, key=len, reverse=True)
    alternatives = "|".join(re.escape(each).replace(r"\ ", " ?") for each in written)
    return re.compile(rf"(?<!\w)(?:{alternatives})$")
