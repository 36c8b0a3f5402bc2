"""The agent's side: speech frames in, protected RTP packets out, one every 20 ms while there is speech.

Nothing is encoded or sent in silence: the RTP timestamp runs on with the clock, and the first packet after a pause
carries the marker bit (RFC 7587 section 3.1.3, RFC 3551 section 4.1). A stop of this process while speech is queued is
a pause as well: the timestamp follows real time (RFC 3550 section 5.1), else a receiver would treat all later packets
as late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.rtc.media.codecs import Encoder, encoder_of
from antiphon.rtc.media.consent_tone import ConsentTone
from antiphon.rtc.rtp import rtcp
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.rtc.sdp.audio import sends
from antiphon.runtime.owned_calls.playout_queue import MAX_AHEAD, PlayoutQueue
from antiphon.runtime.owned_calls.turn_latency import TurnLatency
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame, pack_frame, unpack_frame
from antiphon.transceiver.media.digital_silence import DigitalSilence
from antiphon.transceiver.media.keepalive import Keepalive
from antiphon.transceiver.media.live_lead import LiveLead
from antiphon.transceiver.media.reported_loss import ReportedLoss
from antiphon.transceiver.media.rtp_clock import HICCUP, RtpClock
from antiphon.transceiver.media.sender_outlets import EventOutput, OutboundLane
from antiphon.transceiver.media.sent_packets import SentPackets
from antiphon.transceiver.session.state import SessionState, SpeechState

POSITION_EVERY: Final = 10
"""Frames between two playout events: 200 ms."""
MAX_OWED: Final = 5
"""Frames that leave at once after as many visits found none: as many visits as the timing wheel catches up with."""
CNAME: Final = b"antiphon"
HELD_EVERY: Final = 5.0
"""Seconds between two reports that speech waits while the client holds the call: an agent that gets no report for 10 s
takes its speech for played (`antiphon.runtime.agent_sessions.playout_tracker`)."""
UNLIMITED: Final = 1 << 62


class AudioSender:
    """Outgoing speech of one session.

    Owner: the `Session`, for its whole life, which calls it on the event loop only. Nothing leaves before `connect`.
    """

    def __init__(
        self,
        state: SessionState,
        output: EventOutput,
        unix_offset: float = 0.0,
        turn_latency: TurnLatency | None = None,
    ) -> None:
        """`unix_offset`: Unix time less the time that `now` counts, in seconds. `turn_latency`: is told what leaves."""
        self._turn_latency = turn_latency
        self.round_trip_ms: float | None = None
        self.remote_packets_lost: int | None = None
        self.overflowed = 0
        self._state = state
        self._output = output
        self._unix_offset = unix_offset
        self._queue = PlayoutQueue(state.generation)
        self._srtp: Srtp | None = None
        self._send: Callable[[bytes], None] | None = None
        self._encoder: Encoder | None = None
        self._loss = ReportedLoss()
        self._clock = RtpClock(state.rtp)
        self._digital_silence = DigitalSilence() if not state.listens_to else None  # who listens in hears silence too
        self._announced = False
        """The reply in progress was announced as started."""
        self._foreign_fade = False
        """What fades out is the last frame of another agent: its end was reported."""
        self._reply_lost = False
        """The rest of the announced reply was lost with the process that had it."""
        self._owed = 0
        """Visits within a reply that found no frame: so many frames leave as soon as they come."""
        self._since_position = 0
        self._sent_packets = SentPackets()
        self._keepalive = Keepalive()
        self._held_at = 0.0
        """When it was last reported that the client holds the call."""
        self._mute = False
        """Speech is played to nobody: positions go on, and nothing leaves."""
        self._tap: Callable[[bytes, int], None] | None = None
        self._lane: OutboundLane | None = None
        self._live = LiveLead()
        self.hasten = 0.0
        """Seconds by which the next visits should come earlier, as of the last one: frames of a live agent wait."""
        self._packets_limit = self._reports_limit = UNLIMITED
        """Of `RtpState.packets` and `SrtpState.rtcp_index`."""
        self._tone = ConsentTone(state.consent_tone) if state.consent_tone else None
        self._spoke_at: float | None = None
        """When the last frame of speech left, without those of the tone alone."""
        self._obey_direction()

    def connect(self, srtp: Srtp, send: Callable[[bytes], None]) -> None:
        """The handshake is done: speech may leave."""
        self._srtp, self._send = srtp, send

    @property
    def has_speech(self) -> bool:
        """There is speech to send: the timing wheel has to visit us."""
        return self._srtp is not None and (self._queue.waiting or self._tone_sounds)

    @property
    def _tone_sounds(self) -> bool:
        return self._tone is not None and self._tone.sounds

    def wants_tone(self, now: float) -> bool:
        """Call every 50 ms: begin the consent tone that is due; whether there is one to send."""
        if self._tone is None or self._srtp is None or not sends(self._state.direction):
            return False  # one that is due on hold sounds when the client listens again
        if not self._tone.sounds:
            self._state.consent_tone_from = self._state.consent_tone_from or now + self._unix_offset
            self._tone.begin_if_due(now + self._unix_offset - self._state.consent_tone_from)
        return self._tone.sounds

    @property
    def queued_ms(self) -> int:
        """Speech that waits to be sent."""
        return self._queue.queued_ms

    @property
    def overdue(self) -> bool:
        """A frame has missed its visit: it has to be sent at once, or all later ones are late with it."""
        return self._owed > 0 and self._queue.waiting

    @property
    def generation_limit(self) -> int:
        """The highest generation that a flush or a frame may have now."""
        return self._queue.newest_generation + MAX_AHEAD

    def reserve(self, packets: int, reports: int) -> None:
        """A stored checkpoint covers so many packets and RTCP reports since the call's start: no more may be sent."""
        self._packets_limit, self._reports_limit = packets, reports

    def tap(self, tap: Callable[[bytes, int], None] | None) -> None:
        """Each frame that leaves goes to `tap(pcm, rate)` as well; None: to nothing else."""
        self._tap = tap

    def use_lane(self, lane: OutboundLane | None) -> None:
        """Packets take this way, where it takes them; None: the ordinary one."""
        self._lane = lane

    def offer(self, frame: AudioFrame, now: float = 0.0) -> None:
        """Queue a frame; if the queue is full, publish `PlayoutOverflow` once per second of speech."""
        if not self._queue.offer(frame, now):
            self.overflowed += 1
            if self.overflowed % 50 == 1:
                self._output.event(messages.PlayoutOverflow(dropped_frames=self.overflowed))

    def visit(self, now: float) -> bool:
        """Send the next frame; False when there is none and the timing wheel need not visit us again."""
        if self._state.rtp.packets >= self._packets_limit:
            return True  # a process that takes over might send this number again: wait until a checkpoint is stored
        outgoing = self._queue.take()
        if outgoing is None:
            if self._queue.speaking and not self._queue.stands and self._spoke_at is not None:
                # Keep the slot for a while: a frame that misses its visit must not delay those behind it.
                self._owed = min(self._owed + 1, MAX_OWED)
                if now - self._spoke_at <= HICCUP:
                    return True
            if self._announced and not self._queue.stands and not self._queue.speaking:
                self._position("ended")
            self._owed = 0
            if self._tone is None or not self._tone.sounds:
                return False
            self._transmit(self._tone.take(self._queue.rate), self._queue.rate, True, now)
            return True
        if self._owed:
            self._owed -= 1
        self.hasten = self._live.leaves(now - outgoing.queued_at)
        if self._tap is not None:
            self._tap(outgoing.pcm, outgoing.rate)
        if self._mute:
            self._tell_position(outgoing.ends)
            return True
        pcm = outgoing.pcm
        if self._tone is not None and self._tone.sounds:
            pcm = self._tone.over(pcm, outgoing.rate)
        if self._digital_silence is not None and self._digital_silence.is_passed_over(pcm):
            self._pass_over(now)
        else:
            self._transmit(pcm, outgoing.rate, outgoing.starts, now)
        self._spoke_at = now
        self._tell_position(outgoing.ends)
        return True

    def _transmit(self, pcm: bytes, rate: int, after_silence: bool, now: float) -> None:
        """Encode, protect and send 20 ms."""
        assert self._srtp is not None
        assert self._send is not None
        if self._encoder is None or self._encoder.rate != rate:
            self._encoder = encoder_of(self._state.rtp.codec, rate)
            self._encoder.expect_loss(self._loss.percent)
        rtp = self._state.rtp
        starts = self._clock.follow(after_silence, now)
        sent = self._lane.send(self._srtp, self._encoder, pcm, rtp, starts) if self._lane else None
        if sent is None:
            payload = self._encoder.encode(pcm)
            packet = pack_rtp(rtp.payload_type, starts, rtp.sequence, rtp.timestamp, rtp.ssrc, payload)
            sent = len(payload), self._srtp.protect(packet)
            self._send(sent[1])
        octets, protected = sent
        self._tell_latency(now)
        if not rtp.packets:
            self._output.milestone("first_audio_out", now)
        self._sent_packets.keep(rtp.sequence, protected)
        rtp.sequence = (rtp.sequence + 1) & 0xFFFF
        rtp.packets += 1
        rtp.octets += octets
        self._clock.sent(now)

    def _pass_over(self, now: float) -> None:
        """A frame of silence counts as sent, and no packet leaves."""
        self._clock.pass_over(now)
        self._tell_latency(now)

    def _tell_latency(self, now: float) -> None:
        if self._turn_latency is not None and self._turn_latency.waits:
            self._turn_latency.leaves(self._queue.playing_generation, self._queue.played_samples, now)

    def _tell_position(self, ends: bool) -> None:
        self._since_position += 1
        if self._foreign_fade:
            self._foreign_fade = False
        elif not self._announced:
            self._announced = True
            self._position("started")
        elif ends:
            self._position("ended")
        elif self._since_position >= POSITION_EVERY:
            self._position("playing")

    def flush(self, generation: int) -> None:
        """Stop speaking: fade out within a frame and drop everything older than `generation`."""
        interrupted = self._queue.flush(generation)
        self._owed = 0
        self._state.generation = self._queue.generation
        if self._queue.playing_generation < generation and not self._queue.fading:
            self._announced = False  # the next frame begins another reply
        self._output.event(
            messages.Flushed(
                generation=interrupted.generation,
                played_samples=interrupted.played_samples,
                rate=interrupted.rate,  # type: ignore[arg-type]
                dropped_ms=interrupted.dropped_ms,
            )
        )

    def change_agent(self) -> None:
        """Another agent speaks from now on: what waits of this one is dropped, and reported to it for the last time."""
        queue = self._queue
        if queue.queued_ms or self._announced:
            self.flush(max(queue.newest_generation, queue.playing_generation) + 1)
        if self._announced:
            self._position("ended")
        self._foreign_fade = queue.fading
        queue.paused = queue.speaking = False
        queue.begin_anew()
        self._state.generation = self._owed = 0
        self._reply_lost = False

    def pause(self) -> None:
        """Stop after the last frame that was sent, and keep the queue."""
        self._queue.paused = True
        self._owed = 0
        if self._announced:
            self._position("paused")

    def resume(self) -> None:
        """Continue with the first frame of the queue."""
        self._queue.paused = False

    def follow_direction(self, now: float) -> None:
        """The state's direction has changed: on hold nothing leaves, and the queue waits as in a pause of the agent.

        An agent that goes on speaking fills the queue, and gets `PlayoutOverflow` when that is full.
        """
        was_held = self._queue.held
        self._owed = 0
        self._obey_direction()
        if self._queue.held and not was_held and self._announced:
            self._held_at = now
            self._position("paused")

    def _obey_direction(self) -> None:
        state, wanted = self._state, sends(self._state.direction)
        self._queue.hold(not wanted and (state.listens or state.direction == "inactive"))
        self._mute = not wanted and not self._queue.held
        if not wanted and self._tone is not None:
            self._tone.silence()

    def receive_rtcp(self, read: rtcp.Compound, unix_time: float) -> None:
        """Learn loss and round trip from receiver reports; retransmit what is asked for."""
        for block in read.reports:
            if block.ssrc == self._state.rtp.ssrc:
                self.remote_packets_lost = max(0, block.packets_lost)
                percent = self._loss.reported(block.fraction_lost)
                if self._encoder is not None:
                    self._encoder.expect_loss(percent)
                delay = rtcp.round_trip(block, unix_time)
                if delay is not None:
                    self.round_trip_ms = round(delay * 1000, 2)
        for ssrc, sequence in read.nacked:
            if ssrc == self._state.rtp.ssrc and self._send is not None:
                packet = self._sent_packets.asked_for(sequence)
                if packet is not None:
                    self._send(packet)

    def repeat_last(self) -> None:
        """The client is reached by another relay now: send the last packets once more. It drops what it has already."""
        if self._send is not None:
            for packet in self._sent_packets.last():
                self._send(packet)

    def report(self, block: rtcp.ReportBlock | None, now: float) -> None:
        """Send a sender report, with `block` for the stream that we receive."""
        self._sent_packets.reported()
        self._report(block, now)

    def send_keepalive(self, now: float) -> None:
        """Call every 50 ms: while nothing else is sent, an RTCP report goes out every 150 ms."""
        if self._srtp is None:
            return
        if self._queue.held and self._announced and now - self._held_at >= HELD_EVERY:
            self._held_at = now
            self._position("paused")
        if self._keepalive.is_due(self._state.rtp.packets, self._srtp.state.rtcp_index, now):
            self._report(None, now)

    def _report(self, block: rtcp.ReportBlock | None, now: float) -> None:
        if self._srtp is None or self._send is None or self._srtp.state.rtcp_index >= self._reports_limit:
            return
        rtp, timestamp = self._state.rtp, self._clock.at(now)
        report = rtcp.pack_report(rtp.ssrc, now + self._unix_offset, timestamp, rtp.packets, rtp.octets, CNAME, block)
        self._send(self._srtp.protect_rtcp(report))

    def export(self, now: float, with_speech: bool) -> None:
        """Write into the state what this side knows and the state does not hold yet."""
        queue, state = self._queue, self._state
        if self._clock.last_sent is not None:
            state.rtp.sent_at = self._unix_offset + self._clock.last_sent
        state.speech = SpeechState(
            queue.playing_generation,
            queue.played_samples,
            queue.rate,
            self._announced,
            queue.paused,
            [pack_frame(frame) for frame in queue.frames] if with_speech else [],
        )

    def restore(self, now: float) -> None:
        """Continue from the state that another process wrote; `end_lost_reply` follows."""
        speech, rtp = self._state.speech, self._state.rtp
        if rtp.sent_at:
            self._spoke_at = now - max(0.0, now + self._unix_offset - rtp.sent_at)
            self._clock.restore(self._spoke_at)
        frames = [unpack_frame(packed) for packed in speech.frames]
        self._queue.restore(speech.generation, speech.played_samples, speech.rate, frames)
        self._queue.paused = speech.paused
        self._announced = speech.announced
        self._reply_lost = speech.announced and not frames and not self._state.handed_over
        if self._tone is not None and self._state.consent_tone_from:
            self._tone.skip(now + self._unix_offset - self._state.consent_tone_from)

    def end_lost_reply(self) -> None:
        """Publish that a reply ended whose rest the other process did not hand over."""
        if self._reply_lost:
            self._reply_lost = False
            self._position("ended")

    def close(self) -> None:
        """Free the encoder, the history and the queue."""
        self._encoder = self._srtp = self._send = self._lane = None
        self._sent_packets.clear()
        self._queue = PlayoutQueue(self._state.generation)

    def _position(self, state: str) -> None:
        self._since_position = 0
        if state == "ended":
            self._announced = False
        self._output.event(
            messages.Playout(
                generation=self._queue.playing_generation,
                played_samples=self._queue.played_samples,
                rate=self._queue.rate,  # type: ignore[arg-type]
                queued_ms=self._queue.queued_ms,
                state=state,  # type: ignore[arg-type]
            )
        )
