"""A reply cut into clauses that are spoken one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.tts.clauses import MAX_CLAUSE, ClauseSplitter

pytestmark = pytest.mark.pure


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


@pytest.mark.parametrize(
    "whole",
    [
        "Dr. Smith is here",
        "Let us meet at 10 a.m. tomorrow",
        "Let us meet at 10 a. m. tomorrow",
        "The 3. Mai is a Sunday",
        "1. Monday",
        "2) Tuesday",
        "- 3. Wednesday",
        "It costs $1.5M or 1.5 million",
        "Use v2.1.3 or 192.168.1.10 or www.example.com/help or a.b@example.com today",
        "On Nov. 3, 2026 at 9:05",
        "On November 3, 2026",
        "Take No. 5, 6 and 7",
        "It is 5 ft. 10 in. tall",
        "Call 555 123 4567, ext. 12",
        "Read [this page. It helps, really](https://example.com/a.b) now",
        "Take fruit e.g. apples",
        "J. K. Rowling and John F. Kennedy",
        "St. Mary and Mt. Everest",
        "The code: 276983",
        "Read p. 5 and fig. 7",
    ],
)
def test_a_clause_does_not_end_inside_of_what_is_read_as_one(whole: str) -> None:
    for first in (False, True):
        splitter = ClauseSplitter()
        start = [] if first else splitter.feed("Sure. ")
        clauses = [clause for c in f"{whole}. Then" for clause in splitter.feed(f"{c}")]
        assert [*start, *clauses, *splitter.rest()] == [*([] if first else ["Sure."]), f"{whole}.", "Then"]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Am 3. Mai, um 9 Uhr. Gut?", ["Am 3. Mai,", "um 9 Uhr.", "Gut?"]),
        ("Er ist der 1. Kandidat. Ja.", ["Er ist der 1. Kandidat.", "Ja."]),
        ("Es kostet 5. Danach 6.", ["Es kostet 5.", "Danach 6."]),
        ("z. B. Frau Dr. Kern bzw. Hr. Maier", ["z. B. Frau Dr. Kern bzw. Hr. Maier"]),
    ],
)
def test_in_german_a_number_with_a_full_stop_may_be_an_ordinal(text: str, clauses: list[str]) -> None:
    splitter = ClauseSplitter("de")
    assert [*splitter.feed(text), *splitter.rest()] == clauses


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("It costs 5. Then we go", ["It costs 5.", "Then we go"]),
        ("Apples, pears, etc. We sell them.", ["Apples,", "pears, etc.", "We sell them."]),
        ("你好。世界很大。", ["你好。", "世界很大。"]),
        ("**Note.** Then **go.**", ["**Note.**", "Then **go.**"]),
        ("A list:\n1. Monday\n2. Tuesday", ["A list:", "1. Monday", "2. Tuesday"]),
        ("# Hours\nWe are open.", ["# Hours", "We are open."]),
        ("I said no. Then I left.", ["I said no.", "Then I left."]),
    ],
)
def test_a_sentence_ends_where_a_reader_sees_it(text: str, clauses: list[str]) -> None:
    splitter = ClauseSplitter()
    assert [*splitter.feed(text), *splitter.rest()] == clauses


def test_the_last_sentence_is_given_out_at_once_when_the_agent_pauses() -> None:
    splitter = ClauseSplitter()
    assert splitter.feed("Let me check that for you.") == []
    assert splitter.rest() == ["Let me check that for you."]
    assert splitter.feed("It is sunny, and warm. ") == ["It is sunny, and warm."], "a later clause is a sentence"


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
