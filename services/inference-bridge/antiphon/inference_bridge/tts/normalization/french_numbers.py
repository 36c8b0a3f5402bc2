"""Numbers as French words. Pure."""

from __future__ import annotations

from typing import Final

ONES: Final = (
    *("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze"),
    *("treize", "quatorze", "quinze", "seize", "dix-sept", "dix-huit", "dix-neuf"),
)
_TENS: Final = ("", "", "vingt", "trente", "quarante", "cinquante", "soixante", "soixante", "quatre-vingt")
_SCALES: Final = ((10**12, "billion"), (10**9, "milliard"), (10**6, "million"))
_ORDINALS: Final = {"un": "unième", "une": "unième", "cinq": "cinquième", "neuf": "neuvième"}


def cardinal(number: int, one: str = "un") -> str:
    """`1205` -> `mille deux cent cinq`. `one`: `une` where the number counts something feminine."""
    for size, name in _SCALES:
        if number >= size:
            count, rest = divmod(number, size)
            words = f"{cardinal(count)} {name}{'s' if count > 1 else ''}"
            return f"{words} {cardinal(rest, one)}" if rest else words
    if number >= 1000:
        thousands, rest = divmod(number, 1000)
        # "quatre-vingts" and "cents" lose their s in front of mille
        front = "" if thousands == 1 else f"{_without_plural(cardinal(thousands))} "
        return f"{front}mille" + (f" {cardinal(rest, one)}" if rest else "")
    if number >= 100:
        hundreds, rest = divmod(number, 100)
        words = "cent" if hundreds == 1 else f"{ONES[hundreds]} cent"
        return f"{words} {cardinal(rest, one)}" if rest else words + ("s" if hundreds > 1 else "")
    if number < 20:
        return one if number == 1 else ONES[number]
    if number == 80:
        return "quatre-vingts"
    tens, ones = divmod(number, 10)
    if tens in (7, 9):
        tens, ones = tens - 1, ones + 10
    if not ones:
        return _TENS[tens]
    joint = " et " if ones in (1, 11) and tens < 8 else "-"
    return f"{_TENS[tens]}{joint}{cardinal(ones, one)}"


def _without_plural(words: str) -> str:
    return words[:-1] if words.endswith(("cents", "vingts")) else words


def ordinal(number: int, first: str = "premier") -> str:
    """`3` -> `troisième`; `first` is said for 1 (`première`)."""
    if number == 1:
        return first
    words = cardinal(number).removesuffix("s") if number % 100 in (0, 80) else cardinal(number)
    at = max(words.rfind(" "), words.rfind("-")) + 1
    front, last = words[:at], words[at:]
    return front + _ORDINALS.get(last, f"{last.removesuffix('e')}ième")
