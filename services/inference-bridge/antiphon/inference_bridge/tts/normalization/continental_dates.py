"""Rules for dates, days of a month, time stamps and times of day, for any `Locale`. Pure.

The day stands in front of the month in all of them; ISO 8601 is the exception that is read as such.
"""

from __future__ import annotations

import calendar
import re
from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule, before
from antiphon.inference_bridge.tts.normalization.common_words import say_letters
from antiphon.inference_bridge.tts.normalization.continental import FREE, Locale, alternatives, full_stop

_DAY: Final = r"(0?[1-9]|[12][0-9]|3[01])"
_MONTH: Final = r"(0?[1-9]|1[0-2])"
_YEAR: Final = r"([0-9]{4}|[0-9]{2})"
_HOUR: Final = r"([01]?[0-9]|2[0-4])"
_MINUTE: Final = r"([0-5][0-9])"
_HALF_DAY: Final = r"(?:[ ]?([AaPp])\.?[ ]?[Mm](?:\.(?=[ ]?[^\s]|$)|(?![\w.])))"
_END: Final = r"(?![0-9])(?![.,:/-][0-9])"


def full_year(text: str) -> int:
    """`26` is 2026 and `87` is 1987; with four digits it stands for itself."""
    return int(text) if len(text) > 2 else int(text) + (2000 if int(text) < 50 else 1900)


def is_date(day: int, month: int) -> bool:
    """The day exists in that month, in a leap year at least."""
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(2000, month)[1]


def date_rules(locale: Locale, preposition: str) -> list[Rule]:
    """Dates in figures. `preposition`: a pattern for words behind which `24/11` without a year is a date."""

    context = re.compile(rf"(?<!\w)(?:{preposition})\s$", re.IGNORECASE)

    def iso(match: Match[str]) -> str | None:
        year, month, day, hour, minute, seconds, zone = match.groups()
        if not is_date(int(day), int(month)):
            return None
        words = locale.date(int(day), int(month), int(year), before(match))
        if hour is None:
            return words
        time = _say_time(hour, minute, seconds, "", locale)
        if zone in ("Z", "+00:00", "-00:00"):
            return f"{words}, {time} {say_letters('UTC', locale.words)}"
        if not zone:
            return f"{words}, {time}"
        sign = locale.plus if zone[0] == "+" else locale.minus
        offset = locale.count(int(zone[1:3]), "")
        minutes = f" {locale.count(int(zone[-2:]), '')}" if zone[-2:] != "00" else ""
        return f"{words}, {time} {say_letters('UTC', locale.words)} {sign} {offset}{minutes}"

    def figures(match: Match[str]) -> str | None:
        day, month, year = int(match[1]), int(match[2]), match[3]
        if not is_date(day, month):
            # 11/24/2026 can only be the American order
            if is_date(month, day) and len(year) == 4:
                return locale.date(month, day, int(year), before(match))
            return None
        return locale.date(day, month, full_year(year), before(match))

    def without_year(match: Match[str]) -> str | None:
        day, month = int(match[1]), int(match[2] or match[3])
        return f"{locale.date(day, month, None, before(match))}{full_stop(match)}" if is_date(day, month) else None

    def behind_preposition(match: Match[str]) -> str | None:
        return without_year(match) if context.search(before(match)) else None

    return [
        Rule(
            "time stamp",
            rf"(?<![\w.-])([0-9]{{4}})-(0[1-9]|1[0-2])-([0-3][0-9])(?:[T ]([01][0-9]|2[0-4]):{_MINUTE}"
            rf"(?::([0-5][0-9])(?:[.,][0-9]{{1,9}})?)?(?:[ ]?(Z|[+-][0-9]{{2}}:?[0-9]{{2}}))?)?(?![\w-])",
            iso,
            "1",
        ),
        Rule("date", rf"(?<![\w./-]){_figure()}/{_figure()}/{_YEAR}{_END}", figures, "1"),
        Rule("date", rf"(?<![\w./-]){_figure()}\.[ ]?{_figure()}\.[ ]?{_YEAR}{_END}", figures, "1"),
        Rule("date", rf"(?<![\w./-]){_figure()}-{_figure()}-{_YEAR}{_END}", figures, "1"),
        Rule("date", rf"(?<=[ ]){_DAY}(?:/{_MONTH}|\.{_MONTH}\.?){_END}", behind_preposition, "1"),
    ]


def _figure() -> str:
    return r"([0-3]?[0-9])"


def time_rules(locale: Locale, sign: str, dotted: str) -> list[Rule]:
    """Times of day. `sign`: a pattern for what follows a time (`Uhr`); `dotted`: for words in front of `15.30`."""

    context = re.compile(rf"(?<!\w)(?:{dotted})\s$", re.IGNORECASE)

    def time(match: Match[str]) -> str | None:
        hour, minute, seconds, half_day, unit = match.groups()
        if half_day and int(hour) > 12:
            return None
        words = _say_time(hour, minute, seconds, unit or "", locale)
        stop = full_stop(match)
        return f"{words} {_half_day(hour, half_day, locale)}{stop}" if half_day else f"{words}{stop}"

    def whole_hour(match: Match[str]) -> str | None:
        hour, half_day = match.groups()
        if not 1 <= int(hour) <= 12:
            return None
        return f"{locale.clock(int(hour), 0, '')} {_half_day(hour, half_day, locale)}{full_stop(match)}"

    def signed(match: Match[str]) -> str | None:
        hour, minute, unit = match.groups()
        if int(hour) > 24:
            return None
        return locale.clock(int(hour), int(minute or 0), unit) + full_stop(match)

    def behind_word(match: Match[str]) -> str | None:
        return signed(match) if context.search(before(match)) else None

    def hours(match: Match[str]) -> str | None:
        first, last, unit = match.groups()
        if int(first) > 24 or int(last) > 24:
            return None
        return f"{locale.count(int(first), '')} {locale.to} {locale.clock(int(last), 0, unit)}{full_stop(match)}"

    def from_to(match: Match[str]) -> str:
        first, minute, last, other, unit = match.groups()
        times = (locale.clock(int(first), int(minute or 0), ""), locale.clock(int(last), int(other or 0), unit or ""))
        return f" {locale.to} ".join(times) + full_stop(match)

    return [
        Rule(
            "times",
            rf"{FREE}{_HOUR}[:]{_MINUTE}[ ]?[-–][ ]?{_HOUR}[:]{_MINUTE}(?![0-9:])(?:[ ]?({sign})(?!\w))?",
            from_to,
            "1",
        ),
        Rule(
            "times",
            rf"{FREE}{_HOUR}[.]{_MINUTE}[ ]?[-–][ ]?{_HOUR}[.]{_MINUTE}(?![0-9:])[ ]?({sign})(?!\w)",
            from_to,
            "1",
        ),
        Rule(
            "times",
            rf"{FREE}{_HOUR}[ ]?h[ ]?{_MINUTE}?[ ]?[-–][ ]?{_HOUR}[ ]?(?:h[ ]?{_MINUTE}?|(?={sign}))(?![0-9])(\b)",
            from_to,
            "1",
        ),
        Rule("hours", rf"{FREE}([0-9]{{1,2}})[ ]?[-–][ ]?([0-9]{{1,2}})[ ]?({sign})(?!\w)", hours, "1"),
        Rule(
            "time",
            rf"{FREE}{_HOUR}:{_MINUTE}(?::([0-5][0-9]))?(?![0-9:]){_HALF_DAY}?(?:[ ]?({sign})(?!\w))?",
            time,
            "1",
        ),
        Rule("time", rf"{FREE}([0-9]{{1,2}}){_HALF_DAY}", whole_hour, "1"),
        Rule("time", rf"{FREE}{_HOUR}(?:[.]{_MINUTE})?[ ]?({sign})(?!\w)", signed, "1"),
        Rule("time", rf"(?<=[ ]){_HOUR}[.,]{_MINUTE}{_END}(?![ ]?h)(\b)", behind_word, "1"),
        Rule("time", rf"{FREE}{_HOUR}[ ]?(?:h|H)[ ]?{_MINUTE}(?![0-9]|[ ]?min)(\b)", signed, "1"),
    ]


def _say_time(hour: str, minute: str, seconds: str | None, unit: str, locale: Locale) -> str:
    words = locale.clock(int(hour), int(minute), unit)
    if not seconds or not int(seconds):
        return words
    noun = locale.seconds
    name = noun.one if int(seconds) == 1 else noun.many
    return f"{words} {locale.and_word} {locale.count(int(seconds), noun.gender)} {name}"


def _half_day(hour: str, half_day: str, locale: Locale) -> str:
    morning, afternoon, evening = locale.half_days
    if half_day in "aA":
        return morning
    return evening if 7 <= int(hour) < 12 else afternoon


def month_pattern(locale: Locale) -> str:
    """A pattern for the name or abbreviation of a month; compare in lower case with `locale.month_names`."""
    names = [name for word in locale.month_names for name in (word, word.capitalize())]
    return alternatives(tuple(dict.fromkeys(names)))
