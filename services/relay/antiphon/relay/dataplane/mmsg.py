"""`recvmmsg` and `sendmmsg` by ctypes: a batch of datagrams whose fields are columns of memory.

The kernel reads and writes arrays of `struct mmsghdr`. They lie in anonymous memory here, and strided
memoryviews over it give one field of all datagrams at once: reading, copying and comparing a column is one
operation of the interpreter for a whole batch. The offsets and strides of that memory are known in this file alone.
Layout of 64-bit Linux; `why_not` tells whether this machine has it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
import struct
import sys
from array import array
from collections.abc import Sequence
from typing import Final, Literal

from antiphon.relay.core.flow_key import key_of
from antiphon.relay.dataplane.segmentation import OutgoingMessage

SLOT: Final = 2112
"""Bytes of memory per datagram: 2 KB and a cache line, so that the beginnings of a batch don't share few cache sets."""
HEADROOM: Final = 64
"""Free bytes in front of each, where a tunnel header may be put without moving the datagram."""
ROOM: Final = SLOT - HEADROOM
MSG_DONTWAIT: Final = 0x40
_UDP: Final = (socket.AF_INET, socket.SOCK_DGRAM)

# name u64 | namelen u32, padding | iov u64 | iovlen u64 | control u64 | controllen u64 | flags u32, padding
# | msg_len u32, padding
_MMSGHDR: Final = struct.Struct("<QI4xQQQQi4xI4x")
_HEADER_WORDS: Final = _MMSGHDR.size // 8
_NAME_WORD: Final = 0
_IOV_WORD: Final = 16 // 8
_IOVLEN_WORD: Final = 24 // 8
_MSG_LEN_AT: Final = 56
# base u64 | len u64
_IOVEC: Final = struct.Struct("<QQ")
_IOVEC_LENGTH_AT: Final = 8
# cmsg_len u64 | level u32 | type u32 | segment size u16, padding
_CONTROL: Final = struct.Struct("<QiiH6x")
_CONTROL_LENGTH: Final = 18
_CONTROL_HALFWORDS: Final = _CONTROL.size // 2
_SEGMENT_SIZE_HALFWORD: Final = 16 // 2
UDP_SEGMENT: Final = 103
_OF_AN_EARLIER_ONE: Final = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE)
"""A socket that is told ICMP errors (IP_RECVERR) returns one instead of sending; the next try sends."""
_CAN_NOT_SEGMENT: Final = (errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT)
SOCKADDR_IN: Final = 16
SOCKADDR_IN6: Final = 28
SOCKADDR_IN6_STRIDE: Final = 32
"""Its place in a column, so that 64-bit words stay aligned: family, port, flow info | address, 2 words | scope."""
_FAMILY_AND_PORT: Final = 0xFFFFFFFF
_IPV6_HEADER: Final = 20

Format = Literal["B", "H", "I", "Q"]
"""Of a column's values: unsigned, of 8, 16, 32 or 64 bits."""
Column = memoryview
"""One field of the first rows of a batch, strided over the batch's memory."""


def _memory(size: int) -> tuple[mmap.mmap, int]:
    block = mmap.mmap(-1, size)
    return block, ctypes.addressof(ctypes.c_char.from_buffer(block))


def _columns(memory: memoryview, value: Format, at: int, stride: int, rows: int) -> list[Column]:
    """By number of rows n: the values at octets `at`, `at + stride`, ... of the first n rows.

    All are made at once, 1.2 MB for a worker's batches: to index a list costs less than to slice for each batch, and
    that pays for the methods that name the columns.
    """
    values = memory.cast(value)
    first, step = at // values.itemsize, stride // values.itemsize
    return [values[first : step * n : step] for n in range(rows + 1)]


class Batch:
    """`size` datagram slots that one call fills and one call sends.

    A packet loop makes its batches once and keeps them for the life of the worker; it alone uses them, on its thread.
    After `receive` returned n, the first n rows can be read (`sources_of`, `lengths_of`, ...), until the next
    `receive`. For `send`, destinations and pieces are set in the order of sending.
    """

    def __init__(self, size: int, from_ipv6: bool = False, to_ipv6: bool = False) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._recvmmsg, self._sendmmsg = library.recvmmsg, library.sendmmsg
        number, pointer, count = ctypes.c_int, ctypes.c_void_p, ctypes.c_uint
        self._recvmmsg.argtypes = [number, pointer, count, number, pointer]
        self._sendmmsg.argtypes = [number, pointer, count, number]
        self.size = size

        source, source_stride = (SOCKADDR_IN6, SOCKADDR_IN6_STRIDE) if from_ipv6 else (SOCKADDR_IN, SOCKADDR_IN)
        target, target_stride = (SOCKADDR_IN6, SOCKADDR_IN6_STRIDE) if to_ipv6 else (SOCKADDR_IN, SOCKADDR_IN)
        slots, self.slots_at = _memory(size * SLOT)
        sources, sources_at = _memory(size * source_stride)
        destinations, destinations_at = _memory(size * target_stride)
        room, room_at = _memory(size * _IOVEC.size)
        pieces, pieces_at = _memory(size * _IOVEC.size)
        received, self._received_at = _memory(size * _MMSGHDR.size)
        sending, self._sending_at = _memory(size * _MMSGHDR.size)
        for i in range(size):
            iovec, header = i * _IOVEC.size, i * _MMSGHDR.size
            _IOVEC.pack_into(room, iovec, self.slots_at + i * SLOT + HEADROOM, ROOM)
            name = sources_at + i * source_stride
            _MMSGHDR.pack_into(received, header, name, source, room_at + iovec, 1, 0, 0, 0, 0)
            name = destinations_at + i * target_stride
            _MMSGHDR.pack_into(sending, header, name, target, pieces_at + iovec, 1, 0, 0, 0, 0)
        controls, controls_at = _memory(size * _CONTROL.size)
        segmenting, self._segmenting_at = _memory(size * _MMSGHDR.size)
        for i in range(size):
            control = i * _CONTROL.size
            _CONTROL.pack_into(controls, control, _CONTROL_LENGTH, socket.IPPROTO_UDP, UDP_SEGMENT, 0)
            _MMSGHDR.pack_into(
                segmenting, i * _MMSGHDR.size, 0, SOCKADDR_IN, 0, 0, controls_at + control, _CONTROL.size, 0, 0
            )
        self._segmenting = memoryview(segmenting).cast("Q")
        self._segment_sizes = memoryview(controls).cast("H")
        self._destinations_at, self._pieces_at = destinations_at, pieces_at
        self.segments = True
        """Whether the kernel cuts messages up; false once it has refused."""
        self._slots = memoryview(slots)
        self._target_addresses = memoryview(destinations)
        self._lengths = _columns(memoryview(received), "I", _MSG_LEN_AT, _MMSGHDR.size, size)
        self._sources = _columns(memoryview(sources), "Q", 0, source_stride, size)
        self._first_bytes = self.columns("B", 0)
        self._headers = self.columns("Q", 0)
        self._headers_in_front = self.columns("Q", -8)
        self._destinations = _columns(memoryview(destinations), "Q", 0, target_stride, size)
        self._piece_addresses = _columns(memoryview(pieces), "Q", 0, _IOVEC.size, size)
        self._piece_lengths = _columns(memoryview(pieces), "Q", _IOVEC_LENGTH_AT, _IOVEC.size, size)
        if from_ipv6:
            self._source_words = [_columns(memoryview(sources), "Q", at, source_stride, size) for at in (0, 8, 16)]
            # Family and port, then the address: all of the socket address but flow info and scope.
            self._source_parts = [
                _columns(memoryview(sources), "I", at, source_stride, size) for at in (0, 8, 12, 16, 20)
            ]
            self._ipv6_headers = [self.columns("I", at - _IPV6_HEADER) for at in range(0, _IPV6_HEADER, 4)]
        self._kept = (room, sending)  # the kernel's pointers lead there

    # ---- what was received ----

    def columns(self, value: Format, at: int) -> list[Column]:
        """By number of rows: the value at octet `at` of each datagram, or in front of it (down to -HEADROOM)."""
        return _columns(self._slots, value, HEADROOM + at, SLOT, self.size)

    def sources_of(self, n: int) -> Column:
        """The IPv4 socket addresses that the datagrams came from, as keys (see `flow_key`)."""
        return self._sources[n]

    def ipv6_sources_of(self, n: int) -> list[int]:
        """The IPv6 socket addresses that the datagrams came from, as keys."""
        words = (column[n].tolist() for column in self._source_words)
        return [head & _FAMILY_AND_PORT | low << 32 | high << 96 for head, low, high in zip(*words, strict=True)]

    def lengths_of(self, n: int) -> list[int]:
        """The datagrams' lengths in octets."""
        return self._lengths[n].tolist()

    def first_bytes_of(self, n: int) -> bytes:
        """The first octet of each datagram; of an empty one, whatever was there before."""
        return self._first_bytes[n].tobytes()

    def headers_of(self, n: int) -> Column:
        """The first 8 octets of each datagram: in a tunnel packet for an IPv4 client, that client's key."""
        return self._headers[n]

    def datagram(self, row: int, length: int) -> memoryview:
        """The first `length` octets of one datagram, in place: valid until the next `receive`."""
        at = row * SLOT + HEADROOM
        return self._slots[at : at + length]

    def parts(self, rows: Sequence[int], shift: int, lengths: Sequence[int]) -> list[memoryview]:
        """The memory of these rows from `shift` octets behind the datagram's first one on, so many octets of each."""
        slots, begin = self._slots, HEADROOM + shift
        starts = [row * SLOT + begin for row in rows]
        return [slots[at : at + length] for at, length in zip(starts, lengths, strict=True)]

    def memory_addresses(self, shift: int) -> array[int]:
        """Where each row's datagram begins in memory, plus `shift`: for `set_pieces`."""
        begin = self.slots_at + HEADROOM + shift
        return array("Q", range(begin, begin + self.size * SLOT, SLOT))

    # ---- what is to be sent ----

    def set_headers(self, n: int, clients: memoryview) -> None:
        """Put an 8-octet tunnel header, which is its client's key, in front of each of the first n datagrams."""
        self._headers_in_front[n][:] = clients

    def set_ipv6_headers(self, n: int) -> None:
        """Put the sources as 20-octet tunnel headers in front of the first n datagrams."""
        for header, part in zip(self._ipv6_headers, self._source_parts, strict=True):
            header[n][:] = part[n]

    def set_destinations(self, n: int, keys: memoryview) -> None:
        """The IPv4 destinations of rows 0 to n, as keys."""
        self._destinations[n][:] = keys

    def set_ipv6_destination(self, row: int, sockaddr_in6: bytes) -> None:
        """The IPv6 destination of one row: the 28 octets of Linux `sockaddr_in6`."""
        at = row * SOCKADDR_IN6_STRIDE
        self._target_addresses[at : at + SOCKADDR_IN6] = sockaddr_in6

    def set_pieces(self, n: int, addresses: array[int], lengths: memoryview) -> None:
        """The memory that rows 0 to n send: the first `n` addresses, and `n` lengths, of 64 bits each."""
        self._piece_addresses[n][:] = memoryview(addresses)[:n]
        self._piece_lengths[n][:] = lengths

    def put(self, row: int, data: bytes, destination: int) -> None:
        """Let `row` send `data` to an IPv4 key: for tests and the try-out, the packet loops set whole columns."""
        self.datagram(row, len(data))[:] = data
        self._destinations[self.size][row] = destination
        self._piece_addresses[self.size][row] = self.slots_at + row * SLOT + HEADROOM
        self._piece_lengths[self.size][row] = len(data)

    # ---- system calls ----

    def segment(self, fd: int, messages: Sequence[OutgoingMessage]) -> int:
        """Send the rows of these messages (IPv4 destinations), each message in one piece that the kernel cuts up.

        Its way down is walked once per message then (`UDP_SEGMENT`, Linux 4.18). Returns how many rows went; the rest
        is still to be sent. `segments` is false once the kernel or the network card has refused.
        """
        headers, sizes = self._segmenting, self._segment_sizes
        for number, (first, rows, length) in enumerate(messages):
            header = number * _HEADER_WORDS
            headers[header + _NAME_WORD] = self._destinations_at + first * SOCKADDR_IN
            headers[header + _IOV_WORD] = self._pieces_at + first * _IOVEC.size
            headers[header + _IOVLEN_WORD] = rows
            sizes[number * _CONTROL_HALFWORDS + _SEGMENT_SIZE_HALFWORD] = length
        sent: int = self._sendmmsg(fd, self._segmenting_at, len(messages), MSG_DONTWAIT)
        if sent < 0 and ctypes.get_errno() in _CAN_NOT_SEGMENT:
            self.segments = False
        return sum(message.rows for message in messages[: max(sent, 0)])

    def receive(self, fd: int) -> int:
        """Fill slots with what waits at `fd`: how many. 0 if nothing waits; -1 for a pending error, now cleared."""
        received: int = self._recvmmsg(fd, self._received_at, self.size, MSG_DONTWAIT, None)
        if received < 0:
            return 0 if ctypes.get_errno() in (errno.EAGAIN, errno.EINTR) else -1
        return received

    def send(self, fd: int, count: int, at: int = 0) -> int:
        """Send rows `at` to `count` in order; returns how many went. A row that the kernel refuses is skipped."""
        sent, tried_again = 0, -1
        while at < count:
            went: int = self._sendmmsg(fd, self._sending_at + at * _MMSGHDR.size, count - at, MSG_DONTWAIT)
            if went > 0:
                at += went
                sent += went
            elif ctypes.get_errno() == errno.EAGAIN:
                break  # the socket's buffer is full: what is left would fail alike
            elif ctypes.get_errno() in _OF_AN_EARLIER_ONE and tried_again != at:
                tried_again = at
            elif ctypes.get_errno() != errno.EINTR:
                at += 1
        return sent


def why_not() -> str | None:
    """None if the batched calls work here, else the reason: asked once at start.

    Sends two datagrams through loopback and checks every column.
    """
    if not sys.platform.startswith("linux") or sys.byteorder != "little" or struct.calcsize("P") != 8:
        return f"this is {sys.platform}, {sys.byteorder} endian, {struct.calcsize('P') * 8} bit: not 64-bit Linux"
    try:
        with socket.socket(*_UDP) as sender, socket.socket(*_UDP) as receiver:
            sender.bind(("127.0.0.1", 0))
            receiver.bind(("127.0.0.1", 0))
            return _try_out(sender, receiver)
    except (OSError, AttributeError) as error:
        return f"recvmmsg and sendmmsg can't be tried out: {error}"


def _try_out(sender: socket.socket, receiver: socket.socket) -> str | None:
    batch, texts = Batch(2), [b"one", b"three"]
    for row, text in enumerate(texts):
        batch.put(row, text, key_of(receiver.getsockname()))
    sent = batch.send(sender.fileno(), 2)
    for row in range(2):
        batch.datagram(row, ROOM)[:] = bytes(ROOM)
    received = batch.receive(receiver.fileno())
    seen = [bytes(batch.datagram(row, length)) for row, length in enumerate(batch.lengths_of(2))]
    sources = batch.sources_of(2).tolist()
    if (sent, received, seen, sources) != (2, 2, texts, [key_of(sender.getsockname())] * 2):
        return f"recvmmsg and sendmmsg do not fill memory as expected: sent {sent}, received {received}, read {seen}"
    return None
