"""`recvmmsg` and `sendmmsg` by ctypes: a batch of datagrams whose fields are columns of memory.

The kernel reads and writes arrays of `struct mmsghdr`. They lie in anonymous memory here, and strided
memoryviews over it give one field of all datagrams at once: reading, copying and comparing a column is one
operation of the interpreter for a whole batch. Layout of 64-bit Linux; `why_not` tells whether that is ours.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final

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
_IOVEC: Final = struct.Struct("<QQ")
# cmsg_len u64 | level u32 | type u32 | segment size u16, padding
_CONTROL: Final = struct.Struct("<QiiH6x")
_CONTROL_LENGTH: Final = 18
UDP_SEGMENT: Final = 103
_CAN_NOT_SEGMENT: Final = (errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT)
SOCKADDR_IN: Final = 16
SOCKADDR_IN6: Final = 28
SOCKADDR_IN6_STRIDE: Final = 32
"""Its place in a column, so that 64-bit words stay aligned: family, port, flow info | address, 2 words | scope."""


def _memory(size: int) -> tuple[mmap.mmap, int]:
    block = mmap.mmap(-1, size)
    return block, ctypes.addressof(ctypes.c_char.from_buffer(block))


class Batch:
    """`size` datagram slots that one call fills and one call sends.

    Columns after `receive` returned n (first n rows are valid):
        sources[0 : 2n : 2]     IPv4: socket addresses as keys (see `flow_key`)
        sources[k : 4n : 4]     IPv6: word k of the socket addresses
        lengths[14 : 16n : 16]  bytes received
        octets, words           all slots as bytes and as 64-bit words; datagram i begins at i * SLOT + HEADROOM
    To be filled for `send`, one row per datagram in the order of sending:
        destinations[0 : 2n : 2] or, IPv6, addresses[32 * row : 32 * row + 28]
        pieces[0 : 2n : 2] (memory address), pieces[1 : 2n : 2] (length)
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
        self._segment_lengths = memoryview(controls).cast("H")
        self._destinations_at, self._pieces_at = destinations_at, pieces_at
        self.segments = True
        self.octets = memoryview(slots)
        self.words = memoryview(slots).cast("Q")
        self.halfwords = memoryview(slots).cast("I")
        self.sources = memoryview(sources).cast("Q")
        self.source_halfwords = memoryview(sources).cast("I")
        self.destinations = memoryview(destinations).cast("Q")
        self.addresses = memoryview(destinations)
        self.pieces = memoryview(pieces).cast("Q")
        self.lengths = memoryview(received).cast("I")
        self._kept = (room, sending)  # the kernel's pointers lead there

    def segment(self, fd: int, messages: Sequence[OutgoingMessage]) -> int:
        """Send the rows of these messages (IPv4 destinations), each message in one piece that the kernel cuts up.

        Its way down is walked once per message then (`UDP_SEGMENT`, Linux 4.18). Returns how many rows went; the rest
        is still to be sent. `segments` is false once the kernel or the network card has refused.
        """
        for number, (first, rows, length) in enumerate(messages):
            at = number * 8
            self._segmenting[at] = self._destinations_at + first * SOCKADDR_IN
            self._segmenting[at + 2] = self._pieces_at + first * _IOVEC.size
            self._segmenting[at + 3] = rows
            self._segment_lengths[number * 12 + 8] = length
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
        sent = 0
        while at < count:
            went: int = self._sendmmsg(fd, self._sending_at + at * _MMSGHDR.size, count - at, MSG_DONTWAIT)
            if went > 0:
                at += went
                sent += went
            elif ctypes.get_errno() == errno.EAGAIN:
                break  # the socket's buffer is full: what is left would fail alike
            elif ctypes.get_errno() != errno.EINTR:
                at += 1
        return sent


def why_not() -> str | None:
    """None if the batched calls work here, else the reason: asked once at start.

    Sends two datagrams through loopback and looks whether every column says what it should.
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
        at = row * SLOT + HEADROOM
        batch.octets[at : at + len(text)] = text
        batch.destinations[row * 2] = key_of(receiver.getsockname())
        batch.pieces[row * 2], batch.pieces[row * 2 + 1] = batch.slots_at + at, len(text)
    sent = batch.send(sender.fileno(), 2)
    batch.octets[:] = bytes(2 * SLOT)
    received = batch.receive(receiver.fileno())
    lengths = batch.lengths[14:32:16].tolist()
    seen = [bytes(batch.octets[row * SLOT + HEADROOM :][:length]) for row, length in enumerate(lengths)]
    sources = batch.sources[0:4:2].tolist()
    if (sent, received, seen, sources) != (2, 2, texts, [key_of(sender.getsockname())] * 2):
        return f"recvmmsg and sendmmsg do not fill memory as expected: sent {sent}, received {received}, read {seen}"
    return None
