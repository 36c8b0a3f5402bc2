"""The UDP socket of a call: connected to the first relay of an answer that this machine has a route to."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from antiphon.cli.errors import CallError
from antiphon.schemas.addresses import Address


def open_relay_socket(relays: Sequence[Address]) -> tuple[socket.socket, Address]:
    """The socket and its relay: the machine may have no IPv6. CallError if there is no way to any of them."""
    reasons = []
    for relay in relays:
        try:
            udp = socket.socket(socket.AF_INET6 if ":" in relay.host else socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            reasons.append(f"{relay}: {error.strerror}")
            continue
        try:
            udp.setblocking(False)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            udp.connect(relay)
        except OSError as error:
            udp.close()
            reasons.append(f"{relay}: {error.strerror}")
            continue
        return udp, relay
    raise CallError(f"there is no way from here to any relay of the answer ({'; '.join(reasons)})")
