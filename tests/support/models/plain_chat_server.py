"""A chat server on loopback that keeps to the OpenAI API: a test says the words, it makes the SSE around them.

One that sends what no server should is `HostileChatServer`, without an end; for what real servers do to the API, line
by line, there is `support.scripted_chat_server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any


class ChatServer:
    """Answers every request with `pieces`, one SSE chunk each; keeps what it was asked."""

    def __init__(self) -> None:
        self.pieces: list[str] = ["Sure, ", "it is ", "ten."]
        self.replies: list[list[dict[str, Any]]] = []
        """Chunks for one request after the other, instead of `pieces`, while there are any."""
        self.chunks: list[dict[str, Any]] = []
        """Sent after the pieces, as they are."""
        self.status = 200
        self.error = ""
        """Said with a status other than 200."""
        self.refuses = ""
        """A field of a request with which it is refused, status 400; empty: none."""
        self.silent: asyncio.Event | None = None
        """Nothing is answered before it is set."""
        self.stalls = False
        """Hang after the pieces instead of ending the stream."""
        self.requests: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        """Requests for one token in one piece, by which the bridge looks whether we would answer; kept apart."""
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
        request = json.loads(await reader.readexactly(length))
        streams = bool(request.get("stream"))
        (self.requests if streams else self.checks).append(request)
        if self.silent:
            await self.silent.wait()
        status, error = self.status, self.error
        if self.refuses and self.refuses in request:
            status, error = 400, f"Unrecognized request argument supplied: {self.refuses}"
        kind = "text/event-stream" if status == 200 and streams else "application/json"
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode())
        if status == 200 and not streams:
            message = {"role": "assistant", "content": "Hi"}
            whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
            whole["choices"] = [{"index": 0, "message": message, "finish_reason": "length"}]
            writer.write(json.dumps(whole).encode())
        elif status == 200:
            following = self.replies.pop(0) if self.replies else None
            for piece in self.pieces if following is None else ():
                chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
                chunk["choices"] = [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]
                writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
            for chunk in self.chunks if following is None else following:
                whole = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", **chunk}
                writer.write(f"data: {json.dumps(whole)}\n\n".encode())
            if not self.stalls:
                writer.write(b"data: [DONE]\n\n")
        elif error:
            writer.write(json.dumps({"error": {"message": error}}).encode())
        await writer.drain()
        if self.stalls and streams:
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


EVENTS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def sse(delta: dict[str, Any]) -> bytes:
    """One chunk of an answer as a server-sent event."""
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return f"data: {json.dumps({**chunk, 'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode()


@asynccontextmanager
async def hostile_chat_server(head: bytes, pieces: Callable[[], Iterable[bytes]]) -> AsyncIterator[HostileChatServer]:
    """A server that answers each request with `head` and then `pieces`, as fast as they are read."""
    hostile = HostileChatServer(head, pieces)
    server = await asyncio.start_server(hostile.accept, "127.0.0.1", 0)
    hostile.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield hostile
        await hostile.end()


class HostileChatServer(ChatServer):
    """Sends what no chat server should; counts what was taken of it."""

    def __init__(self, head: bytes, pieces: Callable[[], Iterable[bytes]]) -> None:
        super().__init__()
        self.head, self.made = head, pieces
        self.taken = 0
        """Bytes that the client's socket has taken."""
        self.asked = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        writer.write(self.head)
        with contextlib.suppress(OSError):
            for piece in self.made():
                writer.write(piece)
                await writer.drain()
                self.taken += len(piece)
                await asyncio.sleep(0)
            writer.write_eof()
            await reader.read()
