"""The clinic's opening hours and free slots, and how dates and times are spoken. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from typing import Final

from antiphon.demo.concierge.numbers import MONTHS, WEEKDAYS

OPENS: Final = time(9, 0)
LUNCH: Final = (time(12, 0), time(13, 0))
CLOSES: Final = time(17, 0)
SLOT: Final = timedelta(minutes=30)
BOOKED_BY_OTHERS: Final = {0: time(9, 0), 2: time(14, 0), 4: time(16, 0)}
"""Weekday -> a slot that is always taken."""
HOURS: Final = "Monday to Friday, from 9 AM to 5 PM"

Slot = datetime


def is_open_on(day: date) -> bool:
    """Monday to Friday."""
    return day.weekday() < 5


def slots_on(day: date) -> list[Slot]:
    """All slots of a day's opening hours."""
    slots = []
    moment = datetime.combine(day, OPENS)
    while moment.time() < CLOSES and is_open_on(day):
        if not LUNCH[0] <= moment.time() < LUNCH[1]:
            slots.append(moment)
        moment += SLOT
    return slots


def free_on(day: date, taken: Collection[Slot], now: datetime, part: str = "") -> list[Slot]:
    """What can still be booked on a day; `part`: only its `morning` or `afternoon`."""
    return [
        slot
        for slot in slots_on(day)
        if slot > now
        and slot not in taken
        and BOOKED_BY_OTHERS.get(day.weekday()) != slot.time()
        and (not part or (slot.hour < 12) == (part == "morning"))
    ]


def nearest_free(wanted: Slot, taken: Collection[Slot], now: datetime) -> Slot | None:
    """The free slot of that day that is closest to the wanted one; the earlier of two."""
    return min(free_on(wanted.date(), taken, now), key=lambda slot: abs(slot - wanted), default=None)


def next_free(taken: Collection[Slot], now: datetime) -> Slot:
    """The first free slot from now on."""
    day = now.date()
    while not (free := free_on(day, taken, now)):
        day += timedelta(days=1)
    return free[0]


def say_time(moment: time) -> str:
    """`10:30 AM`, `2 PM`."""
    hour = moment.hour % 12 or 12
    half = "AM" if moment.hour < 12 else "PM"
    return f"{hour}:{moment.minute:02} {half}" if moment.minute else f"{hour} {half}"


def say_day(day: date, today: date) -> str:
    """`tomorrow, Tuesday, November 24th`."""
    suffix = "th" if 10 <= day.day <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    named = f"{WEEKDAYS[day.weekday()]}, {MONTHS[day.month - 1]} {day.day}{suffix}"
    near = {0: "today, ", 1: "tomorrow, "}.get((day - today).days, "")
    return near + named


def say_slot(slot: Slot, today: date) -> str:
    """`tomorrow, Tuesday, November 24th at 9 AM`."""
    return f"{say_day(slot.date(), today)} at {say_time(slot.time())}"


def listed(items: list[str], joiner: str = "and") -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {joiner} {items[-1]}"
