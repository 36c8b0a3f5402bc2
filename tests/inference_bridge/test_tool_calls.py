"""Function calls: one complete call for each that the model means, however it is sent or written; never spoken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.agents.chat_deltas import CallPiece
from antiphon.inference_bridge.agents.text_calls import TextCalls
from antiphon.inference_bridge.agents.tool_calls import (
    MAX_ARGUMENTS,
    MAX_CALLS,
    CallAssembler,
    CallsError,
    offered,
)

pytestmark = pytest.mark.pure

TOOLS = frozenset({"get_time", "get_weather", "saveAnswer", "look"})
CITY = '{"city": "Paris"}'
CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
PARIS = ("get_weather", {"city": "Paris"})
TIME: tuple[str, dict[str, Any]] = ("get_time", {})
MONDAY = ("saveAnswer", {"day": "Monday"})
Called = tuple[str, dict[str, Any]]

WRITTEN: list[tuple[str, list[Called]]] = [
    (CALL, [PARIS]),
    (f"[{CALL}]", [PARIS]),
    (CALL.replace("arguments", "parameters"), [PARIS]),
    (CALL.replace('"', "'"), [PARIS]),
    ('{"type": "function", "function": ' + CALL + "}", [PARIS]),
    ('{"tool_calls": [{"id": "1", "function": ' + CALL + "}]}", [PARIS]),
    ('{"function_call": ' + CALL + "}", [PARIS]),
    ('{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}', [PARIS]),
    ('{"tool": "get_weather", "tool_input": {"city": "Paris"}}', [PARIS]),
    ('{"action": "get_weather", "action_input": {"city": "Paris"}}', [PARIS]),
    ('{"recipient_name": "functions.get_weather", "parameters": {"city": "Paris"}}', [PARIS]),
    ('{"get_weather": {"city": "Paris"}}', [PARIS]),
    ('{"name": "get_time"}', [TIME]),
    ('{"name": "get_time", "arguments": null}', [TIME]),
    (CALL[:-1], [PARIS]),  # the last brace is often forgotten
    (f"```json\n{CALL}\n```", [PARIS]),
    (f"```\n{CALL}\n```", [PARIS]),
    ('```tool_code\nprint(get_weather(city="Paris"))\n```', [PARIS]),
    (f"<tool_call>{CALL}</tool_call>", [PARIS]),
    (f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n" + '{"name": "get_time"}' + "\n</tool_call>", [PARIS, TIME]),
    (f"<tool_call>{CALL}", [PARIS]),
    (f"<tool_calls>[{CALL}]</tool_calls>", [PARIS]),
    (f"<function_call>{CALL}</function_call>", [PARIS]),
    (f"<TOOLCALL>[{CALL}]</TOOLCALL>", [PARIS]),
    (f"<tools>{CALL}</tools>", [PARIS]),
    (f"<function=get_weather>{CITY}</function>", [PARIS]),
    ("<function=get_weather><parameter=city>Paris</parameter></function>", [PARIS]),
    ("<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>", [PARIS]),
    (
        '<function_calls><invoke name="get_weather"><parameter name="city">Paris</parameter></invoke></function_calls>',
        [PARIS],
    ),
    ("<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>", [PARIS]),
    ("<tool_call>get_time</tool_call>", [TIME]),
    (f"[TOOL_CALLS][{CALL}]", [PARIS]),
    (f"[TOOL_CALLS] {CALL}", [PARIS]),
    (f"[TOOL_CALLS]get_weather[ARGS]{CITY}", [PARIS]),
    (f"[TOOL_REQUEST]{CALL}[END_TOOL_REQUEST]", [PARIS]),
    (f"<|python_tag|>{CALL}", [PARIS]),
    ('<|python_tag|>get_weather.call(city="Paris")', [PARIS]),
    (f"<|tool_call|>[{CALL}]", [PARIS]),
    ('<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|>', [PARIS]),
    ('<|START_ACTION|>[{"tool_name": "get_weather", "parameters": {"city": "Paris"}}]<|END_ACTION|>', [PARIS]),
    (f"<|channel|>commentary to=functions.get_weather<|message|>{CITY}<|call|>", [PARIS]),
    (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{CITY}"
        "<|tool_call_end|><|tool_calls_section_end|>",
        [PARIS],
    ),
    (
        "<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>"
        f"get_weather\n```json\n{CITY}\n```<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>",
        [PARIS],
    ),
    ('saveAnswer({"day": "Monday"})', [MONDAY]),
    ('saveAnswer({"day": "Monday"});', [MONDAY]),
    ('saveAnswer(day="Monday")', [MONDAY]),
    ('saveAnswer{"day": "Monday"}', [MONDAY]),
    ('functions.saveAnswer({"day": "Monday"})', [MONDAY]),
    ("get_time()", [TIME]),
    ('[get_weather(city="Paris"), get_time()]', [PARIS, TIME]),
]
NEVER_CALLED = [
    '<tool_call>{"name": "rm_rf", "arguments": {"path": "/"}}</tool_call>',
    '{"name": "rm_rf", "arguments": {"path": "/"}}',
    'rm_rf({"path": "/"})',
    '```json\n{"name": "rm_rf", "parameters": {"path": "/"}}\n```',
    '[TOOL_CALLS][{"name": "rm_rf", "arguments": {}}]',
    "<function=rm_rf>{}</function>",
    "<tool_call>nonsense</tool_call>",
    '<tool_call>{"name": "get_ti',
    '{"name": "get_weather", "arguments": {"ci',
    'saveAnswer({"day": "Mon',
    "<tool_response>It is sunny.</tool_response>",
    "<tool_cal",
]
SPOKEN = [
    'Say {this} or {"a": 1}, and f(x) = {1, 2}.',
    '{"name": "Anna", "age": 3}',
    '{"hour": 10}',
    "[laughs] A [list] of [1, 2, 3].",
    "Please look (over there), look, and look().",
    "The function get_time is there. Get_time too.",
    "If a < b then <b>bold</b>.",
    "```python\nprint(1)\n```",
    "Use `code` or ``two``.",
    "Tool calls, function calls and actions are words.",
    "{}",
    "[]",
    "<",
    "Sure",
    "{",
    "a {",
    "hello (there)",
]


def read(pieces: Any, cut: bool = False) -> tuple[str, list[Called], list[str]]:
    calls = TextCalls(TOOLS)
    text = "".join(calls.feed(piece) for piece in pieces) + calls.end(cut)
    return text, [(call.name, json.loads(call.arguments)) for call in calls.calls], calls.unknown


def cut(text: str, places: list[int]) -> list[str]:
    at = sorted({place % (len(text) + 1) for place in places})
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]


PLACES = st.lists(st.integers(0, 1000), max_size=6)


@pytest.mark.parametrize(("text", "right"), WRITTEN)
def test_a_call_that_is_written_into_the_text_is_called_and_not_spoken(text: str, right: list[Called]) -> None:
    for pieces in ([text], text):
        spoken, calls, unknown = read(pieces)
        assert (spoken.strip(), calls, unknown) == ("", right, [])


@given(st.sampled_from(WRITTEN), st.booleans(), PLACES)
def test_words_around_a_written_call_are_spoken_in_whatever_pieces(
    written: tuple[str, list[Called]], before: bool, places: list[int]
) -> None:
    text, right = written
    if before and not text.startswith(("get_time()",)):
        text = f"Let me look. {text}"
    spoken, calls, _ = read(cut(text, places))
    assert spoken.strip() == ("Let me look." if text.startswith("Let me") else "")
    assert calls == right


@pytest.mark.parametrize("text", NEVER_CALLED)
def test_what_is_no_offered_function_or_no_whole_call_is_neither_called_nor_spoken(text: str) -> None:
    for pieces in ([text], text):
        spoken, calls, _ = read(pieces, cut=True)
        assert (spoken.strip(), calls) == ("", [])


@pytest.mark.parametrize("text", SPOKEN)
def test_a_text_that_merely_looks_a_bit_like_a_call_is_spoken(text: str) -> None:
    assert read([text]) == (text, [], [])
    assert read(text) == (text, [], [])


@given(st.sampled_from(SPOKEN), PLACES)
def test_ordinary_text_is_spoken_in_whatever_pieces(text: str, places: list[int]) -> None:
    assert read(cut(text, places)) == (text, [], [])


@given(st.text(alphabet='{}[]()<>`"name: look\n', max_size=60), PLACES)
def test_any_text_gives_the_same_in_any_pieces(text: str, places: list[int]) -> None:
    assert read(cut(text, places)) == read([text])


def test_text_streams_and_braces_pass_on_as_soon_as_they_are_known_as_such() -> None:
    calls = TextCalls(TOOLS)
    for piece, seen in (("It is ", "It is "), ("{", ""), ('"z', '{"z'), ('": 1}. ', '": 1}. '), ("ten ", "ten ")):
        assert calls.feed(piece) == seen


def test_a_call_in_the_text_is_bounded() -> None:
    calls = TextCalls(TOOLS)
    calls.feed('{"name": "')
    with pytest.raises(CallsError):
        calls.feed("x" * (MAX_ARGUMENTS + 1))


def test_a_call_that_a_model_writes_again_and_again_is_one_call() -> None:
    calls = TextCalls(TOOLS)
    assert not "".join(calls.feed(CALL) for _ in range(50))
    assert len(calls.calls) == 1
    assert calls.repeats == 49


# ---- calls in fields of their own ------------------------------------------------------------------------

A = CallPiece
PIECES: list[tuple[str, list[list[CallPiece]], list[Called]]] = [
    ("as it should be", [[A(0, "a", "get_weather")], [A(0, "", "", '{"city":')], [A(0, "", "", '"Paris"}')]], [PARIS]),
    (
        "two in turns",
        [[A(0, "a", "get_weather"), A(1, "b", "get_time")], [A(1, "", "", "{}"), A(0, "", "", CITY)]],
        [PARIS, TIME],
    ),
    ("index 0 for both", [[A(0, "a", "get_weather", CITY)], [A(0, "b", "get_time", "{}")]], [PARIS, TIME]),
    ("index 0 for both, no ids", [[A(0, "", "get_weather", CITY)], [A(0, "", "get_time", "{}")]], [PARIS, TIME]),
    (
        "index 0 for both, no arguments",
        [[A(0, "", "get_weather")], [A(0, "", "get_time")]],
        [("get_weather", {}), TIME],
    ),
    (
        "index 0 for both in pieces",
        [[A(0, "a", "get_weather", '{"city":')], [A(0, "", "", '"Paris"}')], [A(0, "b", "get_time", "{}")]],
        [PARIS, TIME],
    ),
    ("no index", [[A(None, "a", "get_weather", CITY)], [A(None, "b", "get_time")]], [PARIS, TIME]),
    ("no index, at once", [[A(None, "", "get_weather", CITY), A(None, "", "get_time")]], [PARIS, TIME]),
    ("the same function twice", [[A(0, "a", "get_weather", CITY)], [A(0, "b", "get_weather", CITY)]], [PARIS, PARIS]),
    (
        "twice without ids",
        [[A(0, "", "get_weather", CITY)], [A(0, "", "get_weather", '{"city": "Rome"}')]],
        [PARIS, ("get_weather", {"city": "Rome"})],
    ),
    ("the same id twice", [[A(0, "a", "get_weather", CITY)], [A(1, "a", "get_time", "{}")]], [PARIS, TIME]),
    (
        "the name in each piece",
        [[A(0, "a", "get_weather", part)] for part in ("", '{"city":', '"Paris"}', "")],
        [PARIS],
    ),
    (
        "id and name in each piece",
        [[A(None, "a", "get_weather", part)] for part in ('{"ci', 'ty":"Paris"', "}")],
        [PARIS],
    ),
    ("the name in pieces", [[A(0, "a", "get_")], [A(0, "", "weather")], [A(0, "", "", CITY)]], [PARIS]),
    ("the id alone at first", [[A(0, "a")], [A(0, "", "get_weather")], [A(0, "", "", CITY)]], [PARIS]),
    ("a placeholder first", [[A(0, "a", "get_weather", "{}")], [A(0, "", "", CITY)]], [PARIS]),
    (
        "all again at the end",
        [
            [A(0, "a", "get_weather", '{"city":')],
            [A(0, "", "", '"Paris"}')],
            [A(0, "a", "get_weather", '{"city":"Paris"}')],
        ],
        [PARIS],
    ),
    (
        "as it grows",
        [[A(0, "a", "get_weather", '{"ci')], [A(0, "", "", '{"city": "Par')], [A(0, "", "", CITY)]],
        [PARIS],
    ),
    ("letter by letter", [[A(0, "a", "get_weather")], *([A(0, "", "", letter)] for letter in CITY)], [PARIS]),
    ("a namespace", [[A(0, "a", "functions.get_weather", CITY)]], [PARIS]),
    ("Kimi's number", [[A(0, "a", "functions.get_weather:0", CITY)]], [PARIS]),
    ("never offered", [[A(0, "a", "rm_rf", "{}")], [A(1, "b", "get_time", "{}")]], [TIME]),
    ("nothing in it", [[A(0, "", "")], [A(None)]], []),
]


@pytest.mark.parametrize(("pieces", "right"), [case[1:] for case in PIECES], ids=[case[0] for case in PIECES])
def test_pieces_of_calls_are_put_together(pieces: list[list[CallPiece]], right: list[Called]) -> None:
    calls = CallAssembler(TOOLS)
    for chunk in pieces:
        calls.collect(chunk)
    made = calls.complete(())
    assert [(call.name, json.loads(call.arguments)) for call in made] == right
    ids = [call.call_id for call in made]
    assert all(ids)
    assert len(set(ids)) == len(ids)


def test_an_id_that_an_earlier_call_has_is_not_used_again() -> None:
    calls = CallAssembler(TOOLS)
    calls.collect([CallPiece(0, "a", "get_time")])
    (call,) = calls.complete({"a"})
    assert call.call_id != "a"


def test_calls_are_bounded_in_number_name_and_arguments() -> None:
    with pytest.raises(CallsError):
        CallAssembler(TOOLS).collect([CallPiece(index, "", "get_time") for index in range(MAX_CALLS + 1)])
    with pytest.raises(CallsError):
        CallAssembler(TOOLS).collect([CallPiece(0, "", "x" * 100)])
    with pytest.raises(CallsError):
        CallAssembler(TOOLS).collect([CallPiece(0, "", "get_time", "x" * (MAX_ARGUMENTS + 1))])


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("look", "look"),
        ("functions.look", "look"),
        ("functions.look:3", "look"),
        ("lo", None),
        ("Look", None),
        ("", None),
    ],
)
def test_a_name_means_an_offered_function_or_none(name: str, means: str | None) -> None:
    assert offered(name, TOOLS) == means
