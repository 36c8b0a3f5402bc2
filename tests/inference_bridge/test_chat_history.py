"""Whatever stands on record, the messages of a request satisfy the strictest chat template, and lose nothing of it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted_chat_server import strict_template

from antiphon.inference_bridge.agents import Request
from antiphon.inference_bridge.agents.chat_history import (
    CALL_BEGINS,
    CONTINUE,
    MAX_HISTORY,
    NO_OUTPUT_YET,
    RESULT_CAME,
    SILENCE,
    chat_messages,
)
from antiphon.inference_bridge.agents.chat_request import question
from antiphon.inference_bridge.agents.server_habits import ServerHabits
from antiphon.inference_bridge.realtime_protocol.conversation import message

pytestmark = pytest.mark.pure


def said(role: str, text: str) -> dict[str, Any]:
    return message(f"i_{text}", role, "completed", {"type": "input_text", "text": text})


def call(call_id: str = "c", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "id": "f", "call_id": call_id, "name": "look", "arguments": arguments}


def output(text: str, call_id: str = "c") -> dict[str, Any]:
    return {"type": "function_call_output", "id": "o", "call_id": call_id, "output": text}


def shown(*items: dict[str, Any], **how: Any) -> list[tuple[str, Any]]:
    """The messages behind the first, each as its role and content, a call as its functions' names."""
    messages = chat_messages(items, "Be brief.", **how)
    assert strict_template(messages) == ""
    return [(each["role"], each["content"]) for each in messages[1:]]


HELLO, ASK = said("assistant", "Hello!"), said("user", "What is it?")
CASES: list[tuple[str, list[dict[str, Any]], list[tuple[str, Any]]]] = [
    ("nothing said", [], [("user", CALL_BEGINS)]),
    ("a greeting", [HELLO], [("user", CALL_BEGINS), ("assistant", "Hello!"), ("user", SILENCE)]),
    ("a greeting first", [HELLO, ASK], [("user", CALL_BEGINS), ("assistant", "Hello!"), ("user", "What is it?")]),
    ("two of the user", [said("user", "Well"), ASK], [("user", "Well\nWhat is it?")]),
    ("no words in one", [ASK, said("assistant", ""), said("user", "Hm")], [("user", "What is it?\nHm")]),
    (
        "one of the system in the middle",
        [ASK, said("system", "Be kind."), said("user", "Hm")],
        [("user", "What is it?\nHm")],
    ),
    (
        "words and a call",
        [ASK, said("assistant", "Let me look."), call(), output("a cat")],
        [("user", "What is it?"), ("assistant", "Let me look."), ("tool", "a cat")],
    ),
    (
        "words that were put behind their call",
        [ASK, call(), said("assistant", "Let me look."), output("a cat")],
        [("user", "What is it?"), ("assistant", "Let me look."), ("tool", "a cat")],
    ),
    (
        "a call without output",
        [ASK, call(), said("user", "Well?")],
        [
            ("user", "What is it?"),
            ("assistant", None),
            ("tool", NO_OUTPUT_YET),
            ("assistant", "One moment, please."),
            ("user", "Well?"),
        ],
    ),
    (
        "the output comes behind other words",
        [ASK, call(), said("user", "Well?"), said("assistant", "Still looking."), output("a cat")],
        [
            ("user", "What is it?"),
            ("assistant", None),
            ("tool", "a cat"),
            ("assistant", "One moment, please."),
            ("user", "Well?"),
            ("assistant", "Still looking."),
            ("user", RESULT_CAME),
        ],
    ),
    (
        "equal ids",
        [ASK, call(), output("first"), said("assistant", "One."), ASK, call(), output("second")],
        [
            ("user", "What is it?"),
            ("assistant", None),
            ("tool", "first"),
            ("assistant", "One."),
            ("user", "What is it?"),
            ("assistant", None),
            ("tool", "second"),
        ],
    ),
    (
        "equal ids at once",
        [ASK, call(), call(), output("first"), output("second")],
        [("user", "What is it?"), ("assistant", None), ("tool", "first"), ("tool", "second")],
    ),
    ("an output without its call", [ASK, output("a cat", "gone")], [("user", "What is it?")]),
    (
        "an empty output",
        [ASK, call(), output("")],
        [("user", "What is it?"), ("assistant", None), ("tool", "(nothing)")],
    ),
]


@pytest.mark.parametrize(("items", "right"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_messages_are_in_the_order_that_strict_templates_want(
    items: list[dict[str, Any]], right: list[tuple[str, Any]]
) -> None:
    assert shown(*items) == right


def test_an_answer_is_continued_behind_what_was_said_of_it() -> None:
    assert shown(ASK, continued="It is a ")[1:] == [("assistant", "It is a "), ("user", CONTINUE)]
    assert shown(ASK, HELLO, continued="It is a ")[1:] == [("assistant", "Hello! It is a "), ("user", CONTINUE)]


def test_what_a_client_says_as_the_system_stands_in_the_first_message() -> None:
    messages = chat_messages([ASK, said("system", "Be kind."), said("developer", "Be wise.")], "Be brief.")
    assert messages[0] == {"role": "system", "content": "Be brief.\nBe kind.\nBe wise."}


@pytest.mark.parametrize("arguments", ['{"day": "Mon', "", "null", "[1]", "Monday", '{"a": 1}}', "\ud83d"])
def test_arguments_that_are_no_object_are_left_out(arguments: str) -> None:
    (made,) = chat_messages([ASK, call("c", arguments), output("x")], "")[2]["tool_calls"]
    assert made["function"]["arguments"] == "{}"


def test_servers_without_a_role_system_or_with_short_ids_get_what_they_want() -> None:
    first, *_ = chat_messages([HELLO, ASK], "Be brief.", no_system=True)
    assert first == {"role": "user", "content": f"Be brief.\n\n{CALL_BEGINS}"}
    messages = chat_messages([ASK, call("call_123"), output("x", "call_123")], "", short_ids=True)
    (made,) = messages[2]["tool_calls"]
    assert made["id"] == messages[3]["tool_call_id"]
    assert len(made["id"]) == 9
    assert made["id"].isalnum()


ITEM = st.one_of(
    st.builds(said, st.sampled_from(["user", "assistant", "system", "developer"]), st.sampled_from(["", "a", "b c"])),
    st.builds(call, st.sampled_from(["a", "b", ""]), st.sampled_from(["{}", '{"x": 1}', "{", ""])),
    st.builds(output, st.sampled_from(["", "x", "y"]), st.sampled_from(["a", "b", ""])),
)


@given(st.lists(ITEM, max_size=MAX_HISTORY + 10), st.sampled_from(["", "It is "]), st.booleans(), st.booleans())
def test_any_record_satisfies_a_strict_template(
    items: list[dict[str, Any]], continued: str, short_ids: bool, no_system: bool
) -> None:
    messages = chat_messages(items, "Be brief.", continued, short_ids, no_system)
    assert strict_template(messages) == ""
    users = "\n".join(each["content"] for each in messages if each["role"] == "user")
    for item in items[-MAX_HISTORY:]:
        if item.get("role") == "user" and item["content"][0]["text"]:
            assert item["content"][0]["text"] in users


ASKED = Request("?", datetime(2026, 11, 22, 10, 30), [ASK], "Be brief.", [{"type": "function", "name": "look"}])


@pytest.mark.parametrize(
    ("language", "named"),
    [("en", ""), ("en-GB", ""), ("de", "German"), ("es-MX", "Spanish"), ("xx", "the language xx")],
)
def test_the_language_of_the_session_is_named_unless_it_is_english(language: str, named: str) -> None:
    request = Request("?", ASKED.now, [ASK], "Be brief.", language=language)
    system = question(request, "m", ServerHabits())["messages"][0]["content"]
    assert ("The caller speaks" in system) == bool(named)
    assert named in system


def test_a_request_leaves_out_what_the_server_refuses() -> None:
    body = question(ASKED, "m", ServerHabits(without=frozenset({"tools", "tool_choice", "stream_options"})))
    assert set(body) == {"model", "messages", "stream"}
    assert "look" in body["messages"][0]["content"], "functions are told in words then"
    assert (
        json.dumps(question(ASKED, "m", ServerHabits())["tools"])
        == '[{"type": "function", "function": {"name": "look"}}]'
    )
