"""The agent behind an OpenAI-compatible chat server: a real HTTP server on loopback that speaks SSE."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from support.models.plain_chat_server import ChatServer, chat_server

from antiphon.inference_bridge.agents import FunctionCall, Request, Usage
from antiphon.inference_bridge.agents.chat_history import CALL_BEGINS, ONE_MOMENT, chat_messages
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.conversation import message

NOW = datetime(2026, 11, 22, 10, 30)
APOLOGY = phrase("apology")


@asynccontextmanager
async def talking_to(chat: ChatServer, timeout: float = 5.0) -> AsyncIterator[LanguageModel]:
    async with client_for(chat.url, "secret") as client:
        yield LanguageModel(client, "tiny", timeout)


def said(role: str, text: str) -> dict[str, Any]:
    kind = "output_audio" if role == "assistant" else "input_text"
    return message(f"item_{text}", role, "completed", {"type": kind, "transcript": text, "text": None})


def asking(text: str, *items: dict[str, Any], **settings: Any) -> Request:
    return Request(text, NOW, [*items, said("user", text)], "Be brief.", **settings)


async def answer(agent: LanguageModel, text: str) -> str:
    return "".join([part async for part in agent.reply(asking(text)) if isinstance(part, str)])


@pytest.mark.process
async def test_the_answer_is_streamed_and_the_conversation_on_record_is_sent() -> None:
    async with chat_server() as chat, talking_to(chat) as agent:
        request = asking("Thanks", said("assistant", "Hello!"), said("user", "Hm?"), said("assistant", ""))
        assert "".join([part async for part in agent.reply(request) if isinstance(part, str)]) == "Sure, it is ten."
        system, *rest = chat.requests[0]["messages"]
        assert system["content"].startswith("Be brief.")
        assert "22 November 2026, 10:30" in system["content"]
        assert [(m["role"], m["content"]) for m in rest] == [
            ("user", CALL_BEGINS),
            ("assistant", "Hello!"),
            ("user", "Hm?\nThanks"),
        ]
        assert chat.requests[0]["model"] == "tiny"
        assert chat.requests[0]["stream"] is True
        assert "Bearer secret" in chat.headers[0]


@pytest.mark.process
async def test_an_answer_that_nobody_wants_any_more_is_closed_at_the_server() -> None:
    async with chat_server() as chat, talking_to(chat) as agent:
        chat.stalls = True
        reply = agent.reply(asking("Tell me a story"))
        assert await anext(reply) == "Sure, "
        await reply.aclose()
        await asyncio.wait_for(chat.closed_early.wait(), 5)


@pytest.mark.process
async def test_a_function_call_is_put_together_from_its_pieces_and_usage_is_told() -> None:
    async with chat_server() as chat, talking_to(chat) as agent:
        chat.pieces = []
        first = {"index": 0, "id": "call_7", "function": {"name": "look", "arguments": '{"at":'}}
        second = {"index": 0, "function": {"arguments": '"it"}'}}
        chat.chunks = [
            {"choices": [{"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}]}
            for piece in (first, second)
        ] + [{"choices": [], "usage": {"prompt_tokens": 40, "completion_tokens": 7, "total_tokens": 47}}]
        tool = {"type": "function", "name": "look", "description": "", "parameters": {"type": "object"}}
        request = asking(
            "Look at it", tools=[tool], tool_choice={"type": "function", "name": "look"}, max_output_tokens=9
        )
        parts = [part async for part in agent.reply(request)]
        assert parts == [FunctionCall("call_7", "look", '{"at":"it"}'), Usage(40, 7)]
        sent = chat.requests[0]
        assert sent["tools"] == [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
        assert sent["tool_choice"] == {"type": "function", "function": {"name": "look"}}
        assert sent["max_tokens"] == 9


@pytest.mark.pure
def test_function_calls_and_their_outputs_are_in_the_order_that_chat_servers_want() -> None:
    call = {"type": "function_call", "name": "look", "arguments": "{}"}
    items = [
        said("user", "Look"),
        {**call, "id": "a", "call_id": "call_1"},
        {**call, "id": "b", "call_id": "call_2"},
        said("user", "Well?"),
        {"type": "function_call_output", "id": "c", "call_id": "call_1", "output": "a cat"},
    ]
    messages = chat_messages(items, "Be brief.")[1:]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert messages[4]["content"] == ONE_MOMENT, "templates want the assistant between a result and the user"
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call_1", "call_2"]
    assert messages[2]["content"] == "a cat"
    assert messages[3]["tool_call_id"] == "call_2", "the one without an output too: servers refuse a call without"


@pytest.mark.process
async def test_a_server_that_fails_gets_an_apology() -> None:
    async with chat_server() as chat, talking_to(chat, timeout=0.2) as agent:
        chat.status = 500
        assert APOLOGY in await answer(agent, "Hello")


@pytest.mark.process
async def test_a_server_that_stalls_gets_an_apology_after_the_time_limit() -> None:
    async with chat_server() as chat, talking_to(chat, timeout=0.2) as agent:
        chat.stalls = True
        assert await answer(agent, "Hello") == f"Sure, it is ten. {APOLOGY}"


@pytest.mark.process
async def test_a_server_that_is_not_there_gets_an_apology() -> None:
    async with chat_server() as chat:
        pass
    async with talking_to(chat, timeout=0.2) as agent:
        assert APOLOGY in await answer(agent, "Hello")


@pytest.mark.process
async def test_an_empty_answer_gets_an_apology() -> None:
    async with chat_server() as chat, talking_to(chat) as agent:
        chat.pieces = []
        assert await answer(agent, "Hello") == APOLOGY
