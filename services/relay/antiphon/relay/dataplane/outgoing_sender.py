"""Sends what the core decides one by one, and counts it: the same for datagrams of UDP and of ICE-TCP clients."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import header_of, sockaddr_of
from antiphon.relay.core.outgoing import Outgoing, Through
from antiphon.relay.core.remote_owner import is_elsewhere
from antiphon.relay.dataplane.backbone_socket import BackboneSocket


class OutgoingSender:
    """Belongs to a packet loop, which alone calls it, and lives as long. What can't be sent is dropped and counted."""

    def __init__(
        self,
        core: RelayCore,
        tunnel: socket.socket,
        backbone: BackboneSocket | None,
        to_client: Callable[[int, memoryview], None],
    ) -> None:
        """`to_client` sends a datagram to a client's key, and counts it."""
        self._core, self._tunnel, self._backbone, self._to_client = core, tunnel, backbone, to_client

    def deliver(self, outgoing: Outgoing) -> None:
        """Send one datagram by the socket that it names."""
        through, to, data, payload = outgoing
        match through:
            case Through.PUBLIC:
                self._to_client(to, memoryview(data))
            case Through.TUNNEL:
                self.to_transceiver(data, to, payload)
            case Through.BACKBONE:
                if self._backbone is not None and self._backbone.send(data, to) and payload:
                    self._core.counters.packets_to_relays += 1
                    self._core.counters.bytes_to_relays += payload

    def deliver_all(self, outgoing: Iterable[Outgoing]) -> None:
        for each in outgoing:
            self.deliver(each)

    def deliver_sealed(self, client: int, owner: int, datagram: bytes | memoryview) -> None:
        """Send a client's datagram to the cluster of its owner, which is elsewhere."""
        sealed = self._core.backbone.sealed(client, owner, datagram)
        if sealed is not None:
            self.deliver(sealed)

    def forward(self, client: int, owner: int, datagram: bytes) -> None:
        """Send a client's datagram to its owner, wherever that is."""
        if is_elsewhere(owner):
            self.deliver_sealed(client, owner, datagram)
        else:
            self.to_transceiver(header_of(client) + datagram, owner, len(datagram))

    def to_transceiver(self, packet: bytes | memoryview, owner: int, payload: int) -> None:
        """Send a tunnel packet. `payload`: octets of a client's datagram in it; 0 is not counted."""
        counters = self._core.counters
        try:
            self._tunnel.sendto(packet, sockaddr_of(owner))
        except OSError:  # full buffer, no route, an earlier ICMP error: datagrams may be lost
            counters.drops["send_failed"] += 1
            return
        if payload:
            counters.packets_to_transceivers += 1
            counters.bytes_to_transceivers += payload
