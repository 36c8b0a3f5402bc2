"""Written text to speakable text: numbers, times, dates, money and abbreviations become words. Pure.

What comes out holds words, letters (spelled words as single capitals) and the punctuation `, . ! ? ; :`.
The order of the steps matters: each takes away what a later, more general one would misread.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.english_numbers import (
    MONTHS,
    cardinal,
    clock,
    decimal,
    digits,
    ordinal,
    year,
)

_SYMBOLS: Final = {
    "’": "'",
    "‘": "'",
    "“": " ",
    "”": " ",
    '"': " ",
    "…": ". ",
    "—": ", ",
    "–": "-",
    "×": " times ",
    "½": " 1/2",
    "¼": " 1/4",
    "¾": " 3/4",
    "\u00a0": " ",
    "\u202f": " ",
    "*": " ",
    "`": " ",
    "(": ", ",
    ")": ", ",
}
_ABBREVIATIONS: Final = {
    "Mr.": "Mister",
    "Mrs.": "Missus",
    "Ms.": "Miz",
    "Dr.": "Doctor",
    "Prof.": "Professor",
    "Sr.": "Senior",
    "Jr.": "Junior",
    "vs.": "versus",
    "etc.": "et cetera",
    "e.g.": "for example",
    "i.e.": "that is",
    "approx.": "approximately",
    "appt.": "appointment",
    "dept.": "department",
    "min.": "minutes",
    "hrs.": "hours",
    "Ave.": "Avenue",
    "Rd.": "Road",
    "Blvd.": "Boulevard",
    "Inc.": "Incorporated",
    "Ltd.": "Limited",
    **{f"{month[:3]}.": month for month in MONTHS if month not in ("May", "September")},
    "Sept.": "September",
    "Mon.": "Monday",
    "Tue.": "Tuesday",
    "Tues.": "Tuesday",
    "Wed.": "Wednesday",
    "Thu.": "Thursday",
    "Thurs.": "Thursday",
    "Fri.": "Friday",
    "Sat.": "Saturday",
}
_CURRENCIES: Final = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
}
_UNITS: Final = {
    "km/h": "kilometers per hour",
    "mph": "miles per hour",
    "km": "kilometers",
    "cm": "centimeters",
    "mm": "millimeters",
    "kg": "kilograms",
    "mg": "milligrams",
    "ml": "milliliters",
    "lbs": "pounds",
    "lb": "pounds",
    "ft": "feet",
    "oz": "ounces",
    "ms": "milliseconds",
    "kHz": "kilohertz",
    "MHz": "megahertz",
    "GHz": "gigahertz",
    "Hz": "hertz",
    "MB": "megabytes",
    "GB": "gigabytes",
    "TB": "terabytes",
    "°C": "degrees Celsius",
    "°F": "degrees Fahrenheit",
    "°": "degrees",
    "%": "percent",
}
_FRACTIONS: Final = {
    "1/2": "one half",
    "1/3": "one third",
    "2/3": "two thirds",
    "1/4": "one quarter",
    "3/4": "three quarters",
}
_SAID_AS_WORDS: Final = frozenset(
    ("NASA", "NATO", "NATS", "PIN", "SIM", "COVID", "AIDS", "UNESCO", "UNICEF", "LASER", "RADAR", "OPEC")
)
_MONTH: Final = "|".join(MONTHS)
_NUMBER: Final = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_HALF_DAY: Final = r"([AaPp])\.?\s?[Mm]\b\.?"


def _alternatives(words: dict[str, object] | dict[str, str]) -> str:
    return "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))


def _half_day(match: Match[str], group: int) -> str:
    """`A M` or `P M`; the dot of `p.m.` at a sentence's end ends the sentence too."""
    text, rest = match[0], match.string[match.end() :]
    ends = text.endswith(".") and re.match(r"\s*(?:$|[A-Z])", rest) is not None
    return f"{match[group].upper()} M" + ("." if ends else "")


def _time(match: Match[str]) -> str:
    return clock(int(match[1]), int(match[2]), _half_day(match, 3) if match[3] else "")


def _date(month: int, day: int, years: str | None) -> str:
    tail = f", {year(int(years))}" if years else ""
    return f"{MONTHS[month - 1]} {ordinal(day)}{tail}"


def _numeric_date(match: Match[str]) -> str:
    month, day = int(match[1]), int(match[2])
    return _date(month, day, match[3]) if 1 <= month <= 12 and 1 <= day <= 31 else match[0].replace("/", " slash ")


def _iso_date(match: Match[str]) -> str:
    month, day = int(match[2]), int(match[3])
    return _date(month, day, match[1]) if 1 <= month <= 12 and 1 <= day <= 31 else digits(match[0])


def _money(match: Match[str]) -> str:
    one, many, cent, cents = _CURRENCIES[match[1]]
    amount, scale = match[2], match[3]
    if scale:
        return f"{decimal(amount)} {scale} {many}"
    whole, _, part = amount.replace(",", "").partition(".")
    if len(part) not in (0, 2):
        return f"{decimal(amount)} {many}"
    words = [f"{decimal(whole)} {one if int(whole) == 1 else many}"] if int(whole) or not int(part or 0) else []
    if int(part or 0):
        words.append(f"{cardinal(int(part))} {cent if int(part) == 1 else cents}")
    return " and ".join(words)


def _telephone(match: Match[str]) -> str:
    return ", ".join(digits(group) for group in re.findall(r"\d+", match[0]))


def _plain_number(match: Match[str]) -> str:
    text = match[0]
    if text.isdigit():
        if (len(text) > 1 and text[0] == "0") or len(text) > 9:
            return digits(text)
        if len(text) == 4 and 1100 <= int(text) < 2100:
            return year(int(text))
    return decimal(text)


def _capitals(match: Match[str]) -> str:
    word = match[0]
    return word if word in _SAID_AS_WORDS else " ".join(word)


Step = tuple[re.Pattern[str], str | Callable[[Match[str]], str]]
_STEPS: Final[tuple[Step, ...]] = (
    (re.compile(r"\+?(?:\d{1,3}[ .-])?(?:\(?\d{3}\)?[ .-])?\b\d{3}[.-]\d{4}\b"), _telephone),
    (re.compile(_alternatives(_SYMBOLS)), lambda m: _SYMBOLS[m[0]]),
    (re.compile(r"https?://(?:www\.)?"), " "),
    (re.compile(r"(?<=\w)@(?=\w)"), " at "),
    (re.compile(r"(?<=[a-z])\.(?=(?:com|org|net|io|dev|edu|gov|co|uk|de|eu|ai|app|info)\b)"), " dot "),
    (re.compile(rf"(?<![\w.])(?:{_alternatives(_ABBREVIATIONS)})(?=\s|$|,)"), lambda m: _ABBREVIATIONS[m[0]]),
    (re.compile(r"\bSt\.(?=\s+[A-Z])"), "Saint"),
    (re.compile(r"\bSt\."), "Street"),
    (re.compile(r"\bNo\.\s?(?=\d)|#\s?(?=\d)"), "number "),
    (re.compile(rf"\b([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?(?:\s?{_HALF_DAY})?"), _time),
    (re.compile(rf"\b(1[0-2]|0?[1-9])\s?{_HALF_DAY}"), lambda m: clock(int(m[1]), 0, _half_day(m, 2))),
    (re.compile(rf"\b{_HALF_DAY}(?<=\.)"), lambda m: _half_day(m, 1)),
    (re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b"), _iso_date),
    (re.compile(r"\b(\d{1,2})/(\d{1,2})/(\d{4})\b"), _numeric_date),
    (
        re.compile(rf"\b({_MONTH})\s+(\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(\d{{4}}))?\b(?!:)"),
        lambda m: _date(MONTHS.index(m[1]) + 1, int(m[2]), m[3]),
    ),
    (
        re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})(?:,?\s+(\d{{4}}))?\b"),
        lambda m: f"{ordinal(int(m[1]))} of {m[2]}" + (f", {year(int(m[3]))}" if m[3] else ""),
    ),
    (re.compile(rf"([$€£])\s?({_NUMBER})(?:\s+(hundred|thousand|million|billion|trillion)\b)?"), _money),
    (re.compile(r"\b(\d+)(?:st|nd|rd|th)\b"), lambda m: ordinal(int(m[1])) if len(m[1]) < 10 else digits(m[1])),
    (re.compile(rf"({_NUMBER})\s?({_alternatives(_UNITS)})(?![A-Za-z])"), lambda m: f"{m[1]} {_UNITS[m[2]]}"),
    (re.compile(rf"\b(?:{_alternatives(_FRACTIONS)})\b(?!/)"), lambda m: _FRACTIONS[m[0]]),
    (re.compile(r"\b24/7\b"), "twenty four seven"),
    (re.compile(rf"(?<![\w.])[-−]({_NUMBER})"), r" minus \1"),
    (re.compile(r"(?<=\d)\s?-\s?(?=\d)"), " to "),
    (re.compile(rf"{_NUMBER}"), lambda m: f" {_plain_number(m)} "),
    (re.compile(r"\b(?:[A-Za-z]\.){2,}(?=\s|$|,)"), lambda m: " ".join(m[0].replace(".", "").upper())),
    (re.compile(r"(?<![A-Za-z'])[A-Z]{2,5}(?![a-z])(?=\b|s\b)"), _capitals),
    (re.compile(r"&"), " and "),
    (re.compile(r"\+"), " plus "),
    (re.compile(r"="), " equals "),
    (re.compile(r"%"), " percent "),
    (re.compile(r"/"), " slash "),
    (re.compile(r"(?<=\w)-(?=\w)"), " "),
    (re.compile(r"\s-\s"), ", "),
    (re.compile(r"[^\w\s,.!?;:']|_"), " "),
    (re.compile(r"\s+([,.!?;:])"), r"\1"),
    (re.compile(r"[,;:]+(?=[,.!?;:])|^[\s,;:]+"), ""),
    (re.compile(r"\.(?=[.!?])"), ""),
    (re.compile(r"\s+"), " "),
)


def speakable(text: str) -> str:
    """`See you at 3:30 pm on 11/24/2026.` -> `See you at three thirty P M on November twenty fourth, ...`."""
    # A text in capitals is not spelled: capitals are letters only if the rest of the text is not in capitals.
    if text.isupper() and len(text.split()) > 2:
        text = text.capitalize()
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text.strip()
