"""The caller's audio: decrypted RTP packets in, 20 ms PCM frames out, at the rate that the agent wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypedDict

from antiphon.rtc.codec import CLOCK_RATES
from antiphon.rtc.media.codecs import Decoder
from antiphon.rtc.media.frame_decoder import FRAMES_PER_SECOND, FrameDecoder
from antiphon.rtc.media.jitter_buffer import FRAME_TICKS, JitterBuffer
from antiphon.rtc.media.timeline import TICKS_PER_SECOND, signed
from antiphon.rtc.rtp import rtcp
from antiphon.rtc.rtp.audio_level import AudioLevels
from antiphon.rtc.rtp.packet import RtpError, RtpPacket, unpack_rtp
from antiphon.rtc.rtp.telephone_event import TelephoneEvents
from antiphon.rtc.sdp.audio import receives
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame
from antiphon.schemas.messages import AudioRate
from antiphon.transceiver.session.state import SessionState

SLACK: Final = 1.0
"""Seconds by which a sender's timestamps may differ from the time that has passed by our clock."""


class AudioOutput(Protocol):
    def audio(self, frame: AudioFrame) -> None: ...
    def event(self, event: messages.Message) -> None: ...


class ReceivedStatistics(TypedDict):
    """The half of `Statistics` that this side knows."""

    packets_received: int
    packets_lost: int
    packets_late: int
    frames_concealed: int
    jitter_ms: float


class AudioReceiver:
    """Incoming audio of one session.

    Owner: the `Session`, for its whole life, which calls it on the event loop only.
    """

    def __init__(self, state: SessionState, output: AudioOutput, unix_offset: float = 0.0) -> None:
        """`unix_offset`: Unix time less the time that `now` counts, in seconds."""
        codec = state.rtp.codec
        self._clock_rate = CLOCK_RATES[codec]
        self._scale = TICKS_PER_SECOND // self._clock_rate
        """From the codec's clock to that of the jitter buffer; a multiple keeps the wrap at 2^32."""
        self.reception = rtcp.Reception(self._clock_rate)
        self.started = False
        self._state = state
        self._output = output
        self._receives = receives(state.direction)
        self._buffer = JitterBuffer(codec=codec)
        telephone, level = state.telephone, state.audio_level_id
        self._keys = TelephoneEvents(telephone[1], output.event) if telephone is not None else None
        self._levels = AudioLevels(level, output.event) if level is not None else None
        self._decoder = FrameDecoder(state.input_rate, self._buffer, self._publish, self._jump, codec)
        self._received_before, self._lost_before = state.packets_received, state.packets_lost
        """Packets of sources (SSRCs) and processes before this one."""
        self._clock_offset = unix_offset
        self._tap: Callable[[bytes, int], None] | None = None
        self._resumes = False
        """The position is that of another process's checkpoint: the next packet shows how much is missing."""
        self._unix_offset = 0
        """Nanoseconds from our clock to Unix time, as of the last packet."""

    def receive(self, packet: bytes, now: float, unix_ns: int) -> bool:
        """Take one decrypted RTP packet; True if it was the first of the session.

        `now` and `unix_ns` are the moment at which it was read from the socket, by our clock and as Unix time.
        """
        self._unix_offset = unix_ns - int(now * 1e9)
        try:
            header = unpack_rtp(packet)
        except RtpError:
            self._buffer.counters.malformed += 1
            return False
        if header.payload_type != self._state.rtp.payload_type or not header.payload or not self._receives:
            self._receive_other(header, now)
            return False
        if self._levels is not None:
            self._levels.receive(packet)
        if self.started and header.ssrc != self.reception.ssrc:
            # A new source: its own numbers and order, but the same call's counters.
            self._received_before += self.reception.received
            self._lost_before += max(0, self.reception.lost)
            self._decoder.play(self._buffer.change_source(now))
        self.reception.add(header.ssrc, header.sequence, header.timestamp, now)
        self._buffer.jitter = self.reception.jitter / self._clock_rate
        timestamp = header.timestamp if self._scale == 1 else header.timestamp * self._scale & 0xFFFFFFFF
        if self._resumes:
            self._catch_up(timestamp, now)
        first = not self.started
        self.started = True
        self._decoder.play(self._buffer.push(header.sequence, timestamp, header.payload, now))
        return first

    # ---- for a lane (`lanes.inbound_lane`)

    @property
    def decoder(self) -> Decoder | None:
        """The engine, while what it decodes of the next packet is a frame that goes to the agent and nowhere else."""
        if self._receives and self._tap is None and self.started and not self._resumes:
            return self._decoder.whole
        return None

    def expects(self, ssrc: int, sequence: int, timestamp: int, decoder: Decoder) -> bool:
        """An audio packet of 20 ms with these numbers would be the next in order, and `decoder` makes its frame.

        Timestamps count at 48 kHz.
        """
        return (
            ssrc == self.reception.ssrc
            and self._buffer.expects(sequence, timestamp, FRAME_TICKS)
            and self.decoder is decoder
        )

    def advance(
        self, ssrc: int, sequence: int, timestamp: int, extended: bytes, now: float, unix_ns: int
    ) -> tuple[int, int]:
        """As `receive`, for a packet that was expected and is decoded: (sequence, first sample) of its frame.

        `extended`: the RTP header, where it has an extension; else empty.
        """
        self._unix_offset = unix_ns - int(now * 1e9)
        if extended and self._levels is not None:
            self._levels.receive(extended)
        reception, state = self.reception, self._state
        reception.add(ssrc, sequence, timestamp, now)
        self._buffer.jitter = reception.jitter / self._clock_rate
        self._buffer.advance(now)
        frame = state.input_sequence, state.input_samples
        state.input_sequence += 1
        state.input_samples += state.input_rate // FRAMES_PER_SECOND
        return frame

    def _receive_other(self, header: RtpPacket, now: float) -> None:
        """Telephone events, comfort noise, padding probes: numbered among the audio packets, but no audio."""
        if self._keys is not None and self._state.telephone and header.payload_type == self._state.telephone[0]:
            self._keys.receive(header.timestamp, header.payload)
        if self.started and header.ssrc == self.reception.ssrc:
            self.reception.count(header.sequence)
            self._decoder.play(self._buffer.skip(header.sequence, now))

    def count_malformed(self) -> None:
        """An authentic RTCP packet could not be read."""
        self._buffer.counters.malformed += 1

    def receive_rtcp(self, read: rtcp.Compound, now: float) -> None:
        """Take the sender report out of a compound packet."""
        if read.sender_ntp is not None:
            self.reception.sender_report(read.sender_ntp, now)

    def visit(self, now: float) -> None:
        """Call every 20 ms: gives up gaps whose time has passed and fills pauses."""
        self._decoder.play(self._buffer.poll(now))

    def statistics(self) -> ReceivedStatistics:
        counters = self._buffer.counters
        return ReceivedStatistics(
            packets_received=self._received_before + self.reception.received,
            packets_lost=self._lost_before + max(0, self.reception.lost),
            packets_late=counters.late,
            frames_concealed=counters.concealed_ticks // 960 + counters.recovered,
            jitter_ms=round(self.reception.jitter * 1000 / self._clock_rate, 2),
        )

    def export(self, now: float) -> None:
        """Write into the state what this side knows and the state does not hold yet."""
        state = self._state
        if self.started:
            unpublished = self._decoder.unpublished * TICKS_PER_SECOND // state.input_rate
            state.input_timestamp = (self._buffer.next_timestamp - unpublished) & 0xFFFFFFFF
            state.input_at = now + self._clock_offset
        counters = self.statistics()
        state.packets_received, state.packets_lost = counters["packets_received"], counters["packets_lost"]

    def restore(self) -> None:
        """Continue from the state that another process wrote."""
        self._resumes = self._state.input_timestamp is not None

    def _catch_up(self, timestamp: int, now: float) -> None:
        """Audio between the state and this packet was published by the other process, or is lost: advance over it.

        The packet's timestamp says by how much; if the sender's clock stopped or was reset meanwhile, our clock does.
        """
        self._resumes = False
        state = self._state
        assert state.input_timestamp is not None
        elapsed = max(0.0, now + self._clock_offset - state.input_at)
        ticks = max(0, signed(timestamp - state.input_timestamp))
        if abs(ticks - elapsed * TICKS_PER_SECOND) > SLACK * TICKS_PER_SECOND:
            ticks = round(elapsed * TICKS_PER_SECOND)
        state.input_samples += ticks * state.input_rate // TICKS_PER_SECOND
        state.input_sequence += -(-ticks // 960)

    def change_rate(self, rate: AudioRate) -> None:
        """Another agent gets the audio, at this rate: positions go on at it. Less than a frame is lost."""
        state = self._state
        if rate == state.input_rate:
            return
        state.input_samples = (state.input_samples + self._decoder.unpublished) * rate // state.input_rate
        state.input_rate = rate
        self._decoder.close()
        self._decoder = FrameDecoder(rate, self._buffer, self._publish, self._jump, state.rtp.codec)

    def follow_direction(self) -> None:
        """The state's direction has changed. What comes while we do not receive is counted, and not played."""
        self._receives = receives(self._state.direction)

    def close(self) -> None:
        """Free the decoder."""
        self._decoder.close()

    def _jump(self, samples: int) -> None:
        self._state.input_samples += samples

    def tap(self, tap: Callable[[bytes, int], None] | None) -> None:
        """Each frame that is published goes to `tap(pcm, rate)` as well; None: to nothing else."""
        self._tap = tap

    def _publish(self, pcm: bytes, flags: int, arrived: float) -> None:
        state = self._state
        if self._tap is not None:
            self._tap(pcm, state.input_rate)
        captured_ns = self._unix_offset + int(arrived * 1e9)
        self._output.audio(
            AudioFrame(state.input_sequence, state.input_samples, captured_ns, state.input_rate, int(flags), 0, pcm)
        )
        state.input_sequence += 1
        state.input_samples += len(pcm) // 2
