"""The plain packet loop: one system call per datagram, sockets of the standard library, any Unix.

It runs where the batched loop can't, at several times the user time per packet of that one.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import family_of, header_of, key_of, sockaddr_of
from antiphon.relay.core.remote_owner import is_elsewhere
from antiphon.relay.dataplane.backbone_socket import BackboneSocket
from antiphon.relay.dataplane.outgoing_sender import OutgoingSender
from antiphon.schemas.tunnel import BACKBONE_BIT, HELLO, IPV4_HEADER, IPV6_HEADER

READ_AT_ONCE: Final = 64
"""Datagrams read from one socket before the others get their turn."""
_ROOM: Final = 2048 - IPV6_HEADER
BACKBONE_FLAG: Final = BACKBONE_BIT >> 8
"""In the second octet of a tunnel packet for another ingress."""


class PortablePath:
    """Moves datagrams between the public sockets (at most one per family), the tunnel and the backbone socket.

    Belongs to its `Worker`, which alone calls it, and lives as long. The sockets are the worker's.
    """

    name = "portable"

    def __init__(
        self,
        core: RelayCore,
        public: Mapping[socket.AddressFamily, socket.socket],
        tunnel: socket.socket,
        backbone: socket.socket | None = None,
    ):
        self._core = core
        self._public = public
        self._tunnel = tunnel
        self.backbone = BackboneSocket(core, backbone) if backbone is not None else None
        """None: there is no backbone."""
        self._outgoing = OutgoingSender(core, tunnel, self.backbone, self.send_to_client)
        self._deliver, self._deliver_all = self._outgoing.deliver, self._outgoing.deliver_all
        self._deliver_sealed = self._outgoing.deliver_sealed
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
            if is_elsewhere(owner):
                self._deliver_sealed(client, owner, body[:length])
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
            if self.backbone is not None and length > 1 and buffer[1] & BACKBONE_FLAG:
                self._deliver_all(self._core.backbone.to_ingress(key_of(sockaddr), buffer[:length], now))
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
        for client, owner, datagram in self._core.take_deliverable():
            self._outgoing.forward(client, owner, datagram)

    def send_notices(self) -> None:
        """Send what the core tells transceivers of its own accord."""
        for owner, packet in self._core.notices.take():
            self._send(self._tunnel, packet, owner)

    def hello(self, owner: int) -> None:
        """Ask a transceiver for its clients."""
        self._send(self._tunnel, HELLO, owner)

    # ---- two hops ----

    def from_backbone(self, now: float) -> bool:
        """Forward what other relays sent to the backbone socket; True if more may be waiting."""
        if self.backbone is None:
            return False
        receive, buffer, core = self.backbone.socket.recvfrom_into, self._buffer, self._core
        for _ in range(READ_AT_ONCE):
            try:
                length, sockaddr = receive(buffer)
            except BlockingIOError:
                return False
            except OSError:  # an ICMP error, which `read_errors` reads
                continue
            self._deliver_all(core.backbone.received(key_of(sockaddr), buffer[:length], now))
        return True

    def _send(self, through: socket.socket, data: bytes | memoryview, to: int) -> bool:
        try:
            through.sendto(data, sockaddr_of(to))
        except OSError:  # full buffer, no route, an earlier ICMP error: datagrams may be lost
            self._core.counters.drops["send_failed"] += 1
            return False
        return True
