"""A TCP way to a server that can fall silent without breaking: what a lost power line or a moved address looks like."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SwallowingProxy:
    """Its connections of before `swallow` are held and forward nothing any more; new ones work."""

    def __init__(self, host: str, port: int) -> None:
        self.url = ""
        self.accepted = 0
        self.refuses = False
        """New connections are closed at once."""
        self._to = host, port
        self._lives: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def swallow(self) -> None:
        for each in self._lives:
            each.clear()

    def cut(self) -> None:
        """No way to the server any more, old or new."""
        self.refuses = True
        self.swallow()

    def mend(self) -> None:
        """Everything that was held comes now."""
        self.refuses = False
        for each in self._lives:
            each.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.close()
            return
        self.accepted += 1
        forwards = asyncio.Event()
        forwards.set()
        self._lives.append(forwards)
        there, thither = await asyncio.open_connection(*self._to)
        for source, sink in ((reader, thither), (there, writer)):
            task = asyncio.create_task(_forward(source, sink, forwards))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter, forwards: asyncio.Event) -> None:
    try:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                await forwards.wait()
                sink.write(data)
                await sink.drain()
    finally:
        sink.close()


@asynccontextmanager
async def swallowing_proxy(url: str) -> AsyncIterator[SwallowingProxy]:
    """In front of the server at this NATS URL; its own is `url`."""
    host, _, port = url.rpartition("//")[2].partition(":")
    proxy = SwallowingProxy(host, int(port))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
