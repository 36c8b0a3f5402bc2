"""How the words of a turn end: complete, broken off, in a dictation, in a list. Tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.turns.dictation import Ending, ending
from antiphon.inference_bridge.turns.spoken_digits import digits, letters

pytestmark = pytest.mark.pure

ENDINGS = """
en dictation  My number is five five five
en dictation  My number is 5-5-5.
en dictation  My number is 555.
en dictation  My number is 555, 01
en dictation  It's 555-01.
en dictation  zero one two three
en dictation  My order number is eight three,
en dictation  The code is 47.
en dictation  my number is oh seven nine
en dictation  Double five.
en dictation  +44 20
en dictation  4711.
en dictation  M-I-L-L
en dictation  M, I, L.
en dictation  My name is Schmidt, S-C-H.
en dictation  That's B-A-K-E-R.
en dictation  B as in Berlin.
en dictation  My e-mail is anna dot lee at
en dictation  My email is john dot
en complete   At ten.
en complete   Ten thirty.
en complete   At ten thirty.
en complete   Tomorrow at 10:30.
en complete   At 3 pm.
en complete   On the 5th.
en complete   I'd like two.
en complete   For four people.
en complete   Room 204.
en complete   Flight 417.
en complete   It was in 1987.
en complete   It costs 500.
en complete   OK.
en complete   anna.lee@example.com
en complete   anna dot lee at example dot com.
en complete   I would like to book an appointment.
en complete   No, Tuesday.
en complete   Yes, please.
en complete   I need milk, eggs, and bread.
en incomplete I would like to
en incomplete I am calling because,
en incomplete Hello, my name is Anna, and
en incomplete Well, I think, um
en incomplete Well, the problem is that.
en incomplete I think I need.
en complete   Yes, I am.
en complete   I am sure about that.
en list       I need milk, eggs.
en list       A large pizza, a salad,
en list       Monday, Tuesday, Thursday.
de dictation  Meine Nummer ist 0151
de dictation  Meine Nummer ist null eins fünf eins
de dictation  M-Ü-L.
de complete   Um zehn.
de complete   Um halb elf.
de complete   Zimmer 204.
de complete   Ich möchte einen Termin.
es dictation  Mi número es 555.
es dictation  seis uno dos
es dictation  G-A-R.
es complete   A las diez.
es complete   Quiero reservar una cita.
es complete   Es para dos.
fr dictation  Mon numéro est le 06 12
fr dictation  zéro six douze
fr complete   À dix heures.
fr complete   Je voudrais un rendez-vous.
it dictation  Il mio numero è 333
it dictation  tre tre tre
it complete   Alle dieci.
it complete   Vorrei prenotare una visita.
"""


@pytest.mark.parametrize("row", [line for line in ENDINGS.splitlines() if line])
def test_how_words_end(row: str) -> None:
    language, how, text = row.split(maxsplit=2)
    assert ending(text, language) is Ending(how)


@pytest.mark.parametrize("text", ["", "...", "?", " - "])
def test_no_words_are_nothing(text: str) -> None:
    assert ending(text) is Ending.NOTHING


@pytest.mark.parametrize(
    ("language", "text", "count"),
    [
        ("en", "5-5-5", 3),
        ("en", "555 01", 5),
        ("en", "five five five", 3),
        ("en", "double five", 2),
        ("en", "triple seven one", 4),
        ("en", "twenty three", 2),
        ("en", "twenty 3", 3),
        ("en", "nineteen eighty four", 4),
        ("en", "I would like to", 0),
        ("de", "dreiundzwanzig", 2),
        ("de", "null eins fünf", 3),
        ("es", "doble cero siete", 3),
        ("fr", "zéro six douze", 4),
        ("it", "ventitré", 2),
        ("it", "doppio zero", 2),
    ],
)
def test_digits_are_counted_as_they_were_dictated(language: str, text: str, count: int) -> None:
    assert digits(text, language) == count  # type: ignore[arg-type]


def test_letters_are_counted_however_they_are_written() -> None:
    assert letters("M-I-L-L-E-R") == letters("M, I, L, L, E, R.") == letters("MILLER") == 6
    assert letters("Okay, my TV is broken") == 0


@given(st.text(max_size=80), st.sampled_from(["en", "de", "es", "fr", "it", "nl", ""]))
def test_any_text_is_read_without_an_error(text: str, language: str) -> None:
    assert isinstance(ending(text, language), Ending)
