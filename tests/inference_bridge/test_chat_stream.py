"""The wire of `chat/completions`: events in any pieces, chunks of any server, refusals, failures, continuations."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chat_quirks import QUIRKS, TOOLS, Quirk

from antiphon.inference_bridge.agents import FunctionCall, Incomplete, ReplyPart, Retracted, Usage
from antiphon.inference_bridge.agents.chat_answer import AnswerDecoder
from antiphon.inference_bridge.agents.chat_client import StatusError, _completions_url
from antiphon.inference_bridge.agents.chat_deltas import CallPiece, Delta, delta_of
from antiphon.inference_bridge.agents.chat_stream import EventDecoder
from antiphon.inference_bridge.agents.continuation import Continuation
from antiphon.inference_bridge.agents.server_failures import FEW, of_status, of_transport
from antiphon.inference_bridge.agents.server_habits import ServerHabits, learn, refusal_of
from antiphon.inference_bridge.agents.tool_calls import names_of

pytestmark = pytest.mark.pure

PLACES = st.lists(st.integers(0, 5000), max_size=8)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


def events(pieces: list[bytes]) -> list[Any]:
    decoder = EventDecoder()
    return [value for piece in pieces for value in decoder.feed(piece)] + decoder.end()


WIRES: list[tuple[bytes, list[Any]]] = [
    (b'data: {"a": 1}\n\ndata: {"b": 2}\n\n', [{"a": 1}, {"b": 2}]),
    (b'data: {"a": 1}\r\n\r\ndata: {"b": 2}\r\n\r\n', [{"a": 1}, {"b": 2}]),
    (b'data: {"a": 1}\r\rdata: {"b": 2}\r\r', [{"a": 1}, {"b": 2}]),
    (b'data:{"a": 1}\n\ndata:  {"b": 2}', [{"a": 1}, {"b": 2}]),
    (b'data: {"a": 1}\ndata: {"b": 2}\n', [{"a": 1}, {"b": 2}]),
    (b'\xef\xbb\xbfdata: {"a": 1}\n\n', [{"a": 1}]),
    (b': hello\n\n: \n:\ndata: {"a": 1}\n\n', [{"a": 1}]),
    (b'id: 7\nretry: 100\nevent: message\ndata: {"a": 1}\n\n', [{"a": 1}]),
    (b'data: null\n\ndata:\n\ndata: \n\ndata: 7\n\ndata: []\n\ndata: "x"\n\ndata: {"a": 1}\n\n', [{"a": 1}]),
    (b'data: {\ndata: "a": 1\ndata: }\n\n', [{"a": 1}]),
    (b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {"b": 2}\n\n', [{"a": 1}]),
    (b'{"a": 1}\n{"b": 2}\n', [{"a": 1}, {"b": 2}]),
    (b'event: error\ndata: {"message": "full"}\n\n', [{"error": {"message": "full"}}]),
    (b'error: {"code": 500}\n\n', [{"error": {"code": 500}}]),
    (b'data: {"a": "\xc3\xa9\xe2\x82\xac"}\n\n', [{"a": "\u00e9\u20ac"}]),
    (b'data: {"a"\n\ndata: {"b": 2}\n\n', [{"b": 2}]),
    (b"data: " + b"[" * 50_000 + b'\n\ndata: {"b": 2}\n\n', [{"b": 2}]),
    (b"\x00\xff\n\n", []),
    (b"", []),
]


@pytest.mark.parametrize(("wire", "right"), WIRES)
def test_events_are_read_as_servers_really_send_them(wire: bytes, right: list[Any]) -> None:
    assert events([wire]) == right


@given(st.sampled_from([wire for wire in WIRES if len(wire[0]) < 1000]), PLACES)
def test_events_are_the_same_in_whatever_pieces(wire: tuple[bytes, list[Any]], places: list[int]) -> None:
    assert events(cut(wire[0], places)) == wire[1]


def one(delta: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **more}]}


CHUNKS: list[tuple[dict[str, Any], Delta]] = [
    (one({"content": "a"}), Delta("a", is_choice=True)),
    (one(None), Delta(is_choice=True)),
    (one({"content": 7}), Delta(is_choice=True)),
    (one({"content": ["a", {"type": "text", "text": "b"}, {"type": "thinking"}]}), Delta("ab", True, is_choice=True)),
    (one({"reasoning_content": "a"}), Delta(thinks=True, is_choice=True)),
    (one({"reasoning": "a", "content": ""}), Delta(thinks=True, is_choice=True)),
    (one({"refusal": "No."}), Delta("No.", is_choice=True)),
    (one({}, finish_reason="MAX_TOKENS"), Delta(finish="length", is_choice=True)),
    (one({}, finish_reason="SAFETY"), Delta(finish="content_filter", is_choice=True)),
    (one({}, finish_reason="eos_token"), Delta(finish="stop", is_choice=True)),
    (one({}, finish_reason=""), Delta(is_choice=True)),
    ({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}, Delta("a", finish="stop", is_choice=True)),
    ({"choices": [{"text": "a"}]}, Delta("a", is_choice=True)),
    ({"choices": [{"index": 1, "delta": {"content": "a"}}]}, Delta()),
    ({"choices": None}, Delta()),
    ({"choices": [None, 7]}, Delta()),
    ({}, Delta()),
    ({"usage": None}, Delta()),
    ({"usage": {"prompt_tokens": None, "completion_tokens": None}}, Delta()),
    ({"usage": {"prompt_tokens": 3.0, "completion_tokens": -1}}, Delta(usage=Usage(3, 0))),
    ({"error": {"message": "out of\nmemory"}}, Delta(error="out of memory")),
    ({"error": "oops"}, Delta(error="oops")),
    (one({"tool_calls": [{"index": "0", "id": 7, "function": {"name": "x", "arguments": {"a": 1}}}]}),
     Delta(calls=(CallPiece(0, "7", "x", '{"a": 1}'),), is_choice=True)),
    (one({"tool_calls": [None, {"function": None}]}), Delta(calls=(CallPiece(),), is_choice=True)),
    (one({"tool_calls": {"name": "x"}}), Delta(calls=(CallPiece(None, "", "x"),), is_choice=True)),
    (one({"function_call": {"name": "x"}}), Delta(calls=(CallPiece(0, "", "x"),), is_choice=True)),
]  # fmt: skip


@pytest.mark.parametrize(("chunk", "right"), CHUNKS)
def test_a_chunk_says_what_it_adds(chunk: dict[str, Any], right: Delta) -> None:
    assert delta_of(chunk) == right


LEAF: st.SearchStrategy[Any] = st.sampled_from([None, True, 0, -1, 1.5, "", "x", "stop", [], {}])
KEYS = ["delta", "message", "content", "tool_calls", "function", "name", "arguments", "index", "id", "finish_reason"]
INNER = st.one_of(LEAF, st.dictionaries(st.sampled_from(KEYS), LEAF, max_size=4))
CHOICE = st.dictionaries(st.sampled_from(KEYS), st.one_of(INNER, st.lists(INNER, max_size=2)), max_size=4)
FIELDS = {"choices": st.one_of(LEAF, st.lists(CHOICE, max_size=2)), "usage": INNER, "error": INNER}


@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_no_chunk_is_too_odd(chunk: dict[str, Any]) -> None:
    assert isinstance(delta_of(chunk), Delta)


def outcome(pieces: list[bytes]) -> tuple[str, list[Any], list[str]]:
    decoder = AnswerDecoder(names_of(TOOLS), ())
    parts: list[ReplyPart] = []
    for part in [part for piece in pieces for part in decoder.feed(piece)] + decoder.end():
        parts = [] if isinstance(part, Retracted) else [*parts, part]
    text = "".join(part for part in parts if isinstance(part, str)).strip()
    called = [(part.name, json.loads(part.arguments)) for part in parts if isinstance(part, FunctionCall)]
    return text, called, [part.reason for part in parts if isinstance(part, Incomplete)]


WHOLE = [
    quirk
    for quirk in QUIRKS
    if len(quirk.answers) == 1 and quirk.answers[0].lines and quirk.text not in ("APOLOGY", "REFUSED")
]


@given(st.sampled_from(WHOLE), PLACES)
def test_a_stream_gives_the_same_answer_wherever_its_bytes_are_cut(quirk: Quirk, places: list[int]) -> None:
    wire = "".join(line for _, line in quirk.answers[0].lines).encode()
    text = quirk.text.removesuffix("TOOL_FAILED").strip()  # which is said of two answers
    right = (text, list(quirk.calls), [quirk.incomplete] if quirk.incomplete else [])
    assert outcome(cut(wire, places)) == right


# ---- continuations ---------------------------------------------------------------------------------------

CONTINUED = [
    ("It is half past ", "ten.", "ten."),
    ("It is half past ", " ten.", "ten."),
    ("It is half past ", "It is half past ten.", "ten."),
    ("It is half past ", "it is  half past ten.", "ten."),
    ("It is half past ", "half past ten.", "ten."),
    ("It is half past ", "past ten.", "ten."),
    ("I said so. It is ", "It is ten.", "ten."),
    ("It is ha", "It is half past", "lf past"),
    ("It is", "ten.", " ten."),
    ("It is ten.", "It is ten.", ""),
    ("It is ten.", "Bye.", " Bye."),
    ("My number is 555 ", "555 1234", "555 1234"),
    ("A ", "a b", "a b"),
    ("Hello", ", world", ", world"),
    ("", "It is ten.", "It is ten."),
]


@pytest.mark.parametrize(("spoken", "written", "new"), CONTINUED)
def test_a_continued_answer_repeats_nothing(spoken: str, written: str, new: str) -> None:
    for pieces in ([written], list(written)):
        continued = Continuation(spoken)
        assert "".join(continued.feed(piece) for piece in pieces) + continued.end() == new


# ---- refusals and failures -------------------------------------------------------------------------------

SENT = {
    "model": "m",
    "messages": [],
    "stream": True,
    "stream_options": {},
    "max_tokens": 9,
    "tools": [],
    "tool_choice": "auto",
}
TOOLLESS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
REFUSALS: list[tuple[Any, ServerHabits | None]] = [
    (
        {
            "error": {
                "message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
                "param": "max_tokens",
            }
        },
        ServerHabits(frozenset({"max_tokens"}), "max_completion_tokens"),
    ),
    (
        {"detail": [{"loc": ["body", "stream_options"], "msg": "extra fields not permitted"}]},
        ServerHabits(frozenset({"stream_options"})),
    ),
    ({"error": {"message": "nope", "param": "tool_choice"}}, ServerHabits(frozenset({"tool_choice"}))),
    ({"error": {"message": "gemma:2b does not support tools"}}, ServerHabits(TOOLLESS)),
    (
        {"message": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'},
        ServerHabits(TOOLLESS),
    ),
    (
        {"error": {"message": "Tool call IDs should be alphanumeric strings with length 9!"}},
        ServerHabits(short_ids=True),
    ),
    ({"error": {"message": "System role not supported"}}, ServerHabits(no_system=True)),
    ({"error": {"message": "This model's maximum context length is 4096 tokens"}}, ServerHabits(half_history=1)),
    ({"error": {"code": "content_filter", "message": "filtered"}}, None),
    ("Bad Request", ServerHabits(frozenset({"stream_options"}))),
]


@pytest.mark.parametrize(("body", "right"), REFUSALS)
def test_a_refusal_says_how_to_ask_instead(body: Any, right: ServerHabits | None) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    assert learn(ServerHabits(), refusal_of(None if isinstance(body, str) else body, text), SENT) == right


def test_a_server_that_refuses_both_names_of_a_limit_gets_none() -> None:
    habits: ServerHabits | None = ServerHabits()
    for name in ("max_tokens", "max_completion_tokens"):
        assert habits is not None
        habits = learn(habits, refusal_of(None, f"unknown field {name}"), {name: 9})
    assert habits is not None
    assert habits.without == {"max_tokens", "max_completion_tokens"}


def test_refusals_come_to_an_end() -> None:
    habits: ServerHabits | None = ServerHabits()
    for _ in range(12):
        assert habits is not None
        sent = {name: value for name, value in SENT.items() if name not in habits.without}
        habits = learn(habits, refusal_of(None, "Bad Request"), sent)
        if habits is None:
            return
    raise AssertionError("there was always another form")


@pytest.mark.parametrize(
    ("status", "text", "tries", "within"),
    [
        (429, "slow down", 1000, 15.0),
        (429, '{"error": {"code": "insufficient_quota"}}', 0, 0.0),
        (503, "Loading model", 1000, 120.0),
        (503, "overloaded", 1000, 15.0),
        (500, "oops", FEW, 15.0),
        (529, "overloaded", 1000, 15.0),
        (401, "key", 0, 0.0),
        (404, "model", 0, 0.0),
        (400, "bad", 0, 0.0),
        (500, "x" * 70_000, 0, 0.0),
    ],
)
def test_a_status_says_whether_waiting_helps(status: int, text: str, tries: int, within: float) -> None:
    failure = of_status(StatusError(status, text, httpx2.Headers()), 15.0, 120.0)
    assert (failure.tries, failure.within) == (tries, within)


def test_a_connection_that_was_cut_is_made_again_and_a_server_that_breaks_the_rules_is_left() -> None:
    assert of_transport(httpx2.ReadError("reset"), 15).tries == FEW
    assert of_transport(httpx2.RemoteProtocolError("Server disconnected without sending a response."), 15).tries == FEW
    assert of_transport(httpx2.RemoteProtocolError("illegal header line"), 15).tries == 0
    assert of_transport(httpx2.ConnectError("refused"), 15).within == 2.0


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h:1/v1", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        (
            "https://x.openai.azure.com/openai/deployments/d?api-version=1",
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
        ),
    ],
)
def test_the_address_is_made_of_the_base_url(base: str, url: str) -> None:
    assert _completions_url(base) == url
