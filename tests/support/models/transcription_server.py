"""An OpenAI-compatible `audio/transcriptions` on loopback that answers as a test wants, and keeps what it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP


@dataclass
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    fields: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """Of the WAV file."""


@dataclass
class Answer:
    """What is answered: a status, headers and a body; `stalls`: nothing, until the client leaves."""

    body: str | bytes = '{"text": "hello"}'
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    stalls: bool = False


class TranscriptionServer:
    """Plays `answers` one after the other, the last one for all further requests."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = [Answer()]
        self.asked: list[Asked] = []
        self.at_once = self.most_at_once = 0
        self.left = asyncio.Event()
        """A client has closed a request that was not answered."""
        self.hold: asyncio.Event | None = None
        """Nothing is answered before it is set."""
        self._serving: set[asyncio.Task[None]] = set()

    def says(self, *texts: str) -> None:
        self.answers = [Answer(json.dumps({"text": text})) for text in texts]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)

    async def end(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        asked = Asked(head[0].split()[1], headers)
        self._read_form(asked, body)
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.hold:
                await self.hold.wait()
            if answer.stalls:
                await reader.read()
                self.left.set()
                return
        finally:
            self.at_once -= 1
        data = answer.body if isinstance(answer.body, bytes) else answer.body.encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        writer.write(
            f"HTTP/1.1 {answer.status} X\r\nContent-Type: {answer.kind}\r\n{more}"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode()
        )
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    def _read_form(self, asked: Asked, body: bytes) -> None:
        form = BytesParser(policy=HTTP).parsebytes(
            f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode() + body
        )
        for part in form.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            if name == "file":
                with wave.open(io.BytesIO(content)) as file:
                    asked.seconds = file.getnframes() / file.getframerate()
            else:
                asked.fields[str(name)] = content.decode()


@asynccontextmanager
async def transcription_server() -> AsyncIterator[TranscriptionServer]:
    served = TranscriptionServer()
    server = await asyncio.start_server(served.accept, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield served
        await served.end()
