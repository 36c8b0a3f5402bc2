"""Numbers as Spanish words. Pure."""

from __future__ import annotations

from typing import Final

ONES: Final = (
    *("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez", "once", "doce"),
    *("trece", "catorce", "quince", "dieciséis", "diecisiete", "dieciocho", "diecinueve", "veinte", "veintiuno"),
    *("veintidós", "veintitrés", "veinticuatro", "veinticinco", "veintiséis", "veintisiete", "veintiocho"),
    "veintinueve",
)
_TENS: Final = ("", "", "", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa")
_HUNDREDS: Final = (
    *("", "ciento", "doscientos", "trescientos", "cuatrocientos", "quinientos", "seiscientos", "setecientos"),
    *("ochocientos", "novecientos"),
)
_SCALES: Final = ((10**12, "un billón", "billones"), (10**6, "un millón", "millones"))
_ORDINALS: Final = (
    *("", "primero", "segundo", "tercero", "cuarto", "quinto", "sexto", "séptimo", "octavo", "noveno"),
    *("décimo", "undécimo", "duodécimo"),
)
_ORDINAL_TENS: Final = (
    *("", "décimo", "vigésimo", "trigésimo", "cuadragésimo", "quincuagésimo", "sexagésimo", "septuagésimo"),
    *("octogésimo", "nonagésimo"),
)


def cardinal(number: int, one: str = "uno") -> str:
    """`1205` -> `mil doscientos cinco`. `one`: how a one at the end is said (`un` euro, `una` hora); hundreds agree."""
    for size, single, many in _SCALES:
        if number >= size:
            count, rest = divmod(number, size)
            words = single if count == 1 else f"{cardinal(count, 'un')} {many}"
            return f"{words} {cardinal(rest, one)}" if rest else words
    if number >= 1000:
        thousands, rest = divmod(number, 1000)
        words = "mil" if thousands == 1 else f"{cardinal(thousands, 'una' if one == 'una' else 'un')} mil"
        return f"{words} {cardinal(rest, one)}" if rest else words
    if number == 100:
        return "cien"
    if number > 100:
        hundreds, rest = divmod(number, 100)
        words = _HUNDREDS[hundreds]
        if one == "una" and hundreds > 1:
            words = f"{words[:-2]}as"
        return f"{words} {cardinal(rest, one)}" if rest else words
    if number == 1:
        return one
    if number == 21:
        return {"un": "veintiún", "una": "veintiuna"}.get(one, "veintiuno")
    if number < 30:
        return ONES[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens]} y {cardinal(ones, one)}" if ones else _TENS[tens]


def ordinal(number: int, ending: str = "o") -> str:
    """`3` -> `tercero`; `ending` `a` for `tercera`, empty for `tercer` in front of a noun. A cardinal from 100 on."""
    if not 0 < number < 100:
        return cardinal(number)
    tens, ones = divmod(number, 10)
    words = _ORDINALS[number] if number <= 12 else f"{_ORDINAL_TENS[tens]} {_ORDINALS[ones]}".strip()
    if not ending:
        return words[:-1] if words.endswith(("primero", "tercero")) else words
    return " ".join(f"{word[:-1]}{ending}" for word in words.split())
