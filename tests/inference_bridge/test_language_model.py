"""The agent behind an OpenAI-compatible chat server: a real HTTP server on loopback that speaks SSE."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from antiphon.inference_bridge.agents.language_model import APOLOGY, LanguageModel, client_for

NOW = datetime(2026, 11, 22, 10, 30)


class ChatServer:
    """Answers every request with `pieces`, one SSE chunk each; keeps what it was asked."""

    def __init__(self) -> None:
        self.pieces: list[str] = ["Sure, ", "it is ", "ten."]
        self.status = 200
        self.stalls = False
        """Hang after the pieces instead of ending the stream."""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.closed_early = asyncio.Event()
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self.serve(reader, writer)))

    async def end(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.answer(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.headers.append(head)
        length = next(
            int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length")
        )
        self.requests.append(json.loads(await reader.readexactly(length)))
        kind = "text/event-stream" if self.status == 200 else "application/json"
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode())
        if self.status == 200:
            for piece in self.pieces:
                chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
                chunk["choices"] = [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]
                writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
            if not self.stalls:
                writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        if self.stalls:
            await reader.read()
            self.closed_early.set()
        else:
            writer.write_eof()
            await reader.read()


@asynccontextmanager
async def chat_server() -> AsyncIterator[ChatServer]:
    chat = ChatServer()
    server = await asyncio.start_server(chat.accept, "127.0.0.1", 0)
    chat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield chat
        await chat.end()


@asynccontextmanager
async def talking_to(chat: ChatServer, timeout: float = 5.0) -> AsyncIterator[LanguageModel]:
    async with client_for(chat.url, "secret") as client:
        yield LanguageModel(client, "tiny", "Be brief.", timeout)


async def answer(agent: LanguageModel, text: str) -> str:
    return "".join([part async for part in agent.reply(text, NOW) if isinstance(part, str)])


async def test_the_answer_is_streamed_and_the_conversation_remembered() -> None:
    async with chat_server() as chat, talking_to(chat) as agent:
        agent.greeted("Hello!")
        assert await answer(agent, "What time is it?") == "Sure, it is ten."
        agent.heard("Sure, it is ten.")
        await answer(agent, "Thanks")
        system, *rest = chat.requests[1]["messages"]
        assert system["content"].startswith("Be brief.")
        assert "22 November 2026, 10:30" in system["content"]
        assert [(m["role"], m["content"]) for m in rest] == [
            ("assistant", "Hello!"),
            ("user", "What time is it?"),
            ("assistant", "Sure, it is ten."),
            ("user", "Thanks"),
        ]
        assert chat.requests[0]["model"] == "tiny"
        assert chat.requests[0]["stream"] is True
        assert "Bearer secret" in chat.headers[0]


async def test_only_what_was_heard_of_an_interrupted_answer_is_remembered() -> None:
    async with chat_server() as chat, talking_to(chat) as agent:
        chat.stalls = True
        reply = agent.reply("Tell me a story", NOW)
        assert await anext(reply) == "Sure, "
        await reply.aclose()
        await asyncio.wait_for(chat.closed_early.wait(), 5)
        agent.heard("Sure,")
        chat.stalls = False
        await answer(agent, "Stop")
        assert [m["content"] for m in chat.requests[1]["messages"][1:]] == ["Tell me a story", "Sure,", "Stop"]


async def test_a_turn_of_which_nothing_was_heard_is_undone() -> None:
    async with chat_server() as chat, talking_to(chat) as agent:
        await answer(agent, "I would like")
        agent.heard("")
        await answer(agent, "I would like a table")
        assert [m["content"] for m in chat.requests[1]["messages"][1:]] == ["I would like a table"]


async def test_a_server_that_fails_gets_an_apology() -> None:
    async with chat_server() as chat, talking_to(chat) as agent:
        chat.status = 500
        assert APOLOGY in await answer(agent, "Hello")


async def test_a_server_that_stalls_gets_an_apology_after_the_time_limit() -> None:
    async with chat_server() as chat, talking_to(chat, timeout=0.2) as agent:
        chat.stalls = True
        assert await answer(agent, "Hello") == f"Sure, it is ten. {APOLOGY}"


async def test_a_server_that_is_not_there_gets_an_apology() -> None:
    async with chat_server() as chat:
        pass
    async with talking_to(chat) as agent:
        assert APOLOGY in await answer(agent, "Hello")


async def test_an_empty_answer_gets_an_apology() -> None:
    async with chat_server() as chat, talking_to(chat) as agent:
        chat.pieces = []
        assert await answer(agent, "Hello") == APOLOGY
