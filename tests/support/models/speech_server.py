"""A service for speech by URL on loopback, `POST /v1/audio/speech`, that answers as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]


def tone(seconds: float, rate: int = 24000, loudness: int = 8000) -> Samples:
    """A voice without words."""
    return (loudness * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def wav(samples: NDArray[Any], rate: int, size: int | None = None, channels: int = 1, extra: bytes = b"") -> bytes:
    """A WAV file of 16-bit integers or 32-bit floats. `size`: what its head says; as streams write it, 0xFFFFFFFF."""
    kind, bits = (3, 32) if samples.dtype == np.float32 else (1, 16)
    data = samples.tobytes()
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + extra
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF if size is not None else len(chunks) + 4) + b"WAVE" + chunks


@dataclass
class Answer:
    """To one request. A piece of None is waited at until the server's `go` is set."""

    pieces: list[bytes | None] = field(default_factory=lambda: [tone(0.4).tobytes()])
    status: int = 200
    content_type: str = "audio/pcm"
    headers: str = ""
    error: str = ""
    """Text of an error, as OpenAI wraps it."""
    cut: bool = False
    """The connection breaks behind the pieces."""
    head_after: asyncio.Event | None = None
    """Nothing at all is sent before it is set."""


class SpeechServer:
    """Answers each request by `answers`, one after the other, then by `answer`."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Answer] = lambda _: Answer()
        self.answers: list[Answer] = []
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.arrived: list[float] = []
        """Loop time of each request."""
        self.at_once = self.most_at_once = 0
        self.go = asyncio.Event()
        self.closed_early = asyncio.Event()
        """A client has closed its connection before it got all."""
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def end(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.lower().splitlines()
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
        request = json.loads(await reader.readexactly(length))
        self.heads.append(head)
        self.requests.append(request)
        self.arrived.append(asyncio.get_running_loop().time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        gone = asyncio.create_task(reader.read())  # ends when the client closes
        try:
            answering = asyncio.create_task(self._send(writer, self._answer_to(request, head)))
            done, _ = await asyncio.wait({gone, answering}, return_when=asyncio.FIRST_COMPLETED)
            if answering not in done:
                self.closed_early.set()
                answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
        finally:
            self.at_once -= 1
            gone.cancel()

    def _answer_to(self, request: dict[str, Any], head: str) -> Answer:
        if not head.startswith("POST /v1/audio/speech "):
            return Answer(status=404, error="Not Found")
        return self.answers.pop(0) if self.answers else self.answer(request)

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        if answer.head_after:
            await answer.head_after.wait()
        head = f"HTTP/1.1 {answer.status} X\r\nConnection: close\r\n{answer.headers}"
        if answer.status != 200 or answer.error:
            body = json.dumps({"error": {"message": answer.error}}).encode()
            writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        else:
            writer.write(f"{head}Content-Type: {answer.content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for piece in answer.pieces:
                if piece is None:
                    await self.go.wait()
                elif piece:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
            if answer.cut:
                writer.transport.abort()
                return
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.write_eof()


@asynccontextmanager
async def speech_server() -> AsyncIterator[SpeechServer]:
    speech = SpeechServer()
    server = await asyncio.start_server(speech.accept, "127.0.0.1", 0)
    speech.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield speech
        await speech.end()
