"""The UDP socket of one endpoint: tunnel packets in and out, for all sessions at that endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, Protocol

from antiphon.transceiver.net.datagram_batch import ROOM, ReceiveBatch, receive_batch
from antiphon.transceiver.net.held_datagrams import HeldDatagrams

BATCH: Final = 128
"""Datagrams read per wakeup before timers get their turn."""
SOCKET_BUFFER: Final = 4 << 20
SO_RCVBUFFORCE: Final = 33
"""Of Linux (socket(7)); Python has no name for it."""


class Receiver(Protocol):
    """What becomes of the datagrams that a socket has read."""

    def received(self, packet: bytes, source: tuple[str, int]) -> None:
        """One datagram."""

    def received_batch(self, batch: ReceiveBatch, count: int) -> None:
        """The first rows of a batch, in order."""


class TunnelSocket:
    """Non-blocking, drained in batches: asyncio's own datagram endpoint reads one datagram per iteration of its loop.

    Owner: an `Endpoint`, which closes it. Event loop only. The constructor binds, so that the port is known; `start`
    begins to read.
    """

    def __init__(self, host: str, port: int, held: HeldDatagrams | None = None) -> None:
        """`held`: what is sent while it holds leaves together with the rest; None: each datagram has its own call."""
        self.dropped = 0
        """Datagrams that the kernel did not take."""
        self.family = int(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._held = held
        self._socket = socket.socket(self.family, socket.SOCK_DGRAM)
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
        self._batch = receive_batch(self.family)
        self._loop = asyncio.get_running_loop()

    def start(self, receiver: Receiver, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """Read from now on; `begin` and `end` are called around what is handed to `receiver` in one wakeup."""
        self._loop.add_reader(self._socket.fileno(), self._readable, receiver, begin, end)

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Hand one datagram to the kernel, now or with others that are held; drops it rather than wait."""
        if self._held is not None and self._held.put(self, data, to):
            return
        try:
            self._socket.sendto(data, to)
        except OSError:
            # Full, or the error of an earlier datagram (a relay that is gone): media does not wait for either.
            self.dropped += 1

    def fileno(self) -> int:
        return self._socket.fileno()

    def count_dropped(self, datagrams: int) -> None:
        """So many that were held did not leave."""
        self.dropped += datagrams

    def close(self) -> None:
        if self._held is not None:
            self._held.flush()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _readable(self, receiver: Receiver, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        try:
            if self._batch is not None:
                self._read_batch(receiver, self._batch)
            else:
                self._read_singly(receiver)
        finally:
            end()

    def _read_batch(self, receiver: Receiver, batch: ReceiveBatch) -> None:
        count = batch.receive(self._socket.fileno())
        if count < 0:  # the error of an earlier datagram (a relay that is gone): it is read, and what waits behind it
            count = batch.receive(self._socket.fileno())
        if count > 0:
            receiver.received_batch(batch, count)

    def _read_singly(self, receiver: Receiver) -> None:
        receive_from = self._socket.recvfrom
        for _ in range(BATCH):
            try:
                data, source = receive_from(ROOM)
            except BlockingIOError:
                return
            except OSError:
                continue
            receiver.received(data, source[:2])
