"""From the datagram in its slot to the message for NATS in one function: audio of a caller that comes as expected.

The ordinary way of a packet is `demux`, `session`, `srtp`, `receiver`, `jitter_buffer`, `frame_decoder`,
`session_output`: some forty calls for 20 ms of audio. Nearly all packets are the next of their stream and need none of
the questions asked there. A lane asks them all at once, decrypts the packet where it lies and decodes it behind the
head of its message. State stays with its owners: a lane keeps only what it compares and what never changes. So whatever
is unusual goes the ordinary way, with nothing changed before the packet proved authentic
(`tests/transceiver/test_lanes.py` sends the same packets both ways).
"""

from __future__ import annotations

import struct
from typing import Any, Final, Protocol

from cffi import FFI

from antiphon.rtc.media import opus
from antiphon.rtc.media.jitter_buffer import FRAME_TICKS
from antiphon.rtc.rtp.packet import HEADER_LENGTH
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.runtime.nats.nats_fast_path import END, message_head
from antiphon.schemas.audio import HEAD_LENGTH, pack_tail, write_head
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.net.udp_socket import TunnelSocket
from antiphon.transceiver.session.fault_isolation import failed
from antiphon.transceiver.session.session import Session

_HEADER: Final = struct.Struct("!BBHII").unpack_from
_VERSION_2: Final = 0x80
_EXTENSION: Final = 0x10
_FRAMES_PER_SECOND: Final = 50
_ROOM: Final = 4096
"""Octets for a message: 20 ms at 48 kHz are 1920."""
MAX_SUBJECT: Final = 1024
"""Characters of a subject that a message has room for."""
_ffi: Final = FFI()
_message: Final = _ffi.new("char[]", _ROOM)
"""One message, of whichever call; it ends at the end of this memory, so that the samples lie at an even address
whatever stands before them: libopus writes 16-bit words. The media path of a process is single-threaded."""
_view: Final = _ffi.buffer(_message)
_octets: Final = memoryview(_view).cast("B")
_octets[_ROOM - len(END) :] = END


class LaneOutput(Protocol):
    """What a lane needs of its session's output: `SessionOutput`."""

    audio_subject: str
    """Where frames go now; another object after each change."""

    @property
    def port(self) -> TunnelSocket | None:
        """The socket of its datagrams; None: they need a permission each, so none leaves by a lane."""


class MessageWriter(Protocol):
    """Where messages for NATS go: `Publisher`."""

    def publish_message(self, message: bytes) -> None: ...


class InboundLane:
    """Media from one client by one path.

    Owner: `Lanes`, as long as `serves` says so; it makes another when path, keys, decoder or agent have changed.
    """

    __slots__ = (
        "_at_pcm",
        "_begin",
        "_decoder",
        "_head",
        "_hop",
        "_ice",
        "_media_budget",
        "_output",
        "_path",
        "_payload_type",
        "_pcm",
        "_publisher",
        "_receiver",
        "_samples",
        "_session",
        "_srtp",
        "_subject",
        "header",
    )

    def __init__(
        self,
        session: Session,
        output: LaneOutput,
        publisher: MessageWriter,
        path: Path,
        srtp: Srtp,
        decoder: opus.Decoder,
    ) -> None:
        """`path` is where answers go."""
        self.header = path.header
        """Of each of its packets: the key of this lane."""
        self._hop = len(path.header)
        self._session, self._output, self._publisher = session, output, publisher
        self._ice, self._receiver, self._media_budget = session.ice, session.receiver, session.budget.media
        self._path, self._srtp, self._decoder = path, srtp, decoder
        self._payload_type = session.state.rtp.payload_type
        self._subject = output.audio_subject
        self._samples = decoder.rate // _FRAMES_PER_SECOND
        line = message_head(self._subject, HEAD_LENGTH + 2 * self._samples)
        self._at_pcm = _ROOM - 2 * self._samples - len(END)
        tail = pack_tail(decoder.rate)
        self._head = line + bytes(HEAD_LENGTH - len(tail)) + tail
        self._begin = self._at_pcm - len(self._head)
        self._pcm = _message + self._at_pcm

    def serves(self) -> bool:
        """Everything is as it was when this lane was made."""
        session = self._session
        return (
            session.ended is None
            and session.srtp is self._srtp
            and self._ice.path == self._path
            and not self._ice.limited
            and self._output.audio_subject is self._subject
        )

    def decodes(self) -> bool:
        """The agent still gets what this lane's decoder makes: it has not asked for another rate."""
        return self._receiver.decoder in (self._decoder, None)

    def receive(
        self, octets: memoryview, at: int, pointer: Any, size: int, relay: tuple[str, int], now: float, unix_ns: int
    ) -> bool:
        """Take the tunnel packet at `octets[at:at + size]`, which is `pointer` for C; False: nothing was changed.

        It begins with this lane's `header`, as far as it is long enough.
        """
        hop = self._hop
        at += hop
        first, second, sequence, timestamp, ssrc = _HEADER(octets, at)
        if (
            first & ~_EXTENSION != _VERSION_2
            or second & 0x7F != self._payload_type
            or size <= hop + HEADER_LENGTH
            or not self._receiver.expects(ssrc, sequence, timestamp, self._decoder)
            or relay != self._path.relay
            or not self.serves()
            or not self._srtp.expects(ssrc, sequence)
        ):
            return False
        try:
            self._take(octets, at, pointer + hop, size - hop, now, unix_ns)
        except Exception:  # as at the other entry points of a session
            failed(self._session)
        return True

    def _take(self, octets: memoryview, at: int, packet: Any, size: int, now: float, unix_ns: int) -> None:
        """The packet is what was expected: decrypt, count and publish it."""
        if not self._media_budget.admits(now):
            return  # and counts it
        first, _, sequence, timestamp, ssrc = _HEADER(octets, at)
        length = self._srtp.unprotect_in_place(packet, size, sequence)
        if length < 0:
            return  # forged, or a replay, and counted
        self._media_budget.spend(1)
        self._ice.received_as_expected(now)
        start = HEADER_LENGTH
        if first & _EXTENSION:
            start += 4 + 4 * (octets[at + 14] << 8 | octets[at + 15])
        if (
            start >= length
            or opus.TICKS_OF_ONE_FRAME[octets[at + start]] != FRAME_TICKS
            or self._decoder.decode_into(packet + start, length - start, self._pcm, self._samples) != self._samples
        ):
            self._session.take_unprotected(bytes(octets[at : at + length]), now, unix_ns)
            return
        extended = bytes(octets[at : at + start]) if first & _EXTENSION else b""
        number, first_sample = self._receiver.advance(ssrc, sequence, timestamp, extended, now, unix_ns)
        _octets[self._begin : self._at_pcm] = self._head
        write_head(_octets, self._at_pcm - HEAD_LENGTH, number, first_sample, unix_ns)
        self._publisher.publish_message(_view[self._begin : _ROOM])
