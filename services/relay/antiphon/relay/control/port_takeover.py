"""Two relay processes on one public port: is it taken, and which of the two gets new packets?

A new relay process may bind the port beside an old one. The old one then steers new packets away from itself, reads
what it has, and ends: no packet is lost in a queue that no process reads.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Final

from antiphon.relay.control.sockets import RELEASE_SECONDS, bind_udp, bound_port, family_of
from antiphon.schemas.addresses import Address

# linux/socket.h, linux/bpf_common.h and linux/filter.h
_ATTACH_REUSEPORT_CBPF: Final = 51
_DETACH_REUSEPORT_BPF: Final = 68
_LOAD_HALF_ABSOLUTE: Final = 0x28
_MODULO: Final = 0x94
_ADD: Final = 0x04
_RETURN_A: Final = 0x16
_NETWORK_HEADER: Final = 0xFFF00000
_SOURCE_PORT: Final = {socket.AF_INET: 20, socket.AF_INET6: 40}
_INSTRUCTION: Final = struct.Struct("=HBBI")

_OVERLAPPING: Final = {"0.0.0.0": "127.255.255.254", "::": "::1"}


def free_port(address: Address) -> tuple[Address, bool]:
    """The address with a port in place of 0, and whether no other process has bound it.

    Asked before sharing, because the system takes a port that others share for a free one. OSError if the process that
    has the port does not share it with us.
    """
    try:
        with bind_udp(address, patience=RELEASE_SECONDS) as probe:
            return address._replace(port=bound_port(probe)), True
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    # A socket on the address itself would get its packets until it is closed again. One on an overlapping address, less
    # or more precise, is refused alike and gets none.
    try:
        bind_udp(address._replace(host=_OVERLAPPING.get(address.host, _wildcard(address))), shared=True).close()
    except OSError as error:
        raise OSError(error.errno, f"can't bind UDP {address}: {os.strerror(error.errno or 0)}") from None
    return address, False


def _wildcard(address: Address) -> str:
    return "::" if family_of(address) == socket.AF_INET6 else "0.0.0.0"


def steer_away(public: socket.socket, ours: int, theirs: int) -> None:
    """Send new packets to the sockets that were bound after `ours`, of which there are `theirs`, by source port.

    A classic BPF program for the whole group of sockets. The kernel ignores an index without a socket. It is in force
    until `stop_steering` (with any socket of the group).
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


def stop_steering(public: socket.socket) -> None:
    """Let the kernel spread clients over all sockets of the port again."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            public.setsockopt(socket.SOL_SOCKET, _DETACH_REUSEPORT_BPF, 0)
