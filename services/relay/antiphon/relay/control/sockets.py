"""The relay's sockets: bound by the control process, used by the workers.

Every worker has a public socket of its own on the one public port (SO_REUSEPORT): the kernel gives all packets
of a client to the same one. A new relay process may bind the port beside an old one, which then steers new
packets away from itself, reads what it has, and goes: nothing is lost in a queue that nobody reads.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
import time
from typing import Final

from antiphon.schemas.addresses import Address

BUFFER_BYTES: Final = 4 << 20
"""Asked for in both directions: a flood fills the 200 KB that are usual in a millisecond."""
BIND_PATIENCE: Final = 2.0
"""Seconds in which whoever holds the port, without sharing it, may let go."""
LETTING_GO: Final = 0.5
"""Seconds in which the workers of a relay that was killed let go of its ports; on a busy machine they need some."""

# linux/socket.h, linux/bpf_common.h and linux/filter.h
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_ATTACH_REUSEPORT_CBPF: Final = 51
_DETACH_REUSEPORT_BPF: Final = 68
_LOAD_HALF_ABSOLUTE: Final = 0x28
_MODULO: Final = 0x94
_ADD: Final = 0x04
_RETURN_A: Final = 0x16
_NETWORK_HEADER: Final = 0xFFF00000
_SOURCE_PORT: Final = {socket.AF_INET: 20, socket.AF_INET6: 40}
_INSTRUCTION: Final = struct.Struct("=HBBI")


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def bind_udp(address: Address, shared: bool = False, patience: float = BIND_PATIENCE) -> socket.socket:
    """A non-blocking UDP socket at `address` (port 0 takes a free one); OSError names the address.

    `shared`: others, of the same user, may bind it as well.
    """
    family = _family(address)
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


def _enlarge(bound: socket.socket) -> None:
    """Ask for large buffers: beyond net.core.rmem_max where we may (CAP_NET_ADMIN), else as much as that gives."""
    for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        bound.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)
        if sys.platform.startswith("linux") and bound.getsockopt(socket.SOL_SOCKET, plain) < BUFFER_BYTES:
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)


def listen_tcp(address: Address) -> socket.socket:
    """A listening socket for ICE-TCP that a process which takes over may share; OSError names the address."""
    listener = socket.socket(_family(address), socket.SOCK_STREAM)
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


def free_port(address: Address) -> tuple[Address, bool]:
    """The address with a port in place of 0, and whether nobody has bound it.

    Asked before sharing, because the system takes a port that others share for a free one. OSError if whoever has
    it does not share it with us.
    """
    try:
        with bind_udp(address, patience=LETTING_GO) as probe:
            return address._replace(port=bound_port(probe)), True
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    # A socket on the address itself would get its packets, for as long as it takes to close it again: one that
    # overlaps with it, and is less or more precise, is refused alike and gets none.
    try:
        bind_udp(address._replace(host=_OVERLAPPING.get(address.host, _wildcard(address))), shared=True).close()
    except OSError as error:
        raise OSError(error.errno, f"can't bind UDP {address}: {os.strerror(error.errno or 0)}") from None
    return address, False


_OVERLAPPING: Final = {"0.0.0.0": "127.255.255.254", "::": "::1"}


def _wildcard(address: Address) -> str:
    return "::" if ":" in address.host else "0.0.0.0"


def bound_port(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port


def steer_away(public: socket.socket, ours: int, theirs: int) -> None:
    """Let new packets go to the sockets that were bound after `ours`, of which there are `theirs`, by source port.

    A classic BPF program for the whole group of sockets; what it says about sockets that are not there the
    kernel ignores. It stays until `steer_no_more` (of any socket in the group).
    """
    if not sys.platform.startswith("linux"):
        return
    program = [
        (_LOAD_HALF_ABSOLUTE, _NETWORK_HEADER + _SOURCE_PORT[socket.AddressFamily(public.family)]),
        (_MODULO, max(1, theirs)),
        (_ADD, ours),
        (_RETURN_A, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(op, 0, 0, value) for op, value in program))
    with contextlib.suppress(OSError):
        public.setsockopt(
            socket.SOL_SOCKET, _ATTACH_REUSEPORT_CBPF, struct.pack("@HP", len(program), ctypes.addressof(code))
        )


def steer_no_more(public: socket.socket) -> None:
    """The kernel spreads clients over all sockets of the port again."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            public.setsockopt(socket.SOL_SOCKET, _DETACH_REUSEPORT_BPF, 0)
