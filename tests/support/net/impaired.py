"""A UDP path that loses, delays and reorders, between a client and a relay on loopback. Seeded."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

from antiphon.schemas.addresses import Address

MAX_CLIENTS = 64


class _Towards(asyncio.DatagramProtocol):
    """The far side of one client's mapping, as a NAT has one."""

    def __init__(self, path: ImpairedPath, client: tuple[str, int]) -> None:
        self._path, self._client = path, client
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self._path.later(self._path.near, data, self._client)

    def error_received(self, error: Exception) -> None:
        pass  # the relay is away: what it is sent is lost


class ImpairedPath(asyncio.DatagramProtocol):
    """Listens where the client believes the relay to be."""

    def __init__(self, relay: Address, loss: float, jitter: float, seed: int) -> None:
        self.near: asyncio.DatagramTransport | None = None
        self.forwarded = self.lost = 0
        self.loss, self.delay = loss, 0.0
        """Share, and seconds each way. A test may change both while packets pass."""
        self._relay, self._jitter = relay, jitter
        self._random = random.Random(seed)
        self._mappings: dict[tuple[str, int], _Towards] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.near = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        mapping = self._mappings.get(source)
        if mapping is None:
            assert len(self._mappings) < MAX_CLIENTS
            mapping = self._mappings[source] = _Towards(self, source)
            task = asyncio.ensure_future(self._open(mapping))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        self.later(mapping.transport, data, None)

    def later(self, transport: asyncio.DatagramTransport | None, data: bytes, to: tuple[str, int] | None) -> None:
        """Lose it, or deliver it after `delay` and up to `jitter` seconds; independent delays reorder."""
        if transport is None or self._random.random() < self.loss:
            self.lost += 1
            return
        self.forwarded += 1
        self._loop.call_later(self.delay + self._random.random() * self._jitter, self._deliver, transport, data, to)

    @staticmethod
    def _deliver(transport: asyncio.DatagramTransport, data: bytes, to: tuple[str, int] | None) -> None:
        if not transport.is_closing():
            transport.sendto(data, to)

    async def _open(self, mapping: _Towards) -> None:
        await self._loop.create_datagram_endpoint(lambda: mapping, remote_addr=(self._relay.host, self._relay.port))

    def close(self) -> None:
        for mapping in self._mappings.values():
            if mapping.transport is not None:
                mapping.transport.close()
        if self.near is not None:
            self.near.close()


@asynccontextmanager
async def impaired_path(
    relay: Address, loss: float = 0.05, jitter: float = 0.03, seed: int = 1
) -> AsyncIterator[tuple[Address, ImpairedPath]]:
    """Yields the address to use instead of the relay's, and the path with its counters."""
    path = ImpairedPath(relay, loss, jitter, seed)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: path, local_addr=("127.0.0.1", 0))
    try:
        yield Address(*transport.get_extra_info("sockname")[:2]), path
    finally:
        path.close()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn


def free_address() -> Address:
    """For a relay behind a path that has to be there before it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return Address(*free.getsockname())


@contextmanager
def path_in_a_thread(relay: Address) -> Iterator[tuple[Address, ImpairedPath]]:
    """For tests without a loop. It is perfect until the test changes it."""
    ready, done = threading.Event(), asyncio.Event()
    made: list[tuple[Address, ImpairedPath]] = []
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with impaired_path(relay, loss=0.0, jitter=0.0) as path:
            made.append(path)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield made[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()
