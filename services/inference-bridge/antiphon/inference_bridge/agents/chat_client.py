"""The HTTP client for a chat server, which bounds what that server can make this process read, keep and wait for.

The bound is on the bytes as they come: in all, per server-sent event, per error. Nothing is decompressed, no redirect
is followed, and the event loop gets its turn between small pieces. The client also keeps what was found out about its
server: which options it refuses, and whether its template opens the model's thoughts.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

import httpx2

from antiphon.inference_bridge.agents.server_habits import ServerHabits
from antiphon.inference_bridge.retry_after import seconds_of
from antiphon.runtime.telemetry import spans

logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs a line for every request

MAX_STREAM_BYTES: Final = 8 * 1024 * 1024
"""Of a streamed answer. 12,000 characters one by one, with the 250 bytes of JSON around each, are 3 MB."""
MAX_EVENT_BYTES: Final = 128 * 1024
"""Of one server-sent event, and so of one line."""
MAX_STREAM_LINES: Final = 100_000
"""Of a streamed answer: three for each of its events, and the comments by which servers show that they live."""
MAX_WHOLE_BYTES: Final = 1024 * 1024
"""Of an answer in one piece."""
MAX_ERROR_BYTES: Final = 64 * 1024
"""Of what comes with a status that is no success; the rest is left unread."""

_PIECE: Final = 4096
"""Bytes that the decoder gets at once: it reads all events in them before the event loop does anything else."""
_SLICE_SECONDS: Final = 0.002
"""Time after which other tasks get the event loop, while the server's bytes are there already."""
_EVENT_ENDS: Final = (b"\n\n", b"\n\r\n", b"\r\r")


_CONNECT_SECONDS: Final = 5.0
_CONNECTIONS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=60.0)
_AZURE: Final = (".azure.com", ".azure.us", ".azure.cn")


@functools.cache
def _tls() -> ssl.SSLContext:
    """Made once: reading the certificates takes 0.1 s (`cProfile` of a client's construction)."""
    return httpx2.create_ssl_context()


class ChatServerError(Exception):
    """The server's answer goes beyond what is read of it, or is in a form that is not read."""


class StatusError(Exception):
    """The server answers with a status that is no success."""

    def __init__(self, status: int, text: str, headers: httpx2.Headers) -> None:
        """`text`: the body, as much as is read of it."""
        super().__init__(f"status {status}: {' '.join(text.split())[:300]}")
        self.status, self.text = status, text
        self.location = headers.get("location", "")
        self.retry_after = seconds_of(headers.get("retry-after", ""), time.time())
        """Seconds; None if the server does not say."""
        ms = headers.get("retry-after-ms", "")
        if ms.replace(".", "", 1).isdecimal():
            self.retry_after = float(ms) / 1000

    @property
    def body(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None


class ChatClient:
    """One chat server, and what this process knows of it.

    Owned by the process that asks the server, for its lifetime. Agents and the check use it on the event loop.
    """

    def __init__(self, base_url: str, api_key: str) -> None:
        """`api_key` may be empty: local servers want none."""
        self.base_url = base_url.rstrip("/")
        self.has_key = bool(api_key)
        self.habits = ServerHabits()
        """What the server was found to refuse."""
        self.template_opens = False
        """Its answers were found to begin in thoughts, of which only the end is marked."""
        self.answered = 0.0
        """`time.monotonic()` at which it has last sent something good."""
        self._url = _completions_url(base_url)
        headers = {"User-Agent": "antiphon", "Accept": "text/event-stream, application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
            if (urlsplit(base_url).hostname or "").endswith(_AZURE):
                headers["api-key"] = api_key
        self._http = BoundedClient(
            verify=_tls(), headers=headers, timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS), limits=_CONNECTIONS
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def found(self, habits: ServerHabits) -> None:
        """A request of this form was taken after another one had been refused: ask so from now on."""
        self.habits = habits

    def template_opens_thoughts(self, opens: bool) -> None:
        """Whether an answer has shown that the model's template opens its thoughts."""
        self.template_opens = opens

    def has_answered(self) -> None:
        """Something good has come."""
        self.answered = time.monotonic()

    @asynccontextmanager
    async def ask(self, body: dict[str, Any], within: float) -> AsyncGenerator[httpx2.Response, None]:
        """A successful response, whose body is read by the caller.

        `StatusError` for others; `ChatServerError`, `httpx2.HTTPError`; `TimeoutError` if its head is not there after
        `within` seconds.
        """
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json"} | spans.traceparent_header()
        request = self._http.build_request("POST", self._url, content=data, headers=headers)
        async with asyncio.timeout(within):
            response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                async with asyncio.timeout(within):
                    text = await _text(response)
                raise StatusError(response.status_code, text, response.headers)
            yield response
        finally:
            await response.aclose()


async def _text(response: httpx2.Response) -> str:
    """The body of an error, as much as comes of it."""
    data = b""
    with contextlib.suppress(httpx2.HTTPError, ChatServerError):
        async for piece in response.aiter_raw():
            data += piece
    return data.decode("utf-8", "replace")


def _completions_url(base_url: str) -> str:
    """The address of `chat/completions`; a base URL may have a query, as Azure's do, or be the whole address."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return urlunsplit(parts._replace(path=path))


class BoundedClient(httpx2.AsyncClient):
    """Sends the requests to one chat server. Owned by the `ChatClient` of this process, used on its event loop."""

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
