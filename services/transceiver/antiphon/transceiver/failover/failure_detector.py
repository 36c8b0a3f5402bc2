"""TCP connections between processes that break when one of them dies: our listening end, and the probe of another's.

Each process listens on a TCP port, sends its process id to each process that connects, and then holds the connection.
The kernel closes it the moment the process is gone, however it ended: the processes at the other ends know within
milliseconds, where announcements would take seconds. A machine without power closes nothing: so a process that has sent
an octet is sent beats. A connection that breaks or has no beats proves nothing yet; a port on which nothing, or another
process, answers does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from antiphon.schemas.addresses import Address, parse_address

log = logging.getLogger(__name__)

ANSWER_WITHIN: Final = 1.0
"""Seconds for a process to send its id: longer than its loop ever stands still."""
BEAT_SECONDS: Final = 0.25
"""Between two beats."""
SILENT_SECONDS: Final = 1.25
"""Without a beat: then the port is probed, and after `ANSWER_WITHIN` more the process counts as dead."""
BEAT: Final = b"."
MAX_CONNECTIONS: Final = 64
"""Any above that are closed at once, after the process id: they can still be used as a probe."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FailureDetector:
    """Our listening end.

    Owner: the process, from `listen` to `close`. Event loop only.
    """

    def __init__(self, process_id: str, server: asyncio.Server, connections: set[asyncio.StreamWriter]) -> None:
        self.process_id = process_id
        self.port: int = server.sockets[0].getsockname()[1]
        self._server = server
        self._connections = connections

    @classmethod
    async def listen(cls, process_id: str, host: str) -> FailureDetector:
        """On a free port of this address."""
        connections: set[asyncio.StreamWriter] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(writer)
            try:
                writer.write(process_id.encode() + b"\n")
                if len(connections) <= MAX_CONNECTIONS and await reader.read(1):  # nothing: it has closed, or is gone
                    await _beat(reader, writer)
            except OSError:
                pass
            finally:
                connections.discard(writer)
                writer.close()

        return cls(process_id, await asyncio.start_server(connected, host, 0, limit=1024), connections)

    async def close(self) -> None:
        self._server.close()
        for connection in tuple(self._connections):
            connection.close()
        await self._server.wait_closed()


async def _beat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the other process closes. More octets of it change nothing."""
    while not writer.is_closing():
        writer.write(BEAT)
        beat = asyncio.get_running_loop().time() + BEAT_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(beat):
                if not await reader.read(1024):
                    return
                await asyncio.sleep(BEAT_SECONDS)


async def until_silent(connection: Connection, beats: bool) -> None:
    """Hold a connection that `probe` made until it breaks or, where the other end has `beats`, is without them."""
    reader, writer = connection
    if beats:
        writer.write(BEAT)
    try:
        with contextlib.suppress(OSError, TimeoutError):
            while True:
                async with asyncio.timeout(SILENT_SECONDS if beats else None):
                    if not await reader.read(1024):
                        return
    finally:
        writer.close()


async def probe(address: str, process_id: str) -> Connection | None:
    """A connection to the process with that id, or None if it is not there any more."""
    host, port = parse_address(address)
    writer = None
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            reader, writer = await asyncio.open_connection(host, port, limit=1024)
            if await reader.readline() == process_id.encode() + b"\n":
                connection, writer = (reader, writer), None
                return connection
    except (OSError, TimeoutError, ValueError):
        pass
    finally:
        if writer is not None:
            writer.close()
    return None


def liveness_address(host: str, port: int) -> str:
    """As it is announced."""
    return str(Address(host, port))
