"""Written text to words that can be said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.tts.normalization import speakable
from antiphon.inference_bridge.tts.normalization.english_numbers import cardinal, ordinal

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("See you at 3:30 pm.", "See you at three thirty P M."),
        ("See you at 3:30 p.m.", "See you at three thirty P M."),
        ("At 3:30 p.m. we close.", "At three thirty P M we close."),
        ("It is 10:05 AM", "It is ten oh five A M"),
        ("From 9 AM to 5 PM.", "From nine A M to five P M."),
        ("at 3:00", "at three o'clock"),
        ("at 15:45", "at fifteen forty five"),
        ("at 15:00", "at fifteen hundred"),
        ("Tuesday, November 24th", "Tuesday, November twenty fourth"),
        ("Nov. 3, 2026", "November third, twenty twenty six"),
        ("the 5th of May", "the fifth of May"),
        ("5 May 2005", "fifth of May, two thousand five"),
        ("2026-11-24", "November twenty fourth, twenty twenty six"),
        ("12/25/1999", "December twenty fifth, nineteen ninety nine"),
        ("the 1st, 2nd, 3rd and 21st", "the first, second, third and twenty first"),
        ("$12.50", "twelve dollars and fifty cents"),
        ("$1", "one dollar"),
        ("$0.99", "ninety nine cents"),
        ("£3 million", "three million pounds"),
        ("€1,250.00", "one thousand two hundred fifty euros"),
        ("1,234,567 people", "one million two hundred thirty four thousand five hundred sixty seven people"),
        ("3.14", "three point one four"),
        ("-5 degrees", "minus five degrees"),
        ("45% of 72°F", "forty five percent of seventy two degrees Fahrenheit"),
        ("10 km at 80 km/h", "ten kilometers at eighty kilometers per hour"),
        ("call 555-1234", "call five five five, one two three four"),
        ("(555) 123-4567", "five five five, one two three, four five six seven"),
        ("3-5 days", "three to five days"),
        ("007", "zero zero seven"),
        ("3/4 cup", "three quarters cup"),
        ("Dr. Smith and Mrs. Jones", "Doctor Smith and Missus Jones"),
        ("St. Mary lives on Main St.", "Saint Mary lives on Main Street"),
        ("e.g. this", "for example this"),
        ("the FBI, NASA and the U.S.", "the F B I, NASA and the U S"),
        ("THIS IS A NORMAL SENTENCE", "This is a normal sentence"),
        ("rock & roll", "rock and roll"),
        ("ann@example.com", "ann at example dot com"),
        ("gate B12", "gate B twelve"),
        ("well-known — and “quoted”…", "well known, and quoted."),
        ("24/7", "twenty four seven"),
        ("", ""),
    ],
)
def test_writing_is_said_as_a_person_would(written: str, said: str) -> None:
    assert speakable(written) == said


@given(st.text(max_size=80))
def test_no_text_breaks_it_and_no_digit_is_left(text: str) -> None:
    assert not re.search(r"[0-9]", speakable(text))


@given(st.integers(0, 10**15))
def test_every_number_has_words_and_an_ordinal(number: int) -> None:
    assert re.fullmatch(r"[a-z ]+", cardinal(number))
    assert re.search(r"(?:th|first|second|third)$", ordinal(number))
