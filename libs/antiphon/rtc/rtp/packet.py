"""RTP headers (RFC 3550 section 5.1), read and written. No state lives here."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

HEADER_LENGTH: Final = 12
_HEADER = struct.Struct("!BBHII")


class RtpError(ValueError):
    """Bytes that are no RTP packet."""


class RtpPacket(NamedTuple):
    """The fields of a received packet that are used here."""

    payload_type: int
    marker: bool
    sequence: int
    """16 bit."""
    timestamp: int
    """32 bit, 48 kHz ticks for Opus."""
    ssrc: int
    payload: bytes


def is_rtcp(datagram: bytes) -> bool:
    """RTP and RTCP share a port: the second byte tells them apart (RFC 5761 section 4)."""
    return len(datagram) > 1 and 64 <= datagram[1] & 0x7F < 96


def unpack_rtp(packet: bytes) -> RtpPacket:
    """Read a decrypted packet, past CSRCs, extension and padding; RtpError if its lengths do not fit."""
    if len(packet) < HEADER_LENGTH or packet[0] >> 6 != 2:
        raise RtpError(f"{len(packet)} bytes are no RTP packet")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(packet)
    start = HEADER_LENGTH + 4 * (first & 15)
    if first & 16:
        if len(packet) < start + 4:
            raise RtpError("RTP header extension is cut off")
        start += 4 + 4 * (packet[start + 2] << 8 | packet[start + 3])
    end = len(packet)
    if first & 32 and end:
        end -= packet[end - 1] or end  # a padding count of zero is malformed
    if start > end:
        raise RtpError("RTP header or padding is longer than the packet")
    return RtpPacket(second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, packet[start:end])


def pack_rtp(payload_type: int, marker: bool, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
    """A packet without CSRCs, extensions or padding."""
    return _HEADER.pack(0x80, payload_type | (0x80 if marker else 0), sequence, timestamp, ssrc) + payload
