"""The frame of the languages that write `1.234,56`: what each must bring, and how numbers with nouns are said. Pure.

German, Spanish, French and Italian write numbers, money, dates and telephone numbers in nearly the same forms. The
forms are in `continental_quantities`, `continental_dates`, `continental_codes` and `continental_words`; a `Locale`
holds the words and the grammar of one language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common_words import Words, say_digits

NUMBER: Final = (
    r"(?:[0-9]{1,3}(?:(?:[ ][0-9]{3}){1,5}(?![0-9])|(?:\.[0-9]{3}){1,5}(?![0-9])|(?:'[0-9]{3}){1,5}(?![0-9])"
    r"|(?:,[0-9]{2,3}){1,5},[0-9]{3}(?![0-9])|,[0-9]{3}(?=\.[0-9]{1,2}(?![0-9.])))(?:[.,][0-9]{1,6}(?![0-9]))?"
    r"|[0-9]+(?:[.,][0-9]+)?)"
)
"""A pattern for a number with its groups and decimals; it must not begin behind a digit."""
FREE: Final = r"(?<!\w)(?<![0-9][.,/:'])(?<!\w-)"
"""In front of a number that belongs to nothing on its left."""


@dataclass(frozen=True)
class Noun:
    """Something counted, in its two forms. `gender`: `m`, `f`, or empty where a number in front does not agree."""

    one: str
    many: str
    gender: str = "m"


@dataclass(frozen=True)
class Locale:
    """The words and the grammar of one language. Made once per language, read-only."""

    words: Words
    count: Callable[[int, str], str]
    """A cardinal; the gender of what it counts: `m`, `f`, or empty for a number that counts nothing."""
    comma: str
    minus: str
    plus: str
    to: str
    """Between the ends of a range."""
    per: str
    """Of `€/kg`."""
    math: Mapping[str, str]
    """The signs of arithmetic, `<=` and `>=` for smaller and greater."""
    power: str
    """Of `10^3`."""
    ratio: str
    """Between the numbers of `4:1`."""
    times: str
    """Of `3 x 4`."""
    number_word: str
    """Said for `#` and `No.` in front of digits."""
    of: Callable[[str], str]
    """Joins a million to what it counts: `euros` -> `d'euros`."""
    cents: str
    """Joins `20 Euro` and the number of cents: `con`."""
    currencies: Mapping[str, tuple[Noun, Noun | None]]
    """Sign or code -> currency and its hundredth."""
    magnitudes: Mapping[str, Noun]
    """`Mio.` -> million; the letter k is known to all."""
    thousand_signs: tuple[str, ...]
    """Behind a number: a thousand times as much."""
    units: Mapping[str, Noun]
    months: tuple[str, ...]
    month_names: Mapping[str, int]
    """Names and abbreviations (with their full stop) in lower case -> 1 to 12."""
    date: Callable[[int, int, int | None, str], str]
    """Day, month, year or None, the text in front."""
    clock: Callable[[int, int, str], str]
    """Hour, minute, and the sign behind it, if any (`Uhr`, `h`)."""
    seconds: Noun
    and_word: str
    weekdays: Mapping[str, str]
    """Abbreviations without their full stop -> names; read as such in front of a dash or another day only."""
    half_days: tuple[str, str, str]
    """Said behind a time in the morning, in the afternoon, in the evening, of twelve hours."""
    gender_of: Callable[[str], str]
    """The gender of the noun that the text behind a number begins with; empty if it begins with none."""
    telephones: tuple[str, ...]
    """Patterns of national telephone numbers, the surest first."""
    telephone: Callable[[str], str]
    """Says a telephone number as written."""
    code_words: str
    """A pattern for words in lower case of which one of the five in front of digits makes them a code: `pin`."""
    numbered: str
    """A pattern for words in lower case right in front of digits that make them a number of something: `flight`."""
    linking: str
    """A pattern for words that may stand between these and the digits: `is`, `no.`."""
    counted: str
    """A pattern for what follows digits that count something, even if it looks like the name of a town."""
    fraction: Callable[[int, int, int], str]
    """Whole part or 0, numerator, denominator."""
    half: Callable[[int, str], str | None]
    """Whole part or 0, and the noun behind a half; None if the noun does not matter."""
    year: Callable[[int], str]
    version_words: str
    """A pattern for words in front of `2.10` that is no amount: `version`, `chapter`."""
    abbreviations: Mapping[str, str]
    """With their full stops, as written in mid-sentence."""
    numbered_only: frozenset[str]
    """Those abbreviations that are also words: they are read as abbreviations beside a number only."""
    closing: frozenset[str]
    """Those abbreviations behind which a capital begins a new sentence (`usw.`)."""
    said_as_words: frozenset[str]
    """Capitals that are a word, not letters."""
    spelled: frozenset[str]
    """Capitals that look like a word and are spelled."""
    phrases: Mapping[str, str]
    """Acronyms that are said in other words."""
    number_is_one_below_two: bool = False
    """1,5 takes the singular, as in French."""
    decimals_as_number: bool = True
    """3,14 is said `comma fourteen`, not `comma one four`."""


def parsed(text: str, *, money: bool = False) -> tuple[str, str, str]:
    """`1.234,5` -> (`1234`, `,`, `5`): the whole part, the decimal mark, the decimals. Money has no three decimals."""
    digits = text.replace(" ", "").replace("'", "")
    marks = [c for c in digits if c in ".,"]
    if not marks:
        return digits, "", ""
    whole, mark, decimals = digits.rpartition(marks[-1])
    if len(set(marks)) == 1:
        # nobody writes ten as 10,000, but many models write ten thousand so
        grouped = mark == "." or money or decimals == "000"
        if len(marks) > 1 or (grouped and len(decimals) == 3 and len(whole) < 4 and whole[0] != "0"):
            return digits.replace(mark, ""), "", ""
    return re.sub("[.,]", "", whole), mark, decimals


def say_cardinal(digits: str, locale: Locale, gender: str = "") -> str:
    """ASCII digits as a cardinal; digit by digit with a zero in front or with more than 15 digits."""
    if len(digits) > 15 or (len(digits) > 1 and digits[0] == "0"):
        return say_digits(digits, locale.words)
    return locale.count(int(digits), gender)


def say_amount(text: str, locale: Locale, gender: str = "", *, money: bool = False) -> str:
    """A number as written, with its decimals: `3,05` -> `three comma zero five`."""
    whole, mark, decimals = parsed(text, money=money)
    if not mark:
        return say_cardinal(whole, locale, gender)
    joint = locale.words.point if mark == "." and not money else locale.comma
    return f"{say_cardinal(whole, locale)} {joint} {_say_decimals(decimals, locale)}"


def _say_decimals(decimals: str, locale: Locale) -> str:
    rest = decimals.lstrip("0")
    if not locale.decimals_as_number or not 0 < len(rest) <= 2 or len(decimals) > 3:
        return say_digits(decimals, locale.words)
    zeros = [locale.words.digits[0]] * (len(decimals) - len(rest))
    return " ".join([*zeros, locale.count(int(rest), "")])


def is_one(text: str, locale: Locale) -> bool:
    """A number as written takes the singular."""
    whole, mark, _ = parsed(text)
    if locale.number_is_one_below_two:
        return whole.lstrip("0") in ("", "1")
    return not mark and whole == "1"


def say_counted(text: str, noun: Noun, locale: Locale, *, money: bool = False) -> str:
    """`1,5` and litre -> `one comma five litres`."""
    return f"{say_amount(text, locale, noun.gender, money=money)} {noun.one if is_one(text, locale) else noun.many}"


def say_sign(sign: str | None, locale: Locale) -> str:
    """A sign in front of a number, with a blank behind it."""
    return {"-": f"{locale.minus} ", "+": f"{locale.plus} ", "±": f"{locale.plus} {locale.minus} "}.get(sign or "", "")


def alternatives(words: Mapping[str, object] | frozenset[str] | tuple[str, ...]) -> str:
    """A pattern for one of these, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def word_set(text: str) -> frozenset[str]:
    """Words, separated by blanks."""
    return frozenset(text.split())


def full_stop(match: Match[str], *, closing: bool = False) -> str:
    """The full stop that an abbreviation shares with its sentence: at the end of a line, or, if `closing`, before a
    capital."""
    if not match[0].endswith("."):
        return ""
    rest = match.string[match.end() : match.end() + 8]
    return "." if re.match(r"[\"')]{0,3}(?:\s*$|\s*\n" + (r"|\s+[A-ZÀ-Þ]" if closing else "") + ")", rest) else ""


def roman(text: str) -> int | None:
    """`XIV` -> 14; None if it is no numeral in its usual form."""
    match = _ROMAN.fullmatch(text)
    if not text or match is None:
        return None
    values = [_ROMAN_VALUES[c] for c in text]
    return sum(-v if v < max(values[i + 1 :], default=0) else v for i, v in enumerate(values))


_ROMAN: Final = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES: Final = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
