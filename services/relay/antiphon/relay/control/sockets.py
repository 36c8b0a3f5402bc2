"""The relay's sockets: bound by the control process, used by the workers.

Every worker has a public socket of its own on the one public port (SO_REUSEPORT, socket(7)): the kernel gives all
packets of a client to the same one. `port_takeover` has what two relay processes on one port need.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

from antiphon.schemas.addresses import Address

BUFFER_BYTES: Final = 4 << 20
"""Asked for in both directions: a flood fills the 200 KB that are usual in a millisecond."""
BIND_PATIENCE: Final = 2.0
"""Seconds in which another process that has the port, and does not share it, may close it."""
RELEASE_SECONDS: Final = 0.5
"""Seconds in which the workers of a killed relay close its ports; on a busy machine they need some."""

_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
"""linux/socket.h"""


def family_of(address: Address) -> socket.AddressFamily:
    """IPv4 or IPv6."""
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def bind_udp(address: Address, shared: bool = False, patience: float = BIND_PATIENCE) -> socket.socket:
    """A non-blocking UDP socket at `address` (port 0 takes a free one); OSError names the address.

    `shared`: others, of the same user, may bind it as well.
    """
    family = family_of(address)
    bound = socket.socket(family, socket.SOCK_DGRAM)
    deadline = time.monotonic() + patience
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        if shared and hasattr(socket, "SO_REUSEPORT"):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _enlarge(bound)
        bound.setblocking(False)
        while True:
            try:
                bound.bind(tuple(address))
                return bound
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                    raise OSError(error.errno, f"can't bind UDP {address}: {error.strerror}") from None
                time.sleep(0.002)
    except BaseException:
        bound.close()
        raise


def bind_kept(address: Address, saved: Sequence[int]) -> socket.socket:
    """At the port that was saved, if there is one and it is free; else at any."""
    for port in saved:
        try:
            return bind_udp(address._replace(port=port), patience=RELEASE_SECONDS)
        except OSError:
            pass  # another process has it by now
    return bind_udp(address)


def bind_block(address: Address, count: int, patience: float) -> list[socket.socket]:
    """At `count` ports in a row, or at none of them."""
    bound: list[socket.socket] = []
    try:
        bound.extend(
            bind_udp(address._replace(port=address.port + number), patience=patience) for number in range(count)
        )
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def _enlarge(bound: socket.socket) -> None:
    """Ask for large buffers: beyond net.core.rmem_max where we may (CAP_NET_ADMIN), else as much as that gives."""
    for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        bound.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)
        if sys.platform.startswith("linux") and bound.getsockopt(socket.SOL_SOCKET, plain) < BUFFER_BYTES:
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)


def listen_tcp(address: Address) -> socket.socket:
    """A listening socket for ICE-TCP that a process which takes over may share; OSError names the address."""
    listener = socket.socket(family_of(address), socket.SOCK_STREAM)
    try:
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT") and address.port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(tuple(address))
        listener.listen(256)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"can't bind TCP {address}: {error.strerror}") from None
    return listener


def bound_port(bound: socket.socket) -> int:
    """The port that a socket got."""
    port: int = bound.getsockname()[1]
    return port
