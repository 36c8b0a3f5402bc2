"""The audio of one call from the client's side: RTP packets to frames, frames to RTP packets. Sans-IO.

Built of the parts of `antiphon.rtc`. It is not the transceiver's receiver and sender turned round: a client has no
position to keep across processes, no generations, and a microphone that gives a frame every 20 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from antiphon.rtc.media import opus
from antiphon.rtc.media.frame_decoder import FrameDecoder
from antiphon.rtc.media.jitter_buffer import JitterBuffer
from antiphon.rtc.media.timeline import TICKS_PER_SECOND
from antiphon.rtc.rtp import rtcp
from antiphon.rtc.rtp.packet import RtpError, RtpPacket, pack_rtp, unpack_rtp
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.schemas.audio import AudioFrame

PERIOD: Final = 0.020
TICKS: Final = 960
PAUSE: Final = 0.1
"""Seconds by which a frame is late that begins a new talk spurt: the timestamps skip what the microphone left out."""
HISTORY: Final = 64
"""Protected packets kept for retransmission."""
MAX_RETRANSMITTED: Final = 50
"""Packets between two reports that NACKs may cost."""
MAX_LOSS: Final = 30
"""Percent of loss that the encoder is told at most."""
CNAME: Final = b"antiphon"


@dataclass
class OutgoingStream:
    """What we send (RFC 3550)."""

    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    """Of the next packet."""
    packets: int = 0
    octets: int = 0


class ClientReceiver:
    """The server's audio. Owner: `webrtc_client.Peer`, for one call; called on its event loop only."""

    def __init__(self, payload_type: int, rate: int, on_frame: Callable[[AudioFrame], None]) -> None:
        """`on_frame` gets 20 ms of audio at `rate` Hz at a time, in order."""
        self.reception = rtcp.Reception()
        """Losses and jitter of the stream."""
        self._payload_type = payload_type
        self._rate = rate
        self._on_frame = on_frame
        self._buffer = JitterBuffer()
        self._decoder = FrameDecoder(rate, self._buffer, self._publish, self._jump)
        self._started = False
        self._sequence = self._samples = 0
        self._unix_offset = 0
        """Nanoseconds from our clock to Unix time, as of the last packet."""

    @property
    def packets_late(self) -> int:
        """Packets that came after their place was given up."""
        return self._buffer.counters.late

    def receive(self, packet: bytes, now: float, unix_ns: int) -> None:
        """Take one decrypted RTP packet, read from the socket at `now`, which is `unix_ns` by the wall clock."""
        self._unix_offset = unix_ns - int(now * 1e9)
        try:
            header = unpack_rtp(packet)
        except RtpError:
            self._buffer.counters.malformed += 1
            return
        if header.payload_type != self._payload_type or not header.payload:
            self._receive_other(header, now)
            return
        if self._started and header.ssrc != self.reception.ssrc:
            self._decoder.play(self._buffer.change_source(now))
        self._started = True
        self.reception.add(header.ssrc, header.sequence, header.timestamp, now)
        self._buffer.jitter = self.reception.jitter / TICKS_PER_SECOND
        self._decoder.play(self._buffer.push(header.sequence, header.timestamp, header.payload, now))

    def receive_rtcp(self, compound: rtcp.Compound, now: float) -> None:
        """Take the sender report out of a compound packet."""
        if compound.sender_ntp is not None:
            self.reception.sender_report(compound.sender_ntp, now)

    def visit(self, now: float) -> None:
        """Call every 20 ms: gives up gaps whose time has passed and fills pauses."""
        self._decoder.play(self._buffer.poll(now))

    def _receive_other(self, header: RtpPacket, now: float) -> None:
        """A packet without audio: it is numbered among the others."""
        if self._started and header.ssrc == self.reception.ssrc:
            self.reception.count(header.sequence)
            self._decoder.play(self._buffer.skip(header.sequence, now))

    def _jump(self, samples: int) -> None:
        self._samples += samples

    def _publish(self, pcm: bytes, flags: int, arrived: float) -> None:
        captured_ns = self._unix_offset + int(arrived * 1e9)
        self._on_frame(AudioFrame(self._sequence, self._samples, captured_ns, self._rate, int(flags), 0, pcm))
        self._sequence += 1
        self._samples += len(pcm) // 2


class ClientSender:
    """Our microphone. Owner: `webrtc_client.Peer`, from the finished handshake on; called on its event loop only."""

    def __init__(self, stream: OutgoingStream, rate: int, srtp: Srtp, send: Callable[[bytes], None]) -> None:
        """`send` gets each protected packet."""
        self.remote_packets_lost: int | None = None
        """Of our packets, as the server reported last."""
        self._stream = stream
        self._srtp, self._send = srtp, send
        self._encoder = opus.Encoder(rate)
        self._loss_percent = 0
        self._due: float | None = None
        """When the packet with the next timestamp is on time; None before the first."""
        self._history: dict[int, bytes] = {}
        self._retransmitted = 0
        """Since the last report."""

    def speak(self, pcm: bytes, now: float) -> None:
        """Send a frame of 20 ms."""
        stream = self._stream
        starts = self._follow_clock(now)
        self._encoder.expect_loss(self._loss_percent)
        payload = self._encoder.encode(pcm)
        packet = pack_rtp(stream.payload_type, starts, stream.sequence, stream.timestamp, stream.ssrc, payload)
        protected = self._srtp.protect(packet)
        self._send(protected)
        self._history[stream.sequence] = protected
        self._history.pop((stream.sequence - HISTORY) & 0xFFFF, None)
        stream.sequence = (stream.sequence + 1) & 0xFFFF
        stream.timestamp = (stream.timestamp + TICKS) & 0xFFFFFFFF
        stream.packets += 1
        stream.octets += len(payload)

    def _follow_clock(self, now: float) -> bool:
        """Move the timestamp over a pause, if there was one before this packet; whether it begins a talk spurt."""
        if self._due is None:
            self._due = now + PERIOD
            return True
        lag = now - self._due
        starts = lag > PAUSE
        if starts:
            # Whole frames, so that the receiver's buffer sees a plain gap.
            frames = round(lag / PERIOD)
            self._stream.timestamp = (self._stream.timestamp + frames * TICKS) & 0xFFFFFFFF
            lag -= frames * PERIOD
        self._due = now + PERIOD - max(0.0, lag)
        return starts

    def receive_rtcp(self, compound: rtcp.Compound) -> None:
        """Learn from receiver reports what is lost; send again what is asked for."""
        for block in compound.reports:
            if block.ssrc == self._stream.ssrc:
                self.remote_packets_lost = max(0, block.packets_lost)
                # Quickly up, slowly down: FEC must be on before the next loss, not after it.
                percent = round(block.fraction_lost * 100 / 256)
                self._loss_percent = min(MAX_LOSS, max(percent, self._loss_percent * 3 // 4))
        for ssrc, sequence in compound.nacked:
            packet = self._history.get(sequence) if ssrc == self._stream.ssrc else None
            if packet is not None and self._retransmitted < MAX_RETRANSMITTED:
                self._retransmitted += 1
                self._send(packet)

    def report(self, block: rtcp.ReportBlock | None, now: float, unix_time: float) -> None:
        """Send a sender report, with what we received."""
        self._retransmitted = 0
        stream = self._stream
        timestamp = stream.timestamp
        if self._due is not None:
            timestamp = (timestamp + round((now - self._due) * TICKS_PER_SECOND)) & 0xFFFFFFFF
        report = rtcp.pack_report(stream.ssrc, unix_time, timestamp, stream.packets, stream.octets, CNAME, block)
        self._send(self._srtp.protect_rtcp(report))
