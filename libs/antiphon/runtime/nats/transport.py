"""The TCP or TLS connection below the NATS client: made to each address of a name in turn, and cut at once.

With nats-py's own, a connection whose server reads nothing could not be closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

CONNECT_SECONDS: Final = 2.0
"""Seconds for each step of connecting: the TCP connection, the server's greeting, TLS, the answer to our CONNECT."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: the kernel drops what it has not sent, and resets the connection."""

InFront = Callable[[asyncio.Protocol], asyncio.BaseProtocol]
"""Makes what stands between a connection and its stream reader: a `FrameReader`."""


class BusTransport(TcpTransport):
    """A TCP or TLS connection that can be cut, whatever waits in its buffers.

    Owned by one client, which uses it for all its connections, one after the other, on its loop.
    """

    def __init__(self, in_front: InFront | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._in_front = in_front
        self._attempts = 0
        self._cut = False

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:
        """Connect to one address of the name. Each attempt begins with another one: an address may never answer."""
        self.abort()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(connect_timeout):
            found = await loop.getaddrinfo(uri.hostname, uri.port, type=socket.SOCK_STREAM)
        first = self._attempts % len(found)
        self._attempts += 1
        failure: OSError = OSError(f"{uri.hostname} has no address")
        for family, kind, protocol, _, address in [*found[first:], *found[:first]]:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.setblocking(False)
                async with asyncio.timeout(connect_timeout / len(found)):
                    await loop.sock_connect(connection, address)
                    reader, behind = self._reader(buffer_size)
                    transport, _ = await loop.create_connection(partial(self._before, behind), sock=connection)
                    writer = asyncio.StreamWriter(transport, behind, reader, loop)
            except OSError as error:  # a time-out is one
                connection.close()
                failure = error if str(error) else TimeoutError(f"no answer from {uri.hostname}")
            except BaseException:
                connection.close()
                raise
            else:
                self._bare_io_reader = self._io_reader = reader
                self._bare_io_writer = self._io_writer = writer
                self._cut = False
                return
        raise failure

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: float
    ) -> None:
        """As nats-py's, with the same reader in front of the stream as in clear."""
        assert self._io_writer is not None, "connect first"
        reader, behind = self._reader(buffer_size)
        name = uri if isinstance(uri, str) else uri.hostname
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(connect_timeout):
            transport = await loop.start_tls(
                self._io_writer.transport, self._before(behind), ssl_context, server_hostname=name
            )
        assert transport is not None, "only a transport that is closing has none"
        self._io_reader = reader
        self._io_writer = asyncio.StreamWriter(transport, behind, reader, loop)

    @staticmethod
    def _reader(buffer_size: int) -> tuple[asyncio.StreamReader, asyncio.StreamReaderProtocol]:
        reader = asyncio.StreamReader(limit=buffer_size)
        return reader, asyncio.StreamReaderProtocol(reader)

    def _before(self, protocol: asyncio.StreamReaderProtocol) -> asyncio.BaseProtocol:
        return protocol if self._in_front is None else self._in_front(protocol)

    def abort(self) -> None:
        """Cut the connection now. A close would wait until the server has read what is in the buffers."""
        self._cut = True
        for writer in (self._io_writer, self._bare_io_writer):
            if writer is not None:
                with contextlib.suppress(OSError, AttributeError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    async def drain(self) -> None:
        """As nats-py's; after `abort` without an error."""
        try:
            await super().drain()  # type: ignore[no-untyped-call]
        except OSError:
            if not self._cut:
                raise

    def unsent(self) -> int:
        """Bytes that are not in the kernel's buffer yet."""
        return self._io_writer.transport.get_write_buffer_size() if self._io_writer is not None else 0
