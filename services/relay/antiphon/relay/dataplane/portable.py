"""The plain packet loop: one system call per datagram, sockets of the standard library, any Unix.

It runs where the batched loop can't, at several times the user time per packet of that one.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import family_of, header_of, key_of, sockaddr_of
from antiphon.schemas.tunnel import HELLO, IPV4_HEADER, IPV6_HEADER

READ_AT_ONCE: Final = 64
"""Datagrams read from one socket before the others get their turn."""
_ROOM: Final = 2048 - IPV6_HEADER


class PortablePath:
    """Moves datagrams between the public sockets (at most one per family) and the tunnel socket.

    Belongs to its `Worker`, which alone calls it, and lives as long. The sockets are the worker's.
    """

    name = "portable"

    def __init__(self, core: RelayCore, public: Mapping[socket.AddressFamily, socket.socket], tunnel: socket.socket):
        self._core = core
        self._public = public
        self._tunnel = tunnel
        self._buffer = memoryview(bytearray(IPV6_HEADER + _ROOM))
        self._body = self._buffer[IPV6_HEADER:]

    def from_clients(self, family: socket.AddressFamily, now: float) -> bool:
        """Forward what clients sent to the public socket of `family`; True if more may be waiting."""
        receive, buffer, body, counters = (
            self._public[family].recvfrom_into,
            self._buffer,
            self._body,
            self._core.counters,
        )
        start = IPV6_HEADER - (IPV4_HEADER if family == socket.AF_INET else IPV6_HEADER)
        for _ in range(READ_AT_ONCE):
            try:
                length, sockaddr = receive(body)
            except BlockingIOError:
                return False
            except OSError:  # an ICMP error of an earlier packet: reading it clears it
                counters.drops["socket_error"] += 1
                continue
            counters.batches[1] += 1
            client = key_of(sockaddr)
            owner = self._core.from_client(client, body[:length], now)
            if owner is None:
                continue
            buffer[start:IPV6_HEADER] = header_of(client)
            if self._send(self._tunnel, buffer[start : IPV6_HEADER + length], owner):
                counters.packets_to_transceivers += 1
                counters.bytes_to_transceivers += length
        return True

    def from_tunnel(self, now: float) -> bool:
        """Forward what transceivers sent to the tunnel socket; True if more may be waiting."""
        receive, buffer, drops = self._tunnel.recvfrom_into, self._buffer, self._core.counters.drops
        for _ in range(READ_AT_ONCE):
            try:
                length, sockaddr = receive(buffer)
            except BlockingIOError:
                return False
            except OSError:
                drops["socket_error"] += 1
                continue
            client = self._core.from_tunnel(key_of(sockaddr), buffer[:length], now)
            if client is not None:
                self.send_to_client(client, buffer[len(header_of(client)) : length])
        return True

    def send_to_client(self, client: int, payload: memoryview) -> None:
        """Send one datagram from the public socket of the client's family."""
        public = self._public.get(family_of(client))
        counters = self._core.counters
        if public is None:
            counters.drops["no_socket_of_family"] += 1
        elif self._send(public, payload, client):
            counters.packets_to_clients += 1
            counters.bytes_to_clients += len(payload)

    def forward_pending(self) -> None:
        """Forward the waiting packets of clients whose owner is known by now."""
        counters = self._core.counters
        for client, owner, datagram in self._core.take_deliverable():
            if self._send(self._tunnel, header_of(client) + datagram, owner):
                counters.packets_to_transceivers += 1
                counters.bytes_to_transceivers += len(datagram)

    def hello(self, owner: int) -> None:
        """Ask a transceiver for its clients."""
        self._send(self._tunnel, HELLO, owner)

    def _send(self, through: socket.socket, data: bytes | memoryview, to: int) -> bool:
        try:
            through.sendto(data, sockaddr_of(to))
        except OSError:  # full buffer, no route, an earlier ICMP error: datagrams may be lost
            self._core.counters.drops["send_failed"] += 1
            return False
        return True
