"""The UDP socket of one endpoint: tunnel packets in and out, for all sessions at that endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

BATCH: Final = 64
"""Datagrams read per wakeup before timers get their turn."""
SOCKET_BUFFER: Final = 4 << 20
SO_RCVBUFFORCE: Final = 33
"""Of Linux (socket(7)); Python has no name for it."""
MAX_DATAGRAM: Final = 2048

Receiver = Callable[[bytes, tuple[str, int]], None]


class TunnelSocket:
    """Non-blocking, drained in batches: asyncio's own datagram endpoint reads one datagram per iteration of its loop.

    Owner: an `Endpoint`, which closes it. Event loop only. The constructor binds, so that the port is known; `start`
    begins to read.
    """

    def __init__(self, host: str, port: int) -> None:
        self.dropped = 0
        """Datagrams that the kernel did not take."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
            with contextlib.suppress(OSError):  # beyond net.core.rmem_max, where this process has CAP_NET_ADMIN
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
            self._socket.setblocking(False)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.get_running_loop()

    def start(self, receive: Receiver, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """Read from now on; `begin` and `end` are called around each batch that is handed to `receive`."""
        self._loop.add_reader(self._socket.fileno(), self._readable, receive, begin, end)

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Hand one datagram to the kernel; drops it rather than wait."""
        try:
            self._socket.sendto(data, to)
        except OSError:
            # Full, or the error of an earlier datagram (a relay that is gone): media does not wait for either.
            self.dropped += 1

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _readable(self, receive: Receiver, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        try:
            self._read_batch(receive)
        finally:
            end()

    def _read_batch(self, receive: Receiver) -> None:
        receive_from = self._socket.recvfrom
        for _ in range(BATCH):
            try:
                data, source = receive_from(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # ECONNREFUSED from a relay that is gone: drain it and read on
            receive(data, source[:2])
