"""Numbers as German words. Pure."""

from __future__ import annotations

from typing import Final

ONES: Final = (
    *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"),
    *("dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"),
)
_TENS: Final = ("", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
_SCALES: Final = (
    (10**12, "eine Billion", "Billionen"),
    (10**9, "eine Milliarde", "Milliarden"),
    (10**6, "eine Million", "Millionen"),
)
_ORDINALS: Final = {"eins": "erst", "drei": "dritt", "sieben": "siebt", "acht": "acht"}


def cardinal(number: int, one: str = "eins") -> str:
    """`1205` -> `eintausendzweihundertfünf`. `one`: how a one at the end is said (`ein` Euro, `eine` Stunde)."""
    for size, single, many in _SCALES:
        if number >= size:
            count, rest = divmod(number, size)
            words = single if count == 1 else f"{cardinal(count, 'eine')} {many}"
            return f"{words} {cardinal(rest, one)}" if rest else words
    for size, name in ((1000, "tausend"), (100, "hundert")):
        if number >= size:
            count, rest = divmod(number, size)
            return f"{cardinal(count, 'ein')}{name}" + (cardinal(rest, one) if rest else "")
    if number < 20:
        return one if number == 1 else ONES[number]
    tens, ones = divmod(number, 10)
    return f"{'ein' if ones == 1 else ONES[ones]}und{_TENS[tens]}" if ones else _TENS[tens]


def ordinal(number: int, ending: str = "e") -> str:
    """`3` -> `dritte`, with `ending` in its place: `am dritten`, `dritter`."""
    words = cardinal(number)
    if number % 10**6 == 0 and number:
        return f"{words.removesuffix('en').replace('eine ', '').removesuffix('e')}st{ending}"
    rest = number % 100
    if 0 < rest < 20:
        last = ONES[rest]
        return f"{words.removesuffix(last)}{_ORDINALS.get(last, f'{last}t')}{ending}"
    return f"{words}{'t' if number == 0 else 'st'}{ending}"


def year(number: int) -> str:
    """`1999` -> `neunzehnhundertneunundneunzig`, `2026` -> `zweitausendsechsundzwanzig`."""
    if not 1100 <= number < 2000:
        return cardinal(number)
    century, rest = divmod(number, 100)
    return f"{cardinal(century)}hundert" + (cardinal(rest) if rest else "")
