"""`recvmmsg` and `sendmmsg`: many datagrams per system call, each in a slot of memory that stays where it is.

The kernel reads and writes arrays of `struct mmsghdr`; the pointers in them are set once. The columns that change are
read and written by memoryviews. Where a system lacks these calls, `receive_batch` and `send_batch` return None.
"""

from __future__ import annotations

import errno
import functools
import socket
import struct
from typing import Any, Final

from cffi import FFI

ROWS: Final = 128
"""Datagrams of one call."""
ROOM: Final = 2048
"""Octets of the longest datagram; what is longer is cut when it is received."""
_SLOT: Final = ROOM + 64
"""A cache line more, so that the beginnings of a batch don't share few cache sets."""
_NAME: Final = 32
"""Octets for a socket address; `sockaddr_in6` has 28."""
_MAX_SOURCES: Final = 4096
"""Addresses that are kept as Python spells them; above it all are forgotten. Relays are far fewer."""
_OF_AN_EARLIER_ONE: Final = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""A socket may return the ICMP error of an earlier datagram in place of sending; the next try sends."""

_ffi: Final = FFI()
_ffi.cdef(
    """
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr { void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
                    void *msg_control; size_t msg_controllen; int msg_flags; };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    int recvmmsg(int fd, struct mmsghdr *rows, unsigned int count, int flags, void *timeout);
    int sendmmsg(int fd, struct mmsghdr *rows, unsigned int count, int flags);
    """
)
_library: Final[Any] = _ffi.dlopen(None)
_MMSGHDR: Final = _ffi.sizeof("struct mmsghdr")
_LENGTH_AT: Final = _ffi.offsetof("struct mmsghdr", "msg_len")
_NAME_LENGTH_AT: Final = _ffi.offsetof("struct mmsghdr", "msg_hdr", "msg_namelen")
_IOVEC_LENGTH_AT: Final = _ffi.offsetof("struct iovec", "iov_len")
_SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")
_SOCKADDR_IN6: Final = struct.Struct("!2xHI16s")


class _Rows:
    """Memory for `ROWS` datagrams, their addresses, and the headers that lead the kernel there."""

    def __init__(self, family: int) -> None:
        self.name_length = 28 if family == socket.AF_INET6 else 16
        self.memory = _ffi.new("char[]", ROWS * _SLOT)
        self.names = _ffi.new("char[]", ROWS * _NAME)
        self.headers = _ffi.new("struct mmsghdr[]", ROWS)
        self.pieces = _ffi.new("struct iovec[]", ROWS)
        for row in range(ROWS):
            piece, header = self.pieces[row], self.headers[row].msg_hdr
            piece.iov_base, piece.iov_len = self.memory + row * _SLOT, ROOM
            header.msg_name, header.msg_namelen = self.names + row * _NAME, self.name_length
            header.msg_iov, header.msg_iovlen = self.pieces + row, 1


class ReceiveBatch:
    """Filled by one call. Owner: `receive_batch`, for the life of the process; the sockets of one family share it.

    What is in it is valid until the next `receive`. One thread only, the event loop's.
    """

    def __init__(self, family: int) -> None:
        self._rows = _Rows(family)
        self._family = family
        self.octets = memoryview(_ffi.buffer(self._rows.memory)).cast("B")
        """All slots. The datagram of a row begins at `starts[row]`."""
        self.starts: Final = [row * _SLOT for row in range(ROWS)]
        self.pointers: Final[list[Any]] = [self._rows.memory + at for at in self.starts]
        """The same, for code in C."""
        words = memoryview(_ffi.buffer(self._rows.memory)).cast("B").cast("Q")
        self.first_words = words[:: _SLOT // 8]
        """The first 8 octets of each row: the tunnel header of a client on IPv4."""
        headers = memoryview(_ffi.buffer(self._rows.headers)).cast("B").cast("I")
        self._lengths = headers[_LENGTH_AT // 4 :: _MMSGHDR // 4]
        self._name_lengths = headers[_NAME_LENGTH_AT // 4 :: _MMSGHDR // 4]
        self._names = memoryview(_ffi.buffer(self._rows.names)).cast("B")
        self._sources: dict[bytes, tuple[str, int]] = {}

    def receive(self, fd: int) -> int:
        """Fill rows with what waits at `fd`: how many. 0: nothing waits; -1: a pending error, which is cleared now."""
        count: int = _library.recvmmsg(fd, self._rows.headers, ROWS, socket.MSG_DONTWAIT, _ffi.NULL)
        if count < 0:
            return 0 if _ffi.errno in (errno.EAGAIN, errno.EBADF) else -1
        return count

    def lengths(self, count: int) -> list[int]:
        """The datagrams' lengths in octets."""
        return self._lengths[:count].tolist()

    def name(self, row: int) -> bytes:
        """The socket address that a row came from, to be compared with others."""
        return bytes(self._names[row * _NAME : row * _NAME + 24])

    def source(self, name: bytes) -> tuple[str, int]:
        """Host and port of it, as `recvfrom` spells them."""
        source = self._sources.get(name)
        if source is None:
            if len(self._sources) >= _MAX_SOURCES:
                self._sources.clear()
            source = self._sources[name] = self._read(name)
        return source

    def _read(self, name: bytes) -> tuple[str, int]:
        if self._family != socket.AF_INET6:
            port, address = _SOCKADDR_IN.unpack(name[:16])
            return socket.inet_ntop(socket.AF_INET, address), port
        port, _, address = _SOCKADDR_IN6.unpack(name)
        return socket.inet_ntop(socket.AF_INET6, address), port

    def datagram(self, row: int, length: int) -> bytes:
        """A copy of a row."""
        at = row * _SLOT
        return bytes(self.octets[at : at + length])


class SendBatch:
    """Datagrams of one socket that leave in one call. Owner: a `TunnelSocket` or, shared, `send_batch`.

    One thread only, the event loop's.
    """

    def __init__(self, family: int) -> None:
        self._rows = _Rows(family)
        self._family = family
        self.octets = memoryview(_ffi.buffer(self._rows.memory)).cast("B")
        """All slots. The datagram of a row begins at `starts[row]`."""
        self.starts: Final = [row * _SLOT for row in range(ROWS)]
        self.pointers: Final[list[Any]] = [self._rows.memory + at for at in self.starts]
        """The same, for code in C."""
        self._names = memoryview(_ffi.buffer(self._rows.names)).cast("B")
        self._piece_lengths = memoryview(_ffi.buffer(self._rows.pieces)).cast("B").cast("Q")[_IOVEC_LENGTH_AT // 8 :: 2]
        self._addresses: dict[tuple[str, int], bytes] = {}
        self.count = 0
        """Rows that wait for `send`."""

    def put(self, data: bytes, to: tuple[str, int]) -> None:
        """One more row, of at most `ROOM` octets; ValueError for no IP address. There must be room."""
        address = self._addresses.get(to) or self._pack(to)
        at = self.starts[self.count]
        self.octets[at : at + len(data)] = data
        self.add(len(data), address)

    def address(self, to: tuple[str, int]) -> bytes:
        """How the kernel spells this address, for `add`; ValueError for no IP address."""
        return self._addresses.get(to) or self._pack(to)

    def add(self, length: int, address: bytes) -> None:
        """The next row holds a datagram of so many octets already."""
        row = self.count
        self._names[row * _NAME : row * _NAME + len(address)] = address
        self._piece_lengths[row] = length
        self.count = row + 1

    def _pack(self, to: tuple[str, int]) -> bytes:
        family = struct.pack("=H", self._family)
        try:
            if self._family == socket.AF_INET6:
                packed = family + struct.pack("!HI16sI", to[1], 0, socket.inet_pton(socket.AF_INET6, to[0]), 0)
            else:
                packed = family + struct.pack("!H4s8x", to[1], socket.inet_pton(socket.AF_INET, to[0]))
        except (OSError, struct.error) as error:
            raise ValueError(f"{to[0]}:{to[1]} is no address that this socket sends to: {error}") from None
        if len(self._addresses) >= _MAX_SOURCES:
            self._addresses.clear()
        self._addresses[to] = packed
        return packed

    def send(self, fd: int) -> int:
        """Send all rows in order, and forget them; returns how many the kernel did not take."""
        at, count, refused, tried_again = 0, self.count, 0, -1
        self.count = 0
        while at < count:
            went: int = _library.sendmmsg(fd, self._rows.headers + at, count - at, socket.MSG_DONTWAIT)
            if went > 0:
                at += went
            elif _ffi.errno == errno.EAGAIN:
                return refused + count - at  # the socket's buffer is full: what is left would fail alike
            elif _ffi.errno in _OF_AN_EARLIER_ONE and tried_again != at:
                tried_again = at
            elif _ffi.errno != errno.EINTR:
                at, refused = at + 1, refused + 1
        return refused


@functools.cache
def _has_the_calls() -> bool:
    """Whether both are there, and a container's filter lets them through: then -1 is no descriptor to them."""
    try:
        _library.recvmmsg(-1, _ffi.NULL, 0, 0, _ffi.NULL)
        receives: bool = _ffi.errno == errno.EBADF
        _library.sendmmsg(-1, _ffi.NULL, 0, 0)
        return receives and bool(_ffi.errno == errno.EBADF)
    except AttributeError:
        return False


@functools.cache
def receive_batch(family: int) -> ReceiveBatch | None:
    """The batch for all sockets of this address family; None: this system has no `recvmmsg`."""
    return ReceiveBatch(family) if _has_the_calls() else None


@functools.cache
def send_batch(family: int) -> SendBatch | None:
    """The batch for all sockets of this address family; None: this system has no `sendmmsg`."""
    return SendBatch(family) if _has_the_calls() else None
