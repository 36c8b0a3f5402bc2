"""What goes along with a call that is given to another agent."""

from __future__ import annotations

import json

import pytest

from antiphon.runtime.agent_sessions.handed_call import handed_call, message, opening_items, words_of
from antiphon.schemas.messages import MAX_HANDED_BYTES, HandedCall

pytestmark = pytest.mark.pure


def test_the_end_of_a_long_conversation_goes_along_in_whole_messages() -> None:
    items = [message(f"item_{number}", "user", f"{number} " + "x" * 300) for number in range(500)]
    kept = handed_call(items).items
    assert len(json.dumps(kept)) <= MAX_HANDED_BYTES
    assert kept == items[-len(kept) :]
    assert len(kept) > 20


def test_a_summary_that_is_too_long_is_cut() -> None:
    assert len(handed_call([], "x" * 10_000).summary) == 4000


def test_the_next_agent_reads_where_the_call_comes_from_before_what_was_said() -> None:
    said = [message("item_1", "user", "I want an invoice."), message("item_2", "assistant", "One moment.")]
    items = opening_items(HandedCall(agent="front", summary="wants an invoice", items=said))
    note, *rest = words_of(items)
    assert note == ("system", "The caller comes from another agent, front. It says: wants an invoice")
    assert rest == [("user", "I want an invoice."), ("assistant", "One moment.")]


def test_the_note_of_an_earlier_transfer_does_not_go_along() -> None:
    first = opening_items(HandedCall(agent="front"))
    second = opening_items(HandedCall(agent="desk", items=first))
    assert [words for _, words in words_of(second)] == ["The caller comes from another agent, desk."]


def test_a_call_that_has_just_begun_has_no_items() -> None:
    assert opening_items(None) == []
