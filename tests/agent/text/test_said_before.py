"""What an answer repeats of a beginning that was spoken already is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.agent.text.said_before import SaidBefore

pytestmark = pytest.mark.pure


def spoken(said: str, *deltas: str) -> str:
    before = SaidBefore(said)
    return "".join(map(before.push, deltas))


def test_the_rest_is_spoken_where_the_answer_is_the_same() -> None:
    assert spoken("We have tables", "We have ", "tab", "les at six.") == " at six."


def test_blanks_do_not_count() -> None:
    assert spoken("Certainly.On Monday", "Certainly. ", "On  Monday", " at ten.") == " at ten."


def test_nothing_is_spoken_twice_where_the_answer_ends_early() -> None:
    assert spoken("We have tables at six", "We have tables") == ""


def test_a_sentence_that_goes_another_way_is_spoken_whole() -> None:
    assert spoken("Yes. We have six", "Yes. We ", "have seven.") == "We have seven."
    assert spoken("Of course", "Certainly.") == "Certainly."
    assert spoken("We have six", "We have seven.", " Or eight.") == "We have seven. Or eight."


def test_audio_with_words_that_were_spoken_is_left_out() -> None:
    before = SaidBefore("Welcome. We have")
    assert before.repeats("Welcome.")
    assert before.push("We have six.") == " six."
    assert not before.repeats("Welcome.")


@given(st.text(), st.lists(st.text()))
def test_behind_its_beginning_no_letter_is_lost(said: str, deltas: list[str]) -> None:
    rest = spoken(said, said, *deltas)
    assert "".join(rest.split()) == "".join("".join(deltas).split())
