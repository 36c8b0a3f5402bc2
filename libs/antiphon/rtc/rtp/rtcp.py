"""RTCP (RFC 3550 section 6, RFC 4585): sender and receiver reports, NACK, and the statistics in them. Sans-IO."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
TRANSPORT_FEEDBACK: Final = 205
GENERIC_NACK: Final = 1
MAX_NACKED: Final = 256
"""Sequence numbers taken from one compound packet."""
MAX_ASKED: Final = 512
"""Sequence numbers read of one compound packet, repeated ones included: 5000 fit into one, and took 2 ms."""
MAX_DROPOUT: Final = 1000
"""A sequence number further off than this is a restart of the sender, not loss (RFC 3550 appendix A.1)."""
NTP_UNIX_OFFSET: Final = 2_208_988_800
"""Seconds from 1900 to 1970."""

_REPORT_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!BBHIQIII")


class RtcpError(ValueError):
    """Bytes that are no RTCP compound packet."""


class ReportBlock(NamedTuple):
    """What a receiver reports about one of our streams."""

    ssrc: int
    fraction_lost: int
    """Of 256, since its last report."""
    packets_lost: int
    """Since the start; signed 24 bit."""
    highest_sequence: int
    jitter: int
    """Timestamp ticks."""
    last_sr: int
    """Middle 32 bits of the NTP time of our last sender report; 0 if none has arrived."""
    delay_since_last_sr: int
    """Units of 1/65536 s."""


@dataclass
class Compound:
    """What this project needs of a received compound packet."""

    sender_ntp: int | None = None
    """Middle 32 bits of the NTP time in its sender report."""
    reports: tuple[ReportBlock, ...] = ()
    nacked: tuple[tuple[int, int], ...] = ()
    """(media ssrc, sequence number) pairs whose retransmission is asked for; each once, at most `MAX_NACKED`."""


def unpack_compound(packet: bytes) -> Compound:
    """Read a decrypted compound packet; unknown parts are skipped, broken lengths raise RtcpError."""
    result = Compound()
    nacked: dict[tuple[int, int], None] = {}
    position = asked = 0
    while position + 4 <= len(packet):
        first, kind, words = struct.unpack_from("!BBH", packet, position)
        end = position + 4 + 4 * words
        if first >> 6 != 2 or end > len(packet):
            raise RtcpError(f"RTCP part of type {kind} at byte {position} is longer than its packet")
        body = packet[position + 4 : end]
        if kind == SENDER_REPORT and len(body) >= 24:
            result.sender_ntp = int.from_bytes(body[6:10], "big")
            result.reports += _blocks(body[24:], first & 31)
        elif kind == RECEIVER_REPORT and len(body) >= 4:
            result.reports += _blocks(body[4:], first & 31)
        elif kind == TRANSPORT_FEEDBACK and first & 31 == GENERIC_NACK and len(body) >= 8:
            ssrc = int.from_bytes(body[4:8], "big")
            for pid, mask in struct.iter_unpack("!HH", body[8 : 8 + (len(body) - 8) // 4 * 4]):
                if asked >= MAX_ASKED:
                    break
                lost = [pid, *((pid + 1 + bit) & 0xFFFF for bit in range(16) if mask >> bit & 1)]
                asked += len(lost)
                if len(nacked) + len(lost) <= MAX_NACKED:
                    nacked.update(((ssrc, sequence), None) for sequence in lost)
        position = end
    if position != len(packet):
        raise RtcpError(f"RTCP packet has {len(packet) - position} bytes too many")
    result.nacked = tuple(nacked)
    return result


def _blocks(data: bytes, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for offset in range(0, min(24 * count, len(data) - 23), 24):
        ssrc, loss, highest, jitter, last_sr, delay = _REPORT_BLOCK.unpack_from(data, offset)
        lost = (loss & 0xFFFFFF) - ((loss & 0x800000) << 1)
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, delay))
    return tuple(blocks)


def ntp_time(unix_time: float) -> int:
    """64-bit NTP timestamp of `unix_time` seconds."""
    return int((unix_time + NTP_UNIX_OFFSET) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


def round_trip(block: ReportBlock, unix_time: float) -> float | None:
    """Seconds of round trip that a report block proves (RFC 3550 section 6.4.1); None if it can't tell."""
    if not block.last_sr:
        return None
    units = ((ntp_time(unix_time) >> 16 & 0xFFFFFFFF) - block.last_sr - block.delay_since_last_sr) & 0xFFFFFFFF
    return units / 65536 if units < 60 << 16 else None  # above a minute: a clock step, not a path


def pack_report(
    ssrc: int, unix_time: float, timestamp: int, packets: int, octets: int, cname: bytes, block: ReportBlock | None
) -> bytes:
    """A compound of one sender report with at most one report block, and the CNAME."""
    head = _SENDER.pack(
        0x80 | (block is not None),
        SENDER_REPORT,
        6 + (6 if block else 0),
        ssrc,
        ntp_time(unix_time),
        timestamp,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    if block is not None:
        lost = max(-0x800000, min(block.packets_lost, 0x7FFFFF)) & 0xFFFFFF
        head += _REPORT_BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | lost,
            block.highest_sequence & 0xFFFFFFFF,
            block.jitter & 0xFFFFFFFF,
            block.last_sr,
            block.delay_since_last_sr & 0xFFFFFFFF,
        )
    item = struct.pack("!BB", 1, len(cname)) + cname + b"\0"
    item += bytes(-len(item) % 4)
    return head + struct.pack("!BBHI", 0x81, SOURCE_DESCRIPTION, 1 + len(item) // 4, ssrc) + item


class Reception:
    """The statistics of one incoming stream for its receiver reports (RFC 3550 appendix A).

    Owner: a receiver, for its whole life; one thread only. A new SSRC starts it over.
    """

    def __init__(self, clock_rate: int = 48000) -> None:
        self.ssrc = 0
        self.received = 0
        self.jitter = 0.0
        """Ticks."""
        self._clock_rate = clock_rate
        self._base = self._highest = -1
        self._transit: float | None = None
        self._expected_before = self._received_before = 0
        self._sender_ntp = 0
        self._sender_arrival = 0.0

    @property
    def lost(self) -> int:
        """Packets expected so far that have not arrived; duplicates can make it negative."""
        return self._highest - self._base + 1 - self.received if self.received else 0

    def add(self, ssrc: int, sequence: int, timestamp: int, now: float) -> None:
        """Count one authenticated packet; a new SSRC starts over."""
        if ssrc != self.ssrc or self._base < 0:
            self.__init__(self._clock_rate)  # type: ignore[misc]
            self.ssrc = ssrc
            self._base = self._highest = sequence
        self.count(sequence)
        transit = now * self._clock_rate - timestamp
        if self._transit is not None:
            # Timestamps wrap at 2^32; a jump of more than a second is a mute or a new start, not jitter.
            change = abs((transit - self._transit + 0x80000000) % 0x100000000 - 0x80000000)
            if change < self._clock_rate:
                self.jitter += (change - self.jitter) / 16
        self._transit = transit

    def count(self, sequence: int) -> None:
        """Count a packet of this stream whose timestamp says nothing about jitter (a telephone event)."""
        ahead = (sequence - self._highest) & 0xFFFF
        if MAX_DROPOUT < ahead < 0x10000 - MAX_DROPOUT:
            self._base += ahead - 1
            self._highest += ahead
        elif 0 < ahead < 0x8000:
            self._highest += ahead
        self.received += 1

    def sender_report(self, ntp_middle: int, now: float) -> None:
        """Remember the peer's sender report, so that it can measure the round trip from our next one."""
        self._sender_ntp, self._sender_arrival = ntp_middle, now

    def block(self, now: float) -> ReportBlock | None:
        """The report block for what has arrived; None before the first packet."""
        if not self.received:
            return None
        expected = self._highest - self._base + 1
        expected_now = expected - self._expected_before
        lost_now = expected_now - (self.received - self._received_before)
        self._expected_before, self._received_before = expected, self.received
        fraction = max(0, min(255, lost_now * 256 // expected_now)) if expected_now > 0 else 0
        delay = int((now - self._sender_arrival) * 65536) if self._sender_ntp else 0
        return ReportBlock(self.ssrc, fraction, self.lost, self._highest, int(self.jitter), self._sender_ntp, delay)
