"""The words of a streamed clause: each once, in order, and near where it is spoken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.tts.clause_words import ClauseWords

pytestmark = pytest.mark.pure


@given(
    st.text("abc d", min_size=1, max_size=80),
    st.lists(st.integers(0, 20_000), max_size=20),
)
def test_each_word_comes_once_and_in_order(clause: str, pieces: list[int]) -> None:
    words = ClauseWords()
    words.begin(clause)
    dealt = [word for samples in pieces for word in words.piece(samples)]
    assert [*dealt, *words.rest(480)] == clause.split()


def test_a_second_clause_is_dealt_by_the_pace_of_the_first() -> None:
    words = ClauseWords()
    words.begin("one two three four")
    words.rest(19 * 3000)  # twice as slow as expected
    words.begin("one two three four")
    assert words.piece(4 * 3000) == ["one"]
    assert words.piece(4 * 3000) == ["two"]
    assert words.rest(11 * 3000) == ["three", "four"]


def test_what_broke_off_says_only_what_it_had() -> None:
    words = ClauseWords()
    words.begin("one two three four")
    words.piece(4 * 1500)
    assert words.rest(480, whole=False) == []
