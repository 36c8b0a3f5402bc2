"""A small HTTP server for scrapers and health checks on the same network; not a web server.

One answer per connection, GET only, requests of at most `MAX_REQUEST` bytes, `MAX_CONNECTIONS` at a time, each for
`PATIENCE_SECONDS`. It shows no client's address.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

MAX_REQUEST: Final = 8192
PATIENCE_SECONDS: Final = 5.0
MAX_CONNECTIONS: Final = 32
"""Above it the oldest one makes room: each has its answer at once, or has sent no request."""
_BACKLOG: Final = 1
"""asyncio tries to accept as often as this in one go, and logs each failure: one line a second without a descriptor."""


class Answer(NamedTuple):
    """What a page answers."""

    status: str
    kind: str
    """Its media type."""
    body: bytes


Page = Callable[[str], Awaitable[Answer]]
"""Called with the request's header `Accept`."""


class HttpServer:
    """Serves its pages from `start` to `close`. Owner: a part of the composition root; event loop only."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        """`pages` by their path."""
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    async def start(self, host: str, port: int, shared: bool = False) -> int:
        """Listen; returns the port. OSError if it is taken. `shared`: beside another process with the same one."""
        self._server = await asyncio.start_server(
            self._serve, host, port, limit=MAX_REQUEST, backlog=_BACKLOG, reuse_port=(shared and bool(port)) or None
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def close(self) -> None:
        """Stop listening, and end what is being answered."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MAX_CONNECTIONS:
            oldest = next(iter(self._writers))
            del self._writers[oldest]
            oldest.transport.abort()
        self._writers[writer] = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(request.decode("ascii", "replace"))
                head = (
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._writers.pop(writer, None)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, request: str) -> Answer:
        first, *lines = request.split("\r\n")
        method, _, target = first.partition(" ")
        path = target.partition(" ")[0].partition("?")[0]
        if method != "GET":
            return Answer("405 Method Not Allowed", "text/plain", b"GET only\n")
        page = self._pages.get(path)
        if page is None:
            paths = ", ".join(self._pages)
            return Answer("404 Not Found", "text/plain", f"there is {paths}\n".encode())
        fields = (line.partition(":") for line in lines)
        accept = next((value.strip() for name, _, value in fields if name.lower() == "accept"), "")
        return await page(accept)
