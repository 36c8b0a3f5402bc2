"""Digits, letters and the signs between them in a transcript, as callers dictate them. Pure; words by language.

Recognisers write a dictated number in many ways: "5-5-5", "555", "five five five", "double five". `digits` counts what
was said, whichever way it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from antiphon.inference_bridge.languages import Language


@dataclass(frozen=True)
class Digits:
    """The words of a language for numbers that are dictated, and for what stands between them. A value."""

    ones: frozenset[str]
    """Zero to nine, with what callers say for zero."""
    pairs: frozenset[str]
    """Ten to ninety-nine in one word: two digits. "Twenty three" is a pair too: the one behind it adds nothing."""
    tens: frozenset[str]
    """Those of `pairs` that take a one behind them."""
    repeated: dict[str, int]
    """ "Double five" is two digits."""
    signs: frozenset[str]
    """Said inside addresses and numbers: "at", "dot", "dash"."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


DIGITS: Final[dict[Language, Digits]] = {
    "en": Digits(
        ones=_set("zero oh one two three four five six seven eight nine nought"),
        pairs=_set(
            "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty "
            "sixty seventy eighty ninety"
        ),
        tens=_set("twenty thirty forty fifty sixty seventy eighty ninety"),
        repeated={"double": 2, "triple": 3},
        signs=_set("at dot dash hyphen underscore slash plus point hash"),
    ),
    "de": Digits(
        ones=_set("null eins ein zwei zwo drei vier fünf sechs sieben acht neun"),
        pairs=_set(
            "zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn zwanzig dreißig dreissig "
            "vierzig fünfzig sechzig siebzig achtzig neunzig"
        ),
        tens=_set(""),
        repeated={"doppel": 2, "zweimal": 2, "dreimal": 3},
        signs=_set("at ät punkt strich bindestrich minus unterstrich schrägstrich plus raute klammeraffe"),
    ),
    "es": Digits(
        ones=_set("cero uno una dos tres cuatro cinco seis siete ocho nueve"),
        pairs=_set(
            "diez once doce trece catorce quince dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós "
            "veintitrés veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve treinta cuarenta "
            "cincuenta sesenta setenta ochenta noventa"
        ),
        tens=_set("treinta cuarenta cincuenta sesenta setenta ochenta noventa"),
        repeated={"doble": 2, "triple": 3},
        signs=_set("arroba punto guion guión subrayado barra más"),
    ),
    "fr": Digits(
        ones=_set("zéro un une deux trois quatre cinq six sept huit neuf"),
        pairs=_set(
            "dix onze douze treize quatorze quinze seize vingt trente quarante cinquante soixante septante "
            "huitante nonante"
        ),
        tens=_set("vingt trente quarante cinquante soixante septante huitante nonante"),
        repeated={"double": 2, "triple": 3},
        signs=_set("arobase point tiret souligné slash plus"),
    ),
    "it": Digits(
        ones=_set("zero uno una due tre quattro cinque sei sette otto nove"),
        pairs=_set(
            "dieci undici dodici tredici quattordici quindici sedici diciassette diciotto diciannove venti trenta "
            "quaranta cinquanta sessanta settanta ottanta novanta"
        ),
        tens=_set("venti trenta quaranta cinquanta sessanta settanta ottanta novanta"),
        repeated={"doppio": 2, "doppia": 2, "triplo": 3},
        signs=_set("chiocciola punto trattino sottolineato barra più"),
    ),
}
_GERMAN_PAIR: Final = re.compile(
    r"(?:ein|zwei|drei|vier|fünf|sechs|sieben|acht|neun)und(?:zwan|drei|vier|fünf|sech|sieb|acht|neun)(?:zig|ßig|ssig)"
)
_ITALIAN_PAIR: Final = re.compile(
    r"(?:vent|trent|quarant|cinquant|sessant|settant|ottant|novant)[aei]?(?:uno|due|tré|tre|quattro|cinque|sei|sette|otto|nove)"
)
_TOKENS: Final = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)?|[@_/.,:;?!+#-]")
_ACRONYMS: Final = _set("ok okay am pm a.m p.m tv usa uk eu dvd cd pc atm gps")


def tokens(text: str) -> list[str]:
    """Numbers, words and single signs, in the writing of `text`."""
    return _TOKENS.findall(text)


def count(token: str, language: Language) -> int:
    """How many digits a token is: 3 for "555", 1 for "five", 2 for "twenty"; 0 if it is no number."""
    if token.isdigit():
        return len(token)
    words, lower = DIGITS[language], token.lower()
    if lower in words.ones:
        return 1
    if lower in words.pairs or _GERMAN_PAIR.fullmatch(lower) or _ITALIAN_PAIR.fullmatch(lower):
        return 2
    return 0


def digits(text: str, language: Language) -> int:
    """How many digits were dictated in `text`."""
    words, total, factor, after_ten = DIGITS[language], 0, 1, False
    for token in tokens(text):
        lower = token.lower()
        if lower in words.repeated:
            factor = words.repeated[lower]
            continue
        number = count(token, language)
        if after_ten and number == 1 and not token.isdigit():
            number = 0  # the three of "twenty three"
        total += number * (factor if number == 1 else 1)
        if token.isalnum():
            after_ten, factor = lower in words.tens, 1
    return total


def is_letter(token: str) -> bool:
    """A letter that is spelled: "B", not the words "a" and "I", which are no letters by themselves."""
    return len(token) == 1 and token.isalpha() and token.isupper()


def letters(text: str) -> int:
    """How many letters were spelled in `text`: those of "M-I-L", "M I L" and "MIL"."""
    total = 0
    for token in tokens(text):
        if is_letter(token):
            total += 1
        elif len(token) > 1 and token.isalpha() and token.isupper() and token.lower() not in _ACRONYMS:
            total += len(token)
    return total
