"""The server of `/metrics` is bounded, whatever others leave open on it or send to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from antiphon.runtime.metrics import http
from antiphon.runtime.metrics.http import MAX_CONNECTIONS, MAX_REQUEST, Answer, HttpServer

pytestmark = pytest.mark.process


async def page(accept: str) -> Answer:
    return Answer("200 OK", "text/plain", accept.encode())


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    server = HttpServer({"/metrics": page})
    port = await server.start("127.0.0.1", 0)
    try:
        yield port
    finally:
        server.close()


async def asked(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_connections_are_bounded_and_the_oldest_makes_room() -> None:
    async with served() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS + 10)]
        async with asyncio.timeout(2):  # below the 5 s that a silent one has
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await silent[0][0].readexactly(1)
        assert (await asked(port, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        for _, writer in silent:
            writer.close()


async def test_a_request_that_is_too_long_or_never_ends_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE_SECONDS", 0.1)
    async with served() as port:
        assert await asked(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 4 * MAX_REQUEST) == b""
        assert await asked(port, b"GET /metrics HTTP/1.1\r\n") == b""


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"HEAD /metrics HTTP/1.1", b"405"),
        (b"GET /metrics?name[]=x HTTP/1.1", b"200"),
        (b"GET /../etc/passwd HTTP/1.1", b"404"),
        (b"\xff\xfe\x00", b"405"),
        (b"", b"405"),
        (b"GET", b"404"),
    ],
)
async def test_only_pages_that_exist_are_got(request_line: bytes, status: bytes) -> None:
    async with served() as port:
        assert (await asked(port, request_line + b"\r\n\r\n")).split()[1] == status


async def test_the_page_learns_what_its_client_accepts() -> None:
    async with served() as port:
        answer = await asked(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\naccept:  text/plain \r\n\r\n")
    assert answer.endswith(b"\r\n\r\ntext/plain")
