"""A NATS server of loopback that does what a test says: greets, answers, keeps silent, talks nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

INFO = {"server_id": "scripted", "version": "2.15.0", "headers": True, "max_payload": 1 << 20, "proto": 1}


class Connection:
    """One client, from the server's side."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.lines: list[bytes] = []
        """What the client said, without payloads of PUB."""
        self.pings = 0
        self.gone = False
        self._writer = writer

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()

    def subscribed(self, subject: str) -> bool:
        return any(line.startswith(f"SUB {subject} ".encode()) for line in self.lines)

    def sid_of(self, subject: str) -> str:
        line = next(line for line in self.lines if line.startswith(f"SUB {subject} ".encode()))
        return line.split()[-1].decode()


class ScriptedNats:
    """All its connections, oldest first. The attributes say how it behaves from now on."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.greets = True
        """Sends INFO to new connections."""
        self.answers = True
        """Sends PONG."""
        self.reads = True
        """Takes what is sent; else the client's send buffer fills up."""
        self.greeting: Callable[[], bytes] = lambda: b"INFO " + json.dumps(INFO).encode() + b"\r\n"
        self.url = ""

    @property
    def newest(self) -> Connection:
        return self.connections[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        self.connections.append(connection)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.greets:
                writer.write(self.greeting())
            while True:
                while not self.reads:  # noqa: ASYNC110 - set by the test, at no event
                    await asyncio.sleep(0.01)
                line = await reader.readline()
                if not line:
                    break
                connection.lines.append(line.rstrip())
                await self._take(connection, reader, line)
        connection.gone = True
        writer.close()

    async def _take(self, connection: Connection, reader: asyncio.StreamReader, line: bytes) -> None:
        if line.startswith(b"PUB "):
            await reader.readexactly(int(line.split()[-1]) + 2)
        elif line.startswith(b"PING"):
            connection.pings += 1
            if self.answers:
                connection.say(b"PONG\r\n")


@asynccontextmanager
async def scripted_nats() -> AsyncIterator[ScriptedNats]:
    """A listening one; `url` says where."""
    scripted = ScriptedNats()
    serving: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await scripted.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    scripted.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield scripted
    finally:
        server.close()
        for connection in scripted.connections:
            connection.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
