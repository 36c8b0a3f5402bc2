"""Rules of American English for times of day, dates, years and decades."""

from __future__ import annotations

import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, after, before
from antiphon.inference_bridge.tts.normalization.common_words import say_digits
from antiphon.inference_bridge.tts.normalization.english_numbers import MONTHS, cardinal, clock, decades, ordinal, year
from antiphon.inference_bridge.tts.normalization.english_words import MONTH_OF, WEEKDAY_OF, WORDS

_MONTH: Final = rf"(?:{'|'.join(sorted(MONTH_OF, key=len, reverse=True))})"
_WEEKDAY: Final = rf"(?:{'|'.join(sorted(WEEKDAY_OF, key=len, reverse=True))})"
_HALF: Final = r"(?:[AaPp]\.?[ ]?[Mm]\b\.?)"
_HOUR: Final = r"(?:[01]?\d|2[0-4])"
_MINUTE: Final = r"[0-5]\d"
_TH: Final = r"(?:st|nd|rd|th)"
_YEAR: Final = r"[12]\d{3}"
_DATE_WORDS: Final = re.compile(r"\b(?:on|by|until|till|before|after|due|since|from|date|dated|the)\s$", re.IGNORECASE)


def _half(match: Match[str], written: str | None) -> str:
    """`A M` or `P M`; the dot of `p.m.` at a sentence's end ends the sentence too."""
    if not written:
        return ""
    ends = written.endswith(".") and re.match(r"\s*(?:$|[A-Z])", after(match)) is not None
    return f"{written[0].upper()} M" + ("." if ends else "")


def _clock(match: Match[str]) -> str | None:
    """`15:30`, `3:30pm`, `9:05:30`."""
    hour, minute = int(match[1]), int(match[2])
    if hour == 24 and minute:
        return None
    said = clock(hour, minute, "" if match[3] else _half(match, match[4]))
    if match[3] and int(match[3]):
        said += f" and {cardinal(int(match[3]))} {'second' if int(match[3]) == 1 else 'seconds'}"
    return f"{said} {_half(match, match[4])}" if match[3] and match[4] else said


def _dotted_clock(match: Match[str]) -> str:
    return clock(int(match[1]), int(match[2]), _half(match, match[3]))


def _full_hour(match: Match[str]) -> str | None:
    return clock(int(match[1]), 0, _half(match, match[2])) if 1 <= int(match[1]) <= 12 else None


def _military(match: Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    front = f"oh {cardinal(hour)}" if hour < 10 else cardinal(hour)
    back = "hundred" if not minute else f"oh {cardinal(minute)}" if minute < 10 else cardinal(minute)
    return f"{front} {back} hours"


def _hours_and_minutes(match: Match[str]) -> str:
    named = (("h", "hour"), ("m", "minute"), ("s", "second"))
    said = []
    for number, unit in re.findall(r"(\d+) ?([hms])", match[0]):
        name = dict(named)[unit]
        said.append(f"{cardinal(int(number))} {name}{'' if int(number) == 1 else 's'}")
    return " ".join(said)


def _valid(month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= 31


def _date(month: int, day: int, years: str | None) -> str:
    tail = f", {_year(years)}" if years else ""
    return f"{MONTHS[month - 1]} {ordinal(day)}{tail}"


def _year(text: str) -> str:
    number = int(text)
    if len(text) == 2:
        number += 2000 if number < 50 else 1900
    return year(number)


def _iso(match: Match[str]) -> str | None:
    """A date of ISO 8601, with the time and the zone."""
    month, day = int(match[2]), int(match[3])
    if not _valid(month, day):
        return None
    said = _date(month, day, match[1])
    if match[4]:
        said += f", at {clock(int(match[4]), int(match[5]))}"
        if match[6] and int(match[6]):
            said += f" and {cardinal(int(match[6]))} {'second' if int(match[6]) == 1 else 'seconds'}"
    if match[7] == "Z":
        said += " U T C"
    elif match[7]:
        hours, minutes = int(match[7][1:3]), int(match[7][-2:])
        sign = "plus" if match[7][0] == "+" else "minus"
        said += f" U T C {sign} {cardinal(hours)}" + (f" {cardinal(minutes)}" if minutes else "")
    return said


def _numeric(match: Match[str]) -> str | None:
    """`11/24/2026`, and `24/11/2026` where only that order is possible."""
    first, second = int(match[1]), int(match[2])
    month, day = (first, second) if first <= 12 else (second, first)
    return _date(month, day, match[3]) if _valid(month, day) else None


def _dotted(match: Match[str]) -> str | None:
    """`24.11.2026`: with dots the day is in front."""
    day, month = int(match[1]), int(match[2])
    return _date(month, day, match[3]) if _valid(month, day) else None


def _without_year(match: Match[str]) -> str | None:
    """`on 11/24`: without a word in front it may be a fraction."""
    first, second = int(match[1]), int(match[2])
    month, day = (first, second) if first <= 12 else (second, first)
    if not _valid(month, day) or not _DATE_WORDS.search(before(match)) or f"{first}/{second}" in ("24/7", "9/11"):
        return None
    if re.match(r" (?:of|cup|inch|mile|share|majority)", after(match)) or (second in (2, 3, 4, 8) and first < second):
        return None
    return _date(month, day, None)


def _month_day(match: Match[str]) -> str | None:
    day = int(match[2])
    if not 1 <= day <= 31:
        return None
    month = MONTHS[MONTH_OF[match[1]] - 1]
    to = f" to {ordinal(int(match[3]))}" if match[3] else ""
    tail = f", {_year(match[4])}" if match[4] else ""
    return f"{month} {ordinal(day)}{to}{tail}"


def _day_month(match: Match[str]) -> str | None:
    if not 1 <= int(match[1]) <= 31:
        return None
    month = MONTHS[MONTH_OF[match[3]] - 1]
    to = f" to {ordinal(int(match[2]))}" if match[2] else ""
    return f"{ordinal(int(match[1]))}{to} of {month}" + (f", {year(int(match[4]))}" if match[4] else "")


def _month_year(match: Match[str]) -> str:
    return f"{MONTHS[MONTH_OF[match[1]] - 1]} {_year(match[2])}"


def _month_range(match: Match[str]) -> str:
    return f"{MONTHS[MONTH_OF[match[1]] - 1]} to {MONTHS[MONTH_OF[match[2]] - 1]}"


def _weekdays(match: Match[str]) -> str:
    first = WEEKDAY_OF.get(match[1], match[1])
    return f"{first} to {WEEKDAY_OF.get(match[2], match[2])}"


def _decade(match: Match[str]) -> str | None:
    if len(match[1]) == 2:
        return decades(int(match[1])) if match[1][1] == "0" and int(match[1]) >= 20 else None
    return decades(int(match[1])) if match[1][-1] == "0" else None


def _years(match: Match[str]) -> str | None:
    """`2024-2026`, `2024/25`."""
    first, second = int(match[1]), match[2]
    if len(second) == 2:
        if int(second) != (first + 1) % 100:
            return None
        return f"{year(first)} to {'oh ' if second[0] == '0' else ''}{cardinal(int(second))}"
    return f"{year(first)} to {year(int(second))}" if first < int(second) else None


def _short_year(match: Match[str]) -> str:
    number = int(match[1])
    return f"oh {cardinal(number)}" if number < 10 else cardinal(number)


def _emergency(match: Match[str]) -> str:
    """`9-1-1`, and a formation like `4-4-2`."""
    return say_digits(match[0].replace("-", ""), WORDS)


def date_rules() -> list[Rule]:
    """To be put in front of codes and amounts."""
    return [
        Rule(
            "iso",
            rf"(?<![\w.-])({_YEAR})-(\d{{2}})-(\d{{2}})(?:[T ](\d{{2}}):(\d{{2}})(?::(\d{{2}})(?:[.,]\d{{1,9}})?)?"
            r" ?(Z|[+-]\d{2}:?\d{2})?)?(?![\w-])",
            _iso,
            "1",
        ),
        Rule("iso", rf"(?<![\w./])({_YEAR})/(\d{{1,2}})/(\d{{1,2}})()()()()(?![\w/])", _iso, "1"),
        Rule("date", rf"(?<![\w./])(\d{{1,2}})[/](\d{{1,2}})[/]({_YEAR}|\d{{2}})(?![\w/])", _numeric, "1"),
        Rule("date", rf"(?<![\w.-])(\d{{1,2}})-(\d{{1,2}})-({_YEAR})(?![\w-])", _numeric, "1"),
        Rule("date", rf"(?<![\w.])(\d{{1,2}})\.(\d{{1,2}})\.({_YEAR})(?![\w]|\.\d)", _dotted, "1"),
        Rule("date", r"(?<![\w./$€£])(\d{1,2})/(\d{1,2})(?![\w/%]|[.,]\d)", _without_year, "1"),
        Rule(
            "date",
            rf"(?<!\w)({_MONTH})\.? (\d{{1,2}}){_TH}?(?: ?- ?(\d{{1,2}}){_TH}?(?!\d))?"
            rf"(?:,? ({_YEAR})(?![\d:,]|\.\d)|,? '(\d{{2}})\b)?(?![\d:%]|[.,]\d| ?(?:[AaPp]\.?[Mm]\b))",
            _month_day,
            "a",
        ),
        Rule(
            "date",
            rf"(?<![\w.,/:])(\d{{1,2}}){_TH}?(?: ?- ?(\d{{1,2}}){_TH}?)? ?(?:of )?({_MONTH})(?!\w)\.?"
            rf"(?:,? ({_YEAR})(?![\d:]|[.,]\d))?",
            _day_month,
            "1",
        ),
        Rule("date", rf"(?<!\w)({_MONTH})\.?,? (?:of )?'?({_YEAR}|(?<=')\d{{2}})(?![\w:]|[.,]\d)", _month_year, "a"),
        Rule("date", rf"(?<!\w)({_MONTH})\.? ?- ?({_MONTH})(?!\w)\.?", _month_range, "a"),
        Rule(
            "weekday",
            rf"(?<!\w)({_WEEKDAY})\.? ?- ?({_WEEKDAY})(?!\w)\.?",
            _weekdays,
            "a",
        ),
        Rule(
            "weekday",
            rf"(?<!\w)({_WEEKDAY})(?=,? (?:{_MONTH}(?!\w)|\d{{1,2}}(?::|{_TH}|[ap]m| {_MONTH})))",
            lambda m: WEEKDAY_OF[m[1]],
            "a",
        ),
        Rule("weekday", r"(?<=\w)day-(?=\w{2,6}day)", lambda m: "day to", "a"),
        Rule(
            "time",
            rf"(?<![\w.:])({_HOUR}):({_MINUTE})(?::({_MINUTE})(?:\.\d{{1,9}})?)?(?![\d:])(?:[ ]?({_HALF}))?",
            _clock,
            "1",
        ),
        Rule("time", rf"(?<![\w.:])({_HOUR})[.h]({_MINUTE}) ?({_HALF})", _dotted_clock, "1"),
        Rule("time", rf"(?<![\w.:,])(\d{{1,2}})[ ]?({_HALF})", _full_hour, "1"),
        Rule("time", r"(?<!\w)([01]\d|2[0-3])([0-5]\d) ?(?:hours|hrs|h)\b", _military, "1"),
        Rule("time", r"(?<![\w.,])\d{1,3} ?h ?\d{1,2} ?m(?: ?\d{1,2} ?s)?(?!\w)", _hours_and_minutes, "1"),
        Rule("time", r"(?<![\w.,])\d{1,3} ?m ?\d{1,2} ?s(?!\w)", _hours_and_minutes, "1"),
        Rule("half", rf"(?<=\d )({_HALF})|(?<!\w)([AaPp]\.[Mm]\.)", lambda m: _half(m, m[1] or m[2]), "a"),
        Rule("decade", r"(?<![\w.,])'?((?:[12]\d)?\d0)'?s(?!\w)", _decade, "1."),
        Rule("years", rf"(?<![\w.,/-])({_YEAR}) ?[-/] ?({_YEAR}|\d{{2}})(?![\w/-]|[.,]\d)", _years, "1"),
        Rule("year", r"(?<!\w)'(\d{2})(?![\w'\"])", _short_year, "."),
        Rule(
            "emergency", r"(?<![\w-])\d(?:-\d){2,9}(?![\w-])", lambda m: say_digits(m[0], WORDS).replace(",", ""), "1"
        ),
    ]
