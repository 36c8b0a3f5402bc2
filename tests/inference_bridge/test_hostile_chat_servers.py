"""A chat server that answers without an end, too much, or in no form that we read: bounded, with a clear end."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import resource
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import pytest
from support.models.plain_chat_server import EVENTS_HEAD, chat_server, hostile_chat_server, sse

from antiphon.inference_bridge.agents import FunctionCall, ReplyPart, Request
from antiphon.inference_bridge.agents import language_model as limits
from antiphon.inference_bridge.agents.chat_answer import MAX_ANSWER
from antiphon.inference_bridge.agents.chat_check import ask
from antiphon.inference_bridge.agents.chat_client import MAX_ERROR_BYTES, MAX_EVENT_BYTES
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.conversation.core.state import MAX_TEXT
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.tts.clauses import ClauseSplitter

pytestmark = pytest.mark.process

APOLOGY, TOO_LONG = phrase("apology"), phrase("too_long")
MIB = 1024 * 1024
SOCKETS = 12 * MIB
"""What the buffers of two sockets on loopback may hold besides what a client has read."""
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}
ASKED = Request("Hello", datetime(2026, 11, 22, 10, 30), tools=[TOOL])


def peak() -> int:
    """The most memory that this process has used, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def reply(url: str, timeout: float = 5.0) -> list[ReplyPart]:
    async with client_for(url, "") as client:
        return [part async for part in LanguageModel(client, "tiny", timeout).reply(ASKED)]


def repeated(piece: bytes, times: int = 300 * MIB) -> Callable[[], Iterator[bytes]]:
    """`times` bytes of it, in pieces of 64 KiB or more."""
    many = piece * max(1, 65536 // len(piece))
    return lambda: itertools.repeat(many, times // len(many))


HEAD_JSON = EVENTS_HEAD.replace(b"text/event-stream", b"application/json")


@pytest.mark.parametrize(
    ("name", "head", "pieces", "most"),
    [
        ("a line without an end", EVENTS_HEAD, repeated(b"x"), MAX_EVENT_BYTES),
        ("an event of short lines without an end", EVENTS_HEAD, repeated(b"data: x\n"), MAX_EVENT_BYTES),
        ("comments without an end", EVENTS_HEAD, repeated(b": still there\n\n"), 8 * MIB),
        ("empty lines without an end", EVENTS_HEAD, repeated(b"\n"), 8 * MIB),
        ("chunks without words", EVENTS_HEAD, repeated(sse({})), 8 * MIB),
        ("an error without an end", EVENTS_HEAD.replace(b"200 OK", b"500 Oh"), repeated(b"x"), MAX_ERROR_BYTES),
        ("one JSON value without an end", HEAD_JSON, repeated(b"["), 8 * MIB),
        ("headers without an end", b"HTTP/1.1 200 OK\r\n", repeated(b"X-A: b\r\n"), MIB),
        ("one header without an end", b"HTTP/1.1 200 OK\r\nX-A: ", repeated(b"b"), MIB),
    ],
)
async def test_what_is_read_of_an_answer_is_bounded(
    name: str, head: bytes, pieces: Callable[[], Iterable[bytes]], most: int
) -> None:
    async with hostile_chat_server(head, pieces) as server:
        before = peak()
        assert await reply(server.url, timeout=20) == [APOLOGY], name
        assert server.taken < most + SOCKETS, name
        assert peak() - before < 2 * most + 2 * SOCKETS, name


async def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(64 * MIB), 6)
    head = EVENTS_HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")
    async with hostile_chat_server(head, lambda: [bomb]) as server:
        before = peak()
        assert await reply(server.url) == [APOLOGY]
        assert peak() - before < 20 * MIB


async def test_words_without_an_end_are_cut_with_a_word_of_apology() -> None:
    async with hostile_chat_server(EVENTS_HEAD, repeated(sse({"content": "and so on, "}))) as server:
        parts = await reply(server.url)
        assert parts[-1] == f" {TOO_LONG}"
        assert MAX_ANSWER - 100 < len("".join(str(part) for part in parts[:-1])) <= MAX_ANSWER
        assert server.taken < 8 * MIB + SOCKETS


@pytest.mark.parametrize("arguments", ["", "x" * 4096])
async def test_function_calls_without_an_end_are_no_answer(arguments: str) -> None:
    def calls() -> Iterator[bytes]:
        for index in range(300_000):
            function = {"name": "look", "arguments": arguments}
            yield sse({"tool_calls": [{"index": 0 if arguments else index, "function": function}]})

    async with hostile_chat_server(EVENTS_HEAD, calls) as server:
        assert await reply(server.url) == [APOLOGY]
        assert server.taken < MIB + SOCKETS


async def test_a_redirect_is_not_followed_and_the_log_says_where_it_leads() -> None:
    async with chat_server() as other:
        head = f"HTTP/1.1 307 X\r\nLocation: {other.url}/chat/completions\r\nContent-Length: 0\r\n\r\n".encode()
        async with hostile_chat_server(head, list) as server:
            assert await reply(server.url) == [APOLOGY]
            async with client_for(server.url, "") as client:
                trouble = await ask(client, "tiny", key=False)
            assert trouble is not None
            assert "redirects (status 307)" in trouble.what
            assert other.url in trouble.fix
        assert not other.requests
        assert not other.checks


@pytest.mark.parametrize(
    "answer",
    [
        [b"data: {\n\n"],
        [b"data: " + b"[" * 100_000 + b"\n\n"],
        [b'data: {"choices": 7}\n\n'],
        [b'data: {"choices": [{"delta": null}]}\n\n'],
        [b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'],
        [b'data: {"choices": [{"delta": {"tool_calls": [{"index": "x"}]}}]}\n\n'],
        [b'data: {"choices": [], "usage": {"prompt_tokens": []}}\n\n'],
        [b"data: \xff\xfe\n\n"],
        [b"\x00" * 1000],
    ],
)
async def test_junk_gets_an_apology_and_no_traceback(answer: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
    async with hostile_chat_server(EVENTS_HEAD, lambda: answer) as server:
        assert await reply(server.url) == [APOLOGY]
    assert all(record.exc_info is None for record in caplog.records)


async def test_a_server_that_closes_in_the_middle_gets_an_apology_behind_what_was_spoken() -> None:
    head = EVENTS_HEAD.replace(b"Connection: close", b"Content-Length: 100000")
    async with hostile_chat_server(head, lambda: [sse({"content": "It is "})]) as server:
        assert await reply(server.url) == ["It is ", f" {APOLOGY}"]


async def test_a_page_instead_of_an_answer_is_named(caplog: pytest.LogCaptureFixture) -> None:
    head = EVENTS_HEAD.replace(b"text/event-stream", b"text/html")
    async with hostile_chat_server(head, lambda: [b"<html>Sign in</html>"]) as server:
        assert await reply(server.url) == [APOLOGY]
    assert "text/html" in caplog.text


async def test_an_answer_that_trickles_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.5)
    async with chat_server() as slow:
        slow.pieces, slow.stalls = ["It is "], True
        assert await asyncio.wait_for(reply(slow.url, timeout=60), 10) == ["It is ", f" {APOLOGY}"]


async def test_half_a_character_of_a_server_is_replaced() -> None:
    delta = rb'data: {"choices": [{"delta": {"content": "\ud83d", "tool_calls": [{"index": 0, "function": '
    call = rb'{"name": "look", "arguments": "\ud83d"}}]}}]}' + b"\n\n"
    async with hostile_chat_server(EVENTS_HEAD, lambda: [delta + call, b"data: [DONE]\n\n"]) as server:
        text, made = await reply(server.url)
    assert text == "?"
    assert isinstance(made, FunctionCall)
    assert (made.name, made.arguments) == ("look", "?")


@pytest.mark.parametrize("text", ["x", "word ", "a\u00e9", " ", "1", "! ", "e.g. ", ",", "\n", "Mr. "])
async def test_no_clause_is_longer_than_300_characters(text: str) -> None:
    splitter = ClauseSplitter()
    whole = text * (MAX_EVENT_BYTES // len(text))
    clauses = [*splitter.feed(whole), *splitter.rest()]
    assert max(map(len, clauses), default=0) <= 300
    assert "".join("".join(clauses).split()) == "".join(whole.split()), "nothing is lost"
    late = [*splitter.feed("word " * 180 + "end. And"), *splitter.rest()]
    assert max(map(len, late)) <= 300
    assert MAX_TEXT < MAX_ANSWER
