"""Load for `antiphon bench relay`: batches that are prepared once and sent by `sendmmsg`, and a sink that counts.

Clients are addresses of 127/8: one socket sends for all of them, each message with the source address it is to have
(`IP_PKTINFO`), so a hundred thousand flows need one socket. The sink reads nothing: its buffer is full after
two datagrams, and the kernel counts what it drops for want of room (`SO_MEMINFO`). So all that arrives is
counted exactly, at no cost to the core that sends.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Sequence
from typing import Final

from antiphon.cli.errors import UsageError

BATCH: Final = 64
_MMSGHDR: Final = struct.Struct("<QI4xQQQQi4xI4x")
_IOVEC: Final = struct.Struct("<QQ")
_PKTINFO: Final = struct.Struct("<QiiI4s4s4x")
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("9I")
_UDP_SEGMENT: Final = 103
_SOL_UDP: Final = 17

_library = ctypes.CDLL(None, use_errno=True)
_sendmmsg = _library.sendmmsg
_sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]


def client_host(number: int) -> bytes:
    """The address of flow `number`: 127.1.0.1 and on."""
    return bytes((127, 1 + (number >> 16), number >> 8 & 255, number & 255))


class Prepared:
    """Datagrams in memory, ready for `sendmmsg`: (payload, destination, source host or None) each."""

    def __init__(self, datagrams: Sequence[tuple[bytes, tuple[str, int], bytes | None]]) -> None:
        self.count = len(datagrams)
        names, iovecs, headers, controls, bodies = bytearray(), bytearray(), bytearray(), bytearray(), bytearray()
        places = []
        for body, _, _ in datagrams:
            places.append(len(bodies))
            bodies += body
        self._bodies = ctypes.create_string_buffer(bytes(bodies), len(bodies))
        at = ctypes.addressof(self._bodies)
        for (body, to, source), place in zip(datagrams, places, strict=True):
            names += struct.pack("<H", socket.AF_INET) + struct.pack(">H", to[1]) + socket.inet_aton(to[0]) + bytes(8)
            iovecs += _IOVEC.pack(at + place, len(body))
            controls += _PKTINFO.pack(28, socket.IPPROTO_IP, 8, 0, source or bytes(4), bytes(4))
        self._names, self._iovecs, self._controls = (
            ctypes.create_string_buffer(bytes(each), len(each)) for each in (names, iovecs, controls)
        )
        for row, (_, _, source) in enumerate(datagrams):
            headers += _MMSGHDR.pack(
                ctypes.addressof(self._names) + row * 16,
                16,
                ctypes.addressof(self._iovecs) + row * 16,
                1,
                ctypes.addressof(self._controls) + row * _PKTINFO.size if source else 0,
                28 if source else 0,
                0,
                0,
            )
        self._headers = ctypes.create_string_buffer(bytes(headers), len(headers))
        self._at = ctypes.addressof(self._headers)
        self._next = 0

    def send(self, fd: int, count: int = BATCH) -> int:
        """Send the next `count` in turn (fewer at the end of the list); how many went."""
        count = min(count, self.count - self._next)
        sent: int = _sendmmsg(fd, self._at + self._next * _MMSGHDR.size, count, 0)
        self._next = (self._next + count) % self.count
        return max(sent, 0)


class Sink:
    """Counts what arrives at a socket that this bench does not read."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound

    def arrived(self) -> int:
        """Datagrams so far, but for the few in the buffer."""
        return int(_MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8])

    def settled(self) -> int:
        """As `arrived`, when nothing has come for 20 ms."""
        before = -1
        while (now := self.arrived()) != before:
            before = now
            time.sleep(0.02)
        return now


def udp_socket(host: str, small: bool = True, reuse: bool = False, port: int = 0) -> socket.socket:
    """A UDP socket of `host`, at a free port if none is given; with `small` its receive buffer is full at once, with
    `reuse` another one may have the same address."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if reuse:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if small:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    bound.bind((host, port))
    return bound


def segmented(sender: socket.socket, payloads: bytes, length: int, to: tuple[str, int], source: bytes) -> None:
    """Send payloads of `length` bytes each in one call (UDP GSO): offers more than one core can forward."""
    control = [
        (_SOL_UDP, _UDP_SEGMENT, struct.pack("H", length)),
        (socket.IPPROTO_IP, 8, struct.pack("i4s4s", 0, source, bytes(4))),
    ]
    try:
        sender.sendmsg([payloads], control, 0, to)
    except PermissionError:
        raise UsageError(
            "the kernel refuses to send: its connection tracking is full of this bench's flows (dmesg: nf_conntrack: "
            "table full). Run it in a network namespace of its own, which tracks nothing: ip netns add bench; "
            "ip -n bench link set lo up; ip netns exec bench antiphon bench relay --flood"
        ) from None
