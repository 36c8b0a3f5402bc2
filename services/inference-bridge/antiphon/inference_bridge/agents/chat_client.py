"""The HTTP client for a chat server, which bounds what that server can make this process read, keep and wait for.

The library keeps a line until it ends, and an answer until it is complete, however long they are. So the bound is below
it, on the bytes as they come: in all, per server-sent event, per error. Nothing is decompressed, no redirect is
followed, and the event loop gets its turn between small pieces.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
import openai

MAX_STREAM_BYTES: Final = 8 * 1024 * 1024
"""Of a streamed answer. `MAX_ANSWER` characters one by one, with the 250 bytes of JSON around each, are 3 MB."""
MAX_EVENT_BYTES: Final = 128 * 1024
"""Of one server-sent event, and so of one line."""
MAX_STREAM_LINES: Final = 100_000
"""Of a streamed answer: three for each of its events, and the comments by which servers show that they live. The
library takes 2.4 us for an empty one (`pytest -k empty_lines --durations 1`)."""
MAX_WHOLE_BYTES: Final = 1024 * 1024
"""Of an answer in one piece."""
MAX_ERROR_BYTES: Final = 64 * 1024
"""Of what comes with a status that is no success; the rest is left unread."""

_PIECE: Final = 4096
"""Bytes that the library gets at once: it reads all events in them before the event loop does anything else."""
_SLICE_SECONDS: Final = 0.002
"""Time after which other tasks get the event loop, while the server's bytes are there already."""
_EVENT_ENDS: Final = (b"\n\n", b"\n\r\n", b"\r\r")


class ChatServerError(openai.OpenAIError):
    """The server's answer goes beyond what is read of it, or is in a form that is not read."""


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """Sends the requests to one chat server.

    Owned by the `AsyncOpenAI` of this process, used on its event loop.
    """

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """One request; `ChatServerError` for an answer beyond the bounds, there or while its body is read."""
        stream = options.pop("stream", False)
        options["follow_redirects"] = False
        request.headers["Accept-Encoding"] = "identity"
        response = await super().send(request, stream=True, **options)
        try:
            encoding = response.headers.get("content-encoding", "identity").strip().lower()
            if encoding not in ("", "identity"):
                raise ChatServerError(f"the answer is compressed ({encoding:.40}), which was not asked for")
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _BoundedStream(response)
            if not stream:
                await response.aread()
        except BaseException:
            await response.aclose()
            raise
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    """The body of one response; owned by that response."""

    def __init__(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._stream = response.stream
        self._failed = not response.is_success
        self._has_events = response.headers.get("content-type", "").startswith("text/event-stream")
        self._bytes = self._lines = 0
        self._event_bytes = 0
        self._tail = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        began = time.monotonic()
        async for chunk in self._stream:
            for at in range(0, len(chunk), _PIECE):
                piece = self._bounded(chunk[at : at + _PIECE])
                if piece:
                    yield piece
                if self._failed and self._bytes >= MAX_ERROR_BYTES:
                    return
                if time.monotonic() - began > _SLICE_SECONDS:
                    await asyncio.sleep(0)
                    began = time.monotonic()

    async def aclose(self) -> None:
        """Close the connection, or give it back."""
        await self._stream.aclose()

    def _bounded(self, piece: bytes) -> bytes:
        """The piece, or what may be read of it; `ChatServerError` where a bound is exceeded."""
        if self._failed:
            piece = piece[: MAX_ERROR_BYTES - self._bytes]
        self._bytes += len(piece)
        if self._failed:
            return piece
        most = MAX_STREAM_BYTES if self._has_events else MAX_WHOLE_BYTES
        if self._bytes > most:
            raise ChatServerError(f"the answer has more than {most} bytes")
        if self._has_events:
            self._lines += piece.count(b"\n") + piece.count(b"\r")
            if self._lines > MAX_STREAM_LINES:
                raise ChatServerError(f"the answer has more than {MAX_STREAM_LINES} lines")
            seen = self._tail + piece
            end = max(seen.rfind(mark) for mark in _EVENT_ENDS)
            self._event_bytes = len(seen) - end if end >= 0 else self._event_bytes + len(piece)
            self._tail = seen[-2:]
            if self._event_bytes > MAX_EVENT_BYTES:
                raise ChatServerError(f"an event of the answer has more than {MAX_EVENT_BYTES} bytes")
        return piece
