"""The words of a language that the rules shared by all languages need, and the plainest ways to say things with them.

Each language has one `Words`. This file holds no rule and no word of any language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

_PARTS: Final = re.compile(r"[0-9]+|[^\W\d_]+|[^\w\s]|_|\s+")
_CAMEL: Final = re.compile(r"(?<=[a-zß-öø-ÿ])(?=[A-ZÀ-Þ])")
_VOWELS: Final = frozenset("aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýÿœ")


@dataclass(frozen=True)
class Words:
    """How a language says digits, letters, signs and what cannot be said. Made once per language, read-only."""

    digits: tuple[str, ...]
    """Zero to nine."""
    cardinal: Callable[[int], str]
    """Any number of at most 15 digits, also 0; larger ones are said digit by digit."""
    signs: Mapping[str, str]
    """The names of signs in addresses, paths and codes: at least `@ . - _ / : ? = & # % + ~ *` and the backslash.

    A sign that is missing is left out."""
    point: str
    """Between the numbers of a version: "point"."""
    version: str
    """In front of the numbers of `v2.1`: "version"."""
    scripts: Mapping[str, str]
    """What is said for text in a script that the voice cannot speak: the first word of the Unicode names of its
    letters in lower case (`cjk`, `arabic`, `thai` ...) -> "some text in Chinese". The key "" is for all others."""
    emoji: Mapping[str, str]
    """Names of emoji without variation selectors and skin tones; `flag` is for flags, "" for all others."""
    digit_context: frozenset[str] = frozenset()
    """Words in lower case after which a number is said digit by digit: code, PIN, order ..."""
    address_words: Mapping[str, str] = field(default_factory=dict)
    """Parts of addresses in lower case that are said in their own way: `www` -> `W W W`."""
    emoji_name: Callable[[str], str] | None = None
    """Names an emoji that `emoji` does not have; without it `emoji[""]` is said."""
    letters: Mapping[str, str] = field(default_factory=dict)
    """Capital letter -> what the voice must read to say its name; a capital that is missing stands for itself."""


def say_digits(text: str, words: Words) -> str:
    """`04-17` -> `zero four, one seven`: digit by digit, a comma between groups; everything else is left out."""
    groups = re.findall(r"[0-9]+", text)
    between = " " if all(len(group) == 1 for group in groups) else ", "
    return between.join(" ".join(words.digits[int(d)] for d in group) for group in groups)


def say_number(text: str, words: Words) -> str:
    """ASCII digits as a cardinal; digit by digit with a zero in front or with more than 15 digits."""
    if len(text) > 15 or (len(text) > 1 and text[0] == "0"):
        return say_digits(text, words)
    return words.cardinal(int(text))


def say_letters(text: str, words: Words) -> str:
    """`usb` -> `U S B`; everything but letters is left out."""
    return " ".join(words.letters.get(c.upper(), c.upper()) for c in text if c.isalpha())


def spell(text: str, words: Words) -> str:
    """`A7-x` -> `A seven dash X`: each letter, digit and sign by its name, a comma for a blank."""
    out: list[str] = []
    for part in _PARTS.findall(text):
        if part[0] in "0123456789":
            out.append(say_digits(part, words))
        elif part.isspace():
            out.append(",")
        elif part.isalpha():
            out.append(say_letters(part, words))
        else:
            out.append(words.signs.get(part, ""))
    return " ".join(filter(None, out)).replace(" ,", ",")


def say_address(text: str, words: Words) -> str:
    """`anna_lee2@example.co.uk` -> `anna underscore lee two at example dot co dot U K`.

    Letters that make a syllable stay a word, others are spelled, as is a country's ending; digits one by one.
    """
    out: list[str] = []
    parts = _PARTS.findall(text.lower() if text.isupper() else _CAMEL.sub(" ", text))
    for index, part in enumerate(parts):
        if part[0] in "0123456789":
            out.append(say_digits(part, words))
        elif part.isalpha():
            ending = len(part) == 2 and index > 0 and parts[index - 1] == "." and parts[index + 1 : index + 2] != ["@"]
            out.append(_address_part(part, ending, words))
        elif not part.isspace():
            out.append(words.signs.get(part, ""))
    return " ".join(filter(None, out))


def _address_part(part: str, ending: bool, words: Words) -> str:
    known = words.address_words.get(part.lower())
    if known is not None:
        return known
    letters = part.lower()
    if len(part) == 1 or ending or not _VOWELS.intersection(letters):
        return say_letters(part, words)
    if part.isupper() and len(part) < 4:
        return say_letters(part, words)
    return part
