"""A reply cut into clauses that are spoken one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.tts.clauses import MAX_CLAUSE, ClauseSplitter


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Sure, I can do that. Which day, please?", ["Sure,", "I can do that.", "Which day, please?"]),
        ("Done. It is at 10:30 AM, on the 3.5th floor.", ["Done.", "It is at 10:30 AM, on the 3.5th floor."]),
        ("Dr. Smith is in. He waits.", ["Dr. Smith is in.", "He waits."]),
        ("No end", ["No end"]),
        ("  ", []),
    ],
)
def test_the_first_clause_is_short_and_later_ones_are_sentences(text: str, clauses: list[str]) -> None:
    splitter = ClauseSplitter()
    assert [*splitter.feed(text), *splitter.rest()] == clauses


def test_a_clause_is_given_out_as_soon_as_it_is_complete() -> None:
    splitter = ClauseSplitter()
    assert splitter.feed("Well") == []
    assert splitter.feed(", le") == ["Well,"]
    assert splitter.feed("t me see. ") == ["let me see."]
    assert splitter.feed("Yes") == []
    assert splitter.rest() == ["Yes"]


@given(st.lists(st.text(alphabet="ab ,.!?;:\n'\"DrStx5", max_size=40), max_size=40))
def test_no_word_is_lost_and_no_clause_is_endless(pieces: list[str]) -> None:
    splitter = ClauseSplitter()
    clauses = [clause for piece in pieces for clause in splitter.feed(piece)] + splitter.rest()
    assert "".join("".join(clauses).split()) == "".join("".join(pieces).split())
    assert all(len(clause) <= MAX_CLAUSE + 1 for clause in clauses)
