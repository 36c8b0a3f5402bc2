"""The relay's UDP sockets: bound once by the control process, used by the workers."""

from __future__ import annotations

import errno
import socket
import time
from typing import Final

from antiphon.schemas.addresses import Address

BUFFER_BYTES: Final = 4 << 20
"""Asked for in both directions; the kernel may give less (net.core.rmem_max)."""
BIND_PATIENCE: Final = 2.0
"""Seconds in which the worker of a relay that was killed lets go of the port."""


def bind_udp(address: Address) -> socket.socket:
    """A non-blocking UDP socket at `address` (port 0 takes a free one); OSError names the address."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    deadline = time.monotonic() + BIND_PATIENCE
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        bound.setblocking(False)
        while True:
            try:
                bound.bind(tuple(address))
                return bound
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise OSError(error.errno, f"can't bind UDP {address}: {error.strerror}") from None
                time.sleep(0.01)
    except BaseException:
        bound.close()
        raise


def bound_port(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port
