"""Days and times in the caller's words, as a recogniser writes them. Pure.

"next tuesday at half past two", "Tomorrow, 10.30.", "the 5th at nine", "november twenty fourth, 3:30 p.m.":
words become numbers first, then days are found and taken out, then times are found in what is left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Final, Literal

from antiphon.demo.concierge.numbers import MONTHS, WEEKDAYS, cardinal, ordinal

_CARDINALS: Final = {cardinal(n): n for n in range(60)}
_ORDINALS: Final = {ordinal(n): n for n in range(1, 32)}
_MONTHS: Final = {m.lower(): i for i, m in enumerate(MONTHS, 1)} | {m[:3].lower(): i for i, m in enumerate(MONTHS, 1)}
_WEEKDAYS: Final = {d.lower(): i for i, d in enumerate(WEEKDAYS)}
_MONTH: Final = "|".join(sorted(_MONTHS, key=len, reverse=True))
_WEEKDAY: Final = "|".join(_WEEKDAYS)
_TENS: Final = "twenty|thirty|forty|fifty"
_UNITS: Final = "one|two|three|four|five|six|seven|eight|nine"
_UNIT_ORDINALS: Final = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth"

_DAY_PATTERNS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?P<after_tomorrow>(?:the )?day after tomorrow)\b",
        r"\b(?P<tomorrow>tomorrow)\b",
        r"\b(?P<today>today|this (?:morning|afternoon|evening)|tonight)\b",
        r"\bin (?P<days>\d{1,2}|a) days?(?: time)?\b",
        r"\bin (?P<weeks>a|\d) weeks?\b",
        rf"\b(?:(?P<which>next|this|coming|on|my) )?(?:the )?(?P<weekday>{_WEEKDAY})s?\b",
        rf"\b(?P<month>{_MONTH})\.? (?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)",
        rf"\b(?:the )?(?P<day_of>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?(?P<of_month>{_MONTH})\b",
        r"\b(?P<us_month>1[0-2]|0?[1-9])/(?P<us_day>3[01]|[12]\d|0?[1-9])\b",
        r"\b(?:the )?(?P<nth>\d{1,2})(?:st|nd|rd|th)\b",
    )
)
_OTHER_DAYS: Final = re.compile(
    r"\b(?:weekend|(?:next|this|the other|in a|in \d+) (?:week|month|months|year)|fortnight|easter|christmas|yesterday|"
    r"the day before|end of (?:the )?(?:week|month)|(?:or|not) (?:on )?#+|#+ or #+)"
)
"""What names a day that is not found, or leaves a choice."""
_HALF: Final = r"(?: ?(?P<half>am|pm|in the morning|in the afternoon|in the evening))?"
_MINUTES: Final = r"(?P<m_words>half|quarter|a quarter|\d{1,2})(?: minutes?)?"
_NO_HOURS: Final = r"(?! (?:days?|weeks?|people|persons?|minutes?|appointments?))"
_BEFORE_BARE: Final = r"(?:no |yes |ok |okay |um |uh |maybe |let's say )*"
_AFTER_BARE: Final = r"(?: please| is fine| works| would be (?:good|great|fine))*"
_TIME_PATTERNS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?P<h>\d{{1,2}}):(?P<m>[0-5]\d){_HALF}\b",
        rf"\b{_MINUTES} (?P<side>past|after|to|before) (?P<h>\d{{1,2}}){_HALF}\b",
        r"\b(?P<noon>noon|midday)\b",
        rf"\b(?P<h>\d{{1,2}}) (?P<m>[0-5]\d){_HALF}\b",
        rf"\b(?P<h>1[0-2]|0?[1-9])(?P<m>[0-5]\d){_HALF}\b",
        r"\b(?P<h>\d{1,2}) ?(?P<half>am|pm|in the morning|in the afternoon|in the evening)\b",
        rf"\b(?P<h>\d{{1,2}}) o'?clock{_HALF}\b",
        rf"\b(?:at|by|around|about|for|to|from|or|make it) (?P<h>\d{{1,2}})\b{_NO_HOURS}",
        rf"^{_BEFORE_BARE}(?P<h>\d{{1,2}}){_AFTER_BARE}$",
    )
)


@dataclass(frozen=True)
class When:
    """The days and times in a text; what the text does not name is empty. A value."""

    days: tuple[date, ...] = ()
    """In the order of the text: "from tuesday to friday" has two."""
    times: tuple[time, ...] = ()
    part: Literal["", "morning", "afternoon"] = ""
    unsure: bool = False
    """The words could mean another day as well, or name one that was not understood: ask before anything is done."""


def plain(text: str) -> str:
    """Lower case, numbers as digits, no punctuation but what belongs to a time.

    `Ten thirty, on the twenty-fifth!` -> `10 30 on the 25th`
    """
    text = text.lower().replace("’", "'")
    text = re.sub(r"\b([ap])\.? ?m\b\.?", r"\1m", text)
    text = re.sub(r"(\d)[.](?=[0-5]\d\b)", r"\1:", text)
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)
    text = re.sub(r"[^a-z0-9:'/ ]|(?<!\d):|:(?!\d)", " ", text)
    text = re.sub(rf"\b({_TENS}) ({_UNIT_ORDINALS})\b", lambda m: _nth(_ORDINALS[m[0]]), text)
    text = re.sub(rf"\b({_TENS}) ({_UNITS})\b", lambda m: str(_CARDINALS[m[0]]), text)
    # "wait a second" is no date; "the second of may" and "may second" are
    text = re.sub(rf"(?<=\bthe )second\b|(?<=\bthe )2 nd\b|\bsecond(?= of (?:{_MONTH}))", "2nd", text)
    text = re.sub(rf"\b({_MONTH}) second\b", r"\1 2nd", text)
    words = [_nth(_ORDINALS[w]) if w in _ORDINALS and w != "second" else w for w in text.split()]
    words = [str(_CARDINALS[w]) if w in _CARDINALS else w for w in words]
    text = " ".join(words)
    return re.sub(r"\b(\d{1,2}) (?:oh|o|0) ?([1-9])\b", r"\1 0\2", text)


def find_when(text: str, today: date) -> When:
    """Days and times in `text`, which may be as it was recognised."""
    rest = plain(text)
    found: list[tuple[int, date]] = []
    unsure = False
    for pattern in _DAY_PATTERNS:
        for match in pattern.finditer(rest):
            day = _day(match, today)
            if day is not None:
                found.append((match.start(), day))
                unsure = unsure or _could_be_another(match, day, today)
        rest = pattern.sub(lambda m: "#" * len(m[0]) if _day(m, today) else m[0], rest)
    days = tuple(dict.fromkeys(day for _, day in sorted(found)))
    unsure = unsure or bool(_OTHER_DAYS.search(rest))
    part: Literal["", "morning", "afternoon"] = ""
    if re.search(r"\bmorning\b", text.lower()):
        part = "morning"
    elif re.search(r"\b(?:afternoon|evening|tonight)\b", text.lower()):
        part = "afternoon"
    times: list[tuple[int, time]] = []
    rest = re.sub(r"#+", "#", rest).strip(" #") if "#" in rest else rest
    rest = rest.replace("#", ",")
    for pattern in _TIME_PATTERNS:
        for match in pattern.finditer(rest):
            moment = _time(match, part)
            times += [(match.start(), moment)] if moment else []
        rest = pattern.sub(lambda m: "#" * len(m[0]), rest)
    return When(days, tuple(dict.fromkeys(t for _, t in sorted(times))), part, unsure)


def _could_be_another(match: re.Match[str], day: date, today: date) -> bool:
    """Whether people mean different days by these words: "next Friday" on a Monday, "5/6", "Sunday" on a Sunday."""
    said = {name: value for name, value in match.groupdict().items() if value}
    if "weekday" in said:
        weekday = _WEEKDAYS[said["weekday"]]
        return weekday == today.weekday() or (said.get("which") == "next" and weekday > today.weekday())
    if "us_month" in said:
        return int(said["us_day"]) <= 12 and int(said["us_day"]) != int(said["us_month"])
    return "nth" in said and (day.year - today.year) * 12 + day.month - today.month > 1


def _nth(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _day(match: re.Match[str], today: date) -> date | None:
    """The day that a match means, seen from `today`; None if there is no such day."""
    said = {name: value for name, value in match.groupdict().items() if value}
    if "after_tomorrow" in said:
        return today + timedelta(days=2)
    if "tomorrow" in said:
        return today + timedelta(days=1)
    if "today" in said:
        return today
    if "days" in said:
        return today + timedelta(days=1 if said["days"] == "a" else int(said["days"]))
    if "weeks" in said:
        return today + timedelta(weeks=1 if said["weeks"] == "a" else int(said["weeks"]))
    if "weekday" in said:
        return _weekday(_WEEKDAYS[said["weekday"]], said.get("which", ""), today)
    if "nth" in said:
        return _next_nth(int(said["nth"]), today)
    month = said.get("month") or said.get("of_month")
    number = _MONTHS[month] if month else int(said["us_month"])
    day = int(said.get("day") or said.get("day_of") or said["us_day"])
    return _coming(number, day, today)


def _weekday(weekday: int, which: str, today: date) -> date:
    """`tuesday`: the coming one, never today. `next tuesday`: the one in the next calendar week."""
    if which == "next":
        monday = today - timedelta(days=today.weekday())
        return monday + timedelta(days=7 + weekday)
    return today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)


def _next_nth(day: int, today: date) -> date | None:
    """`the 5th`: of this month, or of the next one that has it."""
    for ahead in range(3):
        month = today.month - 1 + ahead
        try:
            candidate = date(today.year + month // 12, month % 12 + 1, day)
        except ValueError:
            continue
        if candidate >= today:
            return candidate
    return None


def _coming(month: int, day: int, today: date) -> date | None:
    for year in range(today.year, today.year + 5):
        try:
            candidate = date(year, month, day)
        except ValueError:
            continue
        if candidate >= today:
            return candidate
    return None


def _time(match: re.Match[str], part: str) -> time | None:
    said = {name: value for name, value in match.groupdict().items() if value}
    if "noon" in said:
        return time(12, 0)
    hour, minute = int(said["h"]), int(said.get("m", 0))
    if words := said.get("m_words"):
        minute = 30 if words == "half" else 15 if "quarter" in words else int(words)
        if said["side"] in ("to", "before"):
            hour, minute = hour - 1, 60 - minute
    if not (0 <= hour <= 23 and 0 <= minute <= 59):
        return None
    half = said.get("half", "")
    if hour <= 12:
        if half in ("pm", "in the afternoon", "in the evening"):
            hour = hour % 12 + 12
        elif half in ("am", "in the morning"):
            hour %= 12
        elif 1 <= hour <= 6 or (part == "afternoon" and hour < 12):
            hour += 12  # the clinic is closed at four in the morning
    return time(hour, minute)
