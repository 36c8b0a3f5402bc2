"""An HTTP server as the other side of a tool: it keeps what it is asked, and answers as the path says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Asked:
    """One request as it came. A value."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ToolEndpoint:
    """Owned by a test, for as long as `running`."""

    url: str = ""
    elsewhere: str = ""
    """What `/elsewhere` redirects to."""
    asked: list[Asked] = field(default_factory=list)
    failures: int = 0
    """So many requests to `/busy` get the status 503 before one is answered."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ToolEndpoint]:
        """On a port of 127.0.0.1."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.asked.append(Asked(head[0], headers, body))
            await self._answer(head[0].split(" ")[1].partition("?")[0], writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        match path:
            case "/slow":
                await asyncio.sleep(30)
            case "/long":
                _write(writer, 200, b"y" * 1_000_000)
            case "/endless":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
                while True:
                    writer.write(b"z" * 65536)
                    await writer.drain()
            case "/rubbish":
                writer.write(b"\x00\xffnot HTTP at all\r\n\r\n")
            case "/cut":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            case "/picture":
                _write(writer, 200, b"\x89PNG", "Content-Type: image/png")
            case "/zipped":
                _write(writer, 200, b"\x1f\x8b", "Content-Encoding: gzip")
            case "/missing":
                _write(writer, 404, b"no such order", "Content-Type: text/plain")
            case "/elsewhere":
                _write(writer, 302, b"", f"Location: {self.elsewhere}")
            case "/moved":
                _write(writer, 307, b"", "Location: /here")
            case "/round":
                _write(writer, 302, b"", "Location: /round")
            case "/busy" if self.failures:
                self.failures -= 1
                _write(writer, 503, b"")
            case _:
                _write(writer, 200, b'{"table": 4}', "Content-Type: application/json", "Set-Cookie: caller=1")


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(body)}", "Connection: close", *headers]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
