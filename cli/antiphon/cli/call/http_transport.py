"""HTTP as a caller wants it on a bad path: connects that race, and each request in one piece.

A request whose headers and body leave apart is two packets, and either may be lost. `httpx` has no setting for the
backend of its connections: the pool of its transport is replaced here, and nowhere else.
`tests/cli/test_http_transport.py` is the contract.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import httpcore
import httpx

from antiphon.cli.call import connect_race

MAX_HELD: Final = 65536
"""Bytes of a request that wait for its end; what is longer leaves before."""
CLOSING: Final = 0.2
"""Seconds for the end of a TLS connection to be answered; nothing depends on it."""


class WholeRequests(httpcore.AsyncNetworkStream):
    """A connection whose writes leave together when the answer is read. Owner: the pool, on one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._held = bytearray()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                await self._flush()
                return await self._reader.read(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout("no answer in time") from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._held += buffer
        if len(self._held) > MAX_HELD:
            try:
                async with asyncio.timeout(timeout):
                    await self._flush()
            except TimeoutError:
                raise httpcore.WriteTimeout("the server takes nothing") from None
            except OSError as error:
                raise httpcore.WriteError(str(error)) from None

    async def _flush(self) -> None:
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            self._writer.write(held)
            await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except TimeoutError:
            await self.aclose()
            raise httpcore.ConnectTimeout("the TLS handshake took too long") from None
        except OSError as error:  # ssl.SSLError is one
            await self.aclose()
            raise httpcore.ConnectError(str(error)) from None
        return self

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "ssl_object" | "socket":
                return self._writer.get_extra_info(info)
            case "client_addr":
                return self._writer.get_extra_info("sockname")
            case "server_addr":
                return self._writer.get_extra_info("peername")
            case "is_readable":  # an idle connection that is, was closed by the server
                return self._reader.at_eof() or self._writer.is_closing()
        return None


class RacedConnects(httpcore.AsyncNetworkBackend):
    """Makes the connections of a pool. No state."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                connected = await connect_race.connect(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"no connection to {host} port {port}") from None
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None
        return WholeRequests(*await asyncio.open_connection(sock=connected))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@lru_cache(maxsize=8)
def _context(verify: ssl.SSLContext | bool) -> ssl.SSLContext:
    """One for all clients of this process: to read the system's authorities takes 15 ms."""
    return httpx.create_ssl_context(verify, trust_env=False)


class Transport(httpx.AsyncHTTPTransport):
    """For `httpx.AsyncClient(transport=...)`. Owner: the client, which closes it; used on one event loop."""

    def __init__(self, verify: ssl.SSLContext | bool = True) -> None:
        context = _context(verify)
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(ssl_context=context, network_backend=RacedConnects())
