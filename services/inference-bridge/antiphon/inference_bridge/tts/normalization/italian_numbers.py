"""Numbers as Italian words. Pure."""

from __future__ import annotations

from typing import Final

ONES: Final = (
    *("zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove", "dieci", "undici", "dodici"),
    *("tredici", "quattordici", "quindici", "sedici", "diciassette", "diciotto", "diciannove"),
)
_TENS: Final = (*("", "", "venti", "trenta", "quaranta", "cinquanta", "sessanta", "settanta", "ottanta", "novanta"),)
_SCALES: Final = (
    (10**12, "un bilione", "bilioni"),
    (10**9, "un miliardo", "miliardi"),
    (10**6, "un milione", "milioni"),
)
_ORDINALS: Final = (
    *("", "primo", "secondo", "terzo", "quarto", "quinto", "sesto", "settimo", "ottavo", "nono", "decimo"),
)


def cardinal(number: int, one: str = "uno") -> str:
    """`1205` -> `milleduecentocinque`. `one`: how a lone one is said (`un` euro, `una` lira)."""
    for size, single, many in _SCALES:
        if number >= size:
            count, rest = divmod(number, size)
            words = single if count == 1 else f"{cardinal(count)} {many}"
            return f"{words} {cardinal(rest)}" if rest else words
    if number == 1:
        return one
    words = _below_a_million(number)
    # the accent is written on a tre that ends a longer word
    return f"{words[:-3]}tré" if words.endswith("tre") and number > 3 else words


def _below_a_million(number: int) -> str:
    if number >= 1000:
        thousands, rest = divmod(number, 1000)
        words = "mille" if thousands == 1 else f"{_below_a_million(thousands)}mila"
        return words + (_below_a_million(rest) if rest else "")
    if number >= 100:
        hundreds, rest = divmod(number, 100)
        words = "cento" if hundreds == 1 else f"{ONES[hundreds]}cento"
        tail = _below_a_million(rest) if rest else ""
        # centotto, centottanta: the o of cento falls in front of otto and ottanta
        return f"{words[:-1] if tail.startswith('ott') else words}{tail}"
    if number < 20:
        return ONES[number]
    tens, ones = divmod(number, 10)
    words = _TENS[tens][:-1] if ones in (1, 8) else _TENS[tens]
    return words + (ONES[ones] if ones else "")


def ordinal(number: int, ending: str = "o") -> str:
    """`3` -> `terzo`, `21` -> `ventunesimo`; `ending`: `a`, `i`, `e` for the other forms."""
    if number <= 10:
        return f"{_ORDINALS[number][:-1]}{ending}" if number else cardinal(0)
    words = cardinal(number).replace("tré", "tre")
    if words.endswith("mila"):
        words = words[:-1] + "l"
    elif words.endswith("mille") or not words.endswith(("tre", "sei")) or number % 100 in (13, 16):
        words = words[:-1]
    return f"{words}esim{ending}"
