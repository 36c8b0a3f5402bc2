"""Days and times as a recogniser writes them. Today is Sunday, 22 November 2026."""

from __future__ import annotations

from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.demo.concierge.when import find_when

pytestmark = pytest.mark.pure

TODAY = date(2026, 11, 22)


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("Tomorrow.", date(2026, 11, 23)),
        ("the day after tomorrow", date(2026, 11, 24)),
        ("in three days", date(2026, 11, 25)),
        ("in a week", date(2026, 11, 29)),
        ("this afternoon", date(2026, 11, 22)),
        ("On Tuesday, please.", date(2026, 11, 24)),
        ("NEXT TUESDAY", date(2026, 11, 24)),
        ("sunday", date(2026, 11, 29)),
        ("the fifth", date(2026, 12, 5)),
        ("the 22nd", date(2026, 11, 22)),
        ("the thirty-first", date(2026, 12, 31)),
        ("the second", date(2026, 12, 2)),
        ("the fifth of December", date(2026, 12, 5)),
        ("December 5th", date(2026, 12, 5)),
        ("december twenty fourth", date(2026, 12, 24)),
        ("march 3", date(2027, 3, 3)),
        ("12/24", date(2026, 12, 24)),
        ("February 29th", date(2028, 2, 29)),
    ],
)
def test_a_day_is_found(said: str, day: date) -> None:
    assert find_when(said, TODAY).days == (day,)


@pytest.mark.parametrize(
    ("today", "said", "day"),
    [
        (date(2026, 11, 24), "tuesday", date(2026, 12, 1)),
        (date(2026, 11, 23), "tuesday", date(2026, 11, 24)),
        (date(2026, 11, 23), "next tuesday", date(2026, 12, 1)),
        (date(2027, 1, 31), "the 30th", date(2027, 3, 30)),
    ],
)
def test_a_day_depends_on_today(today: date, said: str, day: date) -> None:
    assert find_when(said, today).days == (day,)


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("ten thirty", time(10, 30)),
        ("10:30", time(10, 30)),
        ("10.30, please.", time(10, 30)),
        ("Tomorrow at 10.30.", time(10, 30)),
        ("1030", time(10, 30)),
        ("half past two", time(14, 30)),
        ("a quarter to four", time(15, 45)),
        ("quarter past nine", time(9, 15)),
        ("ten past eleven", time(11, 10)),
        ("at three", time(15, 0)),
        ("3.30 p.m.", time(15, 30)),
        ("11 a.m.", time(11, 0)),
        ("nine o'clock", time(9, 0)),
        ("Nine.", time(9, 0)),
        ("nine oh five", time(9, 5)),
        ("At noon.", time(12, 0)),
        ("eleven in the morning", time(11, 0)),
        ("8 in the evening", time(20, 0)),
        ("yes, ten is fine", time(10, 0)),
        ("November 24th at 3.30 p.m.", time(15, 30)),
        ("the fifth at nine", time(9, 0)),
        ("sixteen thirty", time(16, 30)),
    ],
)
def test_a_time_is_found(said: str, moment: time) -> None:
    assert find_when(said, TODAY).times == (moment,)


@pytest.mark.parametrize("said", ["Hello.", "wait a second", "two people", "I have three appointments", "to be or not"])
def test_nothing_is_found_where_nothing_is(said: str) -> None:
    found = find_when(said, TODAY)
    assert found.days == ()
    assert found.times == ()


def test_two_days_keep_their_order() -> None:
    found = find_when("Move it from Friday to Tuesday at ten", TODAY)
    assert found.days == (date(2026, 11, 27), date(2026, 11, 24))
    assert found.times == (time(10, 0),)


def test_a_part_of_the_day_is_no_time() -> None:
    found = find_when("tuesday afternoon", TODAY)
    assert (found.part, found.times) == ("afternoon", ())


@given(st.text(max_size=60) | st.text(alphabet="0123456789:. apmonthe", max_size=30))
def test_no_text_breaks_it(text: str) -> None:
    find_when(text, TODAY)
