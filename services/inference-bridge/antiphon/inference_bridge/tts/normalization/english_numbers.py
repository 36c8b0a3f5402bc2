"""Numbers as American English words. Pure."""

from __future__ import annotations

from typing import Final

_ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS: Final = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES: Final = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS: Final = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def cardinal(number: int) -> str:
    """`1205` -> `one thousand two hundred five`; digit by digit from 10^15 on."""
    if number < 0:
        return f"minus {cardinal(-number)}"
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
    if number >= 10**15:
        return digits(str(number))
    for size, name in _SCALES:
        if number >= size:
            many, rest = divmod(number, size)
            return f"{cardinal(many)} {name}" + (f" {cardinal(rest)}" if rest else "")
    raise AssertionError(number)


def ordinal(number: int) -> str:
    """`22` -> `twenty second`."""
    *front, last = cardinal(number).split()
    regular = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join([*front, _ORDINALS.get(last, regular)])


def digits(text: str) -> str:
    """`0417` -> `zero four one seven`; everything but digits is left out."""
    return " ".join(_ONES[int(c)] for c in text if c.isascii() and c.isdigit())


def year(number: int) -> str:
    """`1999` -> `nineteen ninety nine`, `2005` -> `two thousand five`, `2026` -> `twenty twenty six`."""
    century, rest = divmod(number, 100)
    if not 1100 <= number < 2100 or number // 10 == 200:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred" if century != 20 else "two thousand"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def decades(number: int) -> str:
    """`1990` -> `nineteen nineties`, `80` -> `eighties`, `1900` -> `nineteen hundreds`, `2000` -> `two thousands`."""
    words = cardinal(number) if number < 100 else year(number)
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def decimal(text: str) -> str:
    """`1,234.50` -> `one thousand two hundred thirty four point five zero`."""
    whole, point, fraction = text.replace(",", "").partition(".")
    words = cardinal(int(whole or "0")) if len(whole) <= 15 else digits(whole)
    return f"{words} point {digits(fraction)}" if point and fraction else words


def clock(hour: int, minute: int, half_day: str = "") -> str:
    """A time of day. `half_day` is `A M`, `P M` or empty: `3, 5` -> `three oh five`,

    `3, 0` -> `three o'clock`, `15, 0` -> `fifteen hundred`."""
    if (hour, minute, half_day) in ((0, 0, ""), (24, 0, "")):
        return "midnight"
    if minute:
        words = f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif half_day:
        words = cardinal(hour)
    else:
        words = f"{cardinal(hour)} o'clock" if 0 < hour <= 12 else f"{cardinal(hour)} hundred"
    return f"{words} {half_day}".strip()
