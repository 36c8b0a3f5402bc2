"""ICMP errors of the backbone socket: which relay's port or host is gone (IP_RECVERR, ip(7); Linux).

The kernel takes an error for this socket whose quoted packet has the socket's address and port, from any host: whether
it sent that packet the kernel does not know. So an error is a hint, which hellos check (`core.backbone_hellos`).
Elsewhere than on Linux there are no such reports, and hellos alone tell which relays are out.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Any, Final

UNREACHABLE: Final = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""Nothing takes packets there."""
MAX_AT_ONCE: Final = 256
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
"""linux/in.h, linux/in6.h"""
_EXTENDED_ERROR: Final = struct.Struct("=IBBBxII")
"""struct sock_extended_err: errno, origin, type, code, info, data."""
_ROOM: Final = 512


def report_errors(bound: socket.socket) -> None:
    """Have the kernel keep the ICMP errors of what this socket sends."""
    if not sys.platform.startswith("linux"):
        return
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        bound.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def failed_sends(bound: socket.socket) -> list[tuple[tuple[Any, ...], int]]:
    """(address that the packet was sent to, errno) of the errors that have come since."""
    failed: list[tuple[tuple[Any, ...], int]] = []
    if not sys.platform.startswith("linux"):
        return failed
    for _ in range(MAX_AT_ONCE):
        try:
            _, ancillary, _, address = bound.recvmsg(0, _ROOM, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            break
        for _, _, data in ancillary:
            if len(data) >= _EXTENDED_ERROR.size and isinstance(address, tuple):
                failed.append((address, _EXTENDED_ERROR.unpack_from(data)[0]))
    return failed
