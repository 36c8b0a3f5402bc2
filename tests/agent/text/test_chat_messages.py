"""The conversation of a request in chat format: instructions first, as played, calls with their outputs."""

from __future__ import annotations

from typing import Any

import pytest
from support.text_agents import request

from antiphon.agent.text.chat_messages import CALL_BEGINS, CONTINUE, NO_OUTPUT, SILENCE, chat_messages

pytestmark = pytest.mark.pure


def said(role: str, text: str, kind: str = "input_text") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def call(call_id: str, name: str = "book", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output(call_id: str, text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def test_instructions_come_first_and_the_text_last() -> None:
    items = [
        said("assistant", "Good morning.", "output_text"),
        {"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": "Hello."}]},
        said("system", "The caller is a member."),
        said("user", "A table, please."),
    ]
    found = chat_messages(request("A table, please.", items=items), "Be brief.")
    assert found == [
        {"role": "system", "content": "Be brief.\nThe caller is a member."},
        {"role": "assistant", "content": "Good morning."},
        {"role": "user", "content": "Hello.\nA table, please."},
    ]


def test_the_client_s_instructions_stand_in_place_of_the_agent_s() -> None:
    assert chat_messages(request("Hi.", instructions="Theirs."), "Ours.")[0]["content"] == "Theirs."


def test_a_text_that_is_not_in_the_conversation_is_added() -> None:
    assert chat_messages(request("Hi."), "") == [{"role": "user", "content": "Hi."}]


def test_calls_made_together_are_one_message_and_calls_made_one_after_the_other_are_two() -> None:
    items = [said("user", "Do."), call("a"), call("b"), output("a", "1"), output("b", "2"), call("c"), output("c", "3")]
    found = chat_messages(request(items=items), "")
    assert [each["role"] for each in found] == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert [each["id"] for each in found[1]["tool_calls"]] == ["a", "b"]
    assert [each["id"] for each in found[4]["tool_calls"]] == ["c"]
    assert [(each["tool_call_id"], each["content"]) for each in found if each["role"] == "tool"] == [
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
    ]


def test_a_call_stands_in_the_message_with_the_words_before_it() -> None:
    found = chat_messages(request(items=[said("user", "Do."), said("assistant", "One moment."), call("a")]), "")
    assert found[1]["content"] == "One moment."
    assert found[1]["tool_calls"][0]["function"] == {"name": "book", "arguments": "{}"}


@pytest.mark.parametrize("arguments", ["", "no JSON", "[1]", '{"a": '])
def test_arguments_that_are_no_object_are_an_empty_one(arguments: str) -> None:
    found = chat_messages(request(items=[call("a", arguments=arguments)]), "")
    assert found[0]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_call_without_output_says_so_and_an_output_without_a_call_is_left_out() -> None:
    found = chat_messages(request(items=[output("gone", "7"), call("a")]), "")
    assert [each["role"] for each in found] == ["assistant", "tool"]
    assert found[1]["content"] == NO_OUTPUT


def test_calls_of_two_turns_with_the_same_id_keep_their_own_outputs() -> None:
    items = [said("user", "A"), call("0"), output("0", "first"), said("user", "B"), call("0"), output("0", "second")]
    tools = [each for each in chat_messages(request(items=items), "") if each["role"] == "tool"]
    assert [each["content"] for each in tools] == ["first", "second"]
    assert len({each["tool_call_id"] for each in tools}) == 2


def test_a_text_behind_which_tools_have_run_already_is_not_added_again() -> None:
    items = [said("user", "Book."), call("a"), output("a", "booked")]
    found = chat_messages(request("Book.", items=items), "")
    assert [each["role"] for each in found] == ["user", "assistant", "tool"]


def test_what_happened_beside_words_is_told_in_words() -> None:
    assert chat_messages(request(keys="42"), "")[-1]["content"] == "(The caller has pressed 4 2.)"
    assert chat_messages(request(event="silence"), "")[-1]["content"] == SILENCE
    assert chat_messages(request(event="call_started"), "")[-1]["content"] == CALL_BEGINS


def test_the_beginning_that_was_spoken_is_there_once_and_is_to_be_continued() -> None:
    items = [said("user", "When?"), said("assistant", "On Monday")]
    for given in (items, items[:1]):
        found = chat_messages(request(items=given, said="On Monday"), "")
        assert [each["content"] for each in found] == ["When?", "On Monday", CONTINUE]


@pytest.mark.parametrize(
    "item", [{}, {"type": 3}, {"role": "user"}, {"type": "message", "role": "user", "content": [3, {}, {"text": None}]}]
)
def test_rubbish_in_the_conversation_is_left_out(item: dict[str, Any]) -> None:
    assert chat_messages(request("Hi.", items=[item]), "") == [{"role": "user", "content": "Hi."}]
