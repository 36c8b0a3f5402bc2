"""Names of days and months, and numbers as words: what callers say and recognisers write. Pure."""

from __future__ import annotations

from typing import Final

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SMALL: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty"}
_IRREGULAR: Final = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip


def cardinal(number: int) -> str:
    """0 to 59 as words: `twenty four`."""
    if number < len(_SMALL):
        return _SMALL[number]
    tens, ones = number // 10 * 10, number % 10
    return f"{_TENS[tens]} {_SMALL[ones]}" if ones else _TENS[tens]


def ordinal(number: int) -> str:
    """1 to 59 as words: `twenty fourth`."""
    first, _, last = cardinal(number).rpartition(" ")
    usual = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return f"{first} {_IRREGULAR.get(last, usual)}".strip()
