"""The speech queue: order, generations, the exact sample, and what is sent of it."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models.sounds import speech

from antiphon.rtc.media import opus
from antiphon.rtc.rtp import rtcp, srtp
from antiphon.rtc.rtp.packet import RtpPacket, unpack_rtp
from antiphon.rtc.rtp.srtp_state import SrtpState
from antiphon.runtime.owned_calls.playout_queue import MAX_QUEUED, PlayoutQueue, fade_out
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.media.digital_silence import SENT
from antiphon.transceiver.media.rtp_clock import HICCUP
from antiphon.transceiver.media.sender import AudioSender
from antiphon.transceiver.media.sent_packets import HISTORY, MAX_RETRANSMITTED
from antiphon.transceiver.session.state import RtpState, SessionState

pytestmark = pytest.mark.pure


def filled(queue: PlayoutQueue, frames: list[AudioFrame]) -> PlayoutQueue:
    assert all(queue.offer(frame) for frame in frames)
    return queue


def test_a_full_queue_refuses_and_keeps_what_it_has() -> None:
    queue = filled(PlayoutQueue(), speech(0.020 * MAX_QUEUED))
    assert not queue.offer(speech(0.02)[0])
    assert queue.queued_ms == 30_000


def test_a_flush_leaves_one_frame_that_fades_and_nothing_of_the_past_after_it() -> None:
    queue = filled(PlayoutQueue(), speech(1.0, generation=1))
    for _ in range(10):
        queue.take()
    interrupted = queue.flush(2)
    assert interrupted == (1, 11 * 480, 24000, 39 * 20)
    filled(queue, speech(1.0, generation=1))  # late frames of the past: accepted and dropped
    assert queue.queued_ms == 0
    fade = queue.take()
    assert fade is not None
    assert fade.ends
    assert array("h", fade.pcm)[-1] == 0
    assert queue.take() is None


def test_a_second_flush_before_the_fade_has_left_adds_no_second_fade() -> None:
    queue = filled(PlayoutQueue(), speech(1.0, generation=1))
    queue.take()
    queue.flush(2)
    filled(queue, speech(1.0, generation=2))
    assert queue.flush(3).played_samples == 960
    fade = queue.take()
    assert fade is not None
    assert fade.ends
    assert queue.take() is None


def test_a_flush_in_silence_sends_nothing() -> None:
    queue = PlayoutQueue()
    assert queue.flush(1).played_samples == 0
    assert queue.take() is None
    filled(queue, speech(1.0, generation=1))
    assert queue.flush(2).dropped_ms == 1000
    assert queue.take() is None  # not one frame of it was heard


def test_a_flush_ends_a_pause() -> None:
    queue = filled(PlayoutQueue(), speech(1.0, generation=1))
    queue.take()
    queue.paused = True
    assert queue.take() is None
    queue.flush(2)
    filled(queue, speech(0.1, generation=2))
    first = queue.take()
    assert first is not None
    assert first.starts


@given(st.lists(st.sampled_from(["offer", "take", "flush", "pause", "resume"]), max_size=80))
def test_no_frame_of_a_flushed_generation_is_ever_heard(steps: list[str]) -> None:
    queue, generation = PlayoutQueue(), 0
    for step in steps:
        if step == "offer":
            for past in range(generation + 1):
                mark = past.to_bytes(2, "little") * 480
                queue.offer(AudioFrame(0, 0, 0, 24000, 0, past, mark))
        elif step == "flush":
            generation += 1
            queue.flush(generation)
        elif step == "pause":
            queue.paused = True
        elif step == "resume":
            queue.paused = False
        else:
            spoken = queue.take()
            if spoken is not None and not spoken.ends:
                assert int.from_bytes(spoken.pcm[:2], "little") == generation
                assert queue.playing_generation == generation


@given(st.binary(min_size=2, max_size=1920).map(lambda data: data[: len(data) // 2 * 2]))
def test_a_fade_ends_at_zero_and_is_never_louder(pcm: bytes) -> None:
    before, after = array("h", pcm), array("h", fade_out(pcm))
    assert after[-1] == 0
    assert all(abs(b) <= abs(a) for a, b in zip(before, after, strict=True))


class Wire:
    """A `AudioSender` whose packets are opened again as the client would."""

    def __init__(self) -> None:
        key = bytes(range(28))
        ours = SrtpState("SRTP_AEAD_AES_128_GCM", key, key)
        self.state = SessionState("s", "a", [], [], 16000, RtpState(7, 111, 32760, 0xFFFFF000))
        self.client = srtp.Srtp(SrtpState("SRTP_AEAD_AES_128_GCM", key, key), 1)
        self.events: list[messages.Message] = []
        self.raw: list[bytes] = []
        self.out = AudioSender(self.state, self)
        self.out.connect(srtp.Srtp(ours, 7), self.raw.append)

    def event(self, event: messages.Message) -> None:
        self.events.append(event)

    def milestone(self, name: str, now: float) -> None:
        pass

    def say(self, frames: list[AudioFrame], now: float) -> float:
        """Send them all, one each 20 ms."""
        for frame in frames:
            self.out.offer(frame)
        while self.out.visit(now):
            now += 0.02
        return now

    def packets(self) -> list[RtpPacket]:
        plain = [taken and taken[0] for taken in map(self.client.unprotect, self.raw)]
        return [unpack_rtp(packet) for packet in plain if packet is not None]

    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, messages.Playout)]


def test_the_timestamp_runs_on_in_a_pause_and_the_marker_is_set_after_it() -> None:
    wire = Wire()
    wire.say(speech(0.1), 10.0)
    wire.say(speech(0.1), 15.0)
    packets = wire.packets()
    assert [packet.sequence for packet in packets] == [(32760 + n) & 0xFFFF for n in range(10)]
    assert [packet.marker for packet in packets] == [True, *[False] * 4, True, *[False] * 4]
    elapsed = [(packet.timestamp - 0xFFFFF000) & 0xFFFFFFFF for packet in packets]
    assert elapsed == [*(960 * n for n in range(5)), *(5 * 48000 + 960 * n for n in range(5))]


@pytest.mark.parametrize("stall", [0.15, 1.0, 7.0])
def test_the_timestamp_runs_on_while_the_process_stands_still_with_speech_in_its_queue(stall: float) -> None:
    wire = Wire()
    for frame in speech(2.0):
        wire.out.offer(frame)
    times = [10 + 0.02 * n + (stall if n >= 50 else 0) for n in range(100)]
    for now in times:
        assert wire.out.visit(now)
    packets = wire.packets()
    assert [n for n, packet in enumerate(packets) if packet.marker] == [0, 50]
    late = [
        now - 10 - ((packet.timestamp - 0xFFFFF000) & 0xFFFFFFFF) / 48000
        for now, packet in zip(times, packets, strict=True)
    ]
    assert max(late) < 0.011
    assert min(late) > -0.011


def test_visits_that_are_late_and_made_up_for_leave_the_timestamps_alone() -> None:
    wire = Wire()
    for frame in speech(1.0):
        wire.out.offer(frame)
    for n in range(50):
        wire.out.visit(10.28 if 10 <= n < 15 else 10 + 0.02 * n)
    packets = wire.packets()
    assert [packet.marker for packet in packets] == [True, *[False] * 49]
    assert [(packet.timestamp - 0xFFFFF000) & 0xFFFFFFFF for packet in packets] == [960 * n for n in range(50)]


def test_an_agent_slower_than_its_speech_does_not_make_the_timestamps_lag_more_and_more() -> None:
    wire = Wire()
    for n, frame in enumerate(speech(4.0)):
        wire.out.offer(frame)
        wire.out.visit(10 + 0.025 * n)
    late = [
        0.025 * n - ((packet.timestamp - 0xFFFFF000) & 0xFFFFFFFF) / 48000 for n, packet in enumerate(wire.packets())
    ]
    assert max(late) <= HICCUP
    assert min(late) > -0.011


def test_a_reply_is_announced_from_its_start_to_its_end() -> None:
    wire = Wire()
    wire.say(speech(0.5), 10.0)
    wire.say(speech(0.02), 20.0)
    assert wire.states() == ["started", "playing", "playing", "ended", "started", "ended"]


def test_a_reply_that_follows_a_flush_is_announced_again() -> None:
    wire = Wire()
    for frame in speech(1.0, generation=1):
        wire.out.offer(frame)
    wire.out.visit(10.0)
    wire.out.pause()
    wire.out.visit(10.02)
    wire.out.flush(2)
    wire.say(speech(0.1, generation=2), 10.04)
    assert wire.states() == ["started", "paused", "started", "ended"]


def test_zeros_of_an_agent_are_a_pause_that_counts_as_played() -> None:
    wire = Wire()
    spoken, zeros = speech(0.2, end=False), [frame._replace(pcm=bytes(960)) for frame in speech(1.0, end=False)]
    wire.say([*spoken, *zeros, *speech(0.2)], 10.0)
    packets = wire.packets()
    assert len(packets) == 10 + SENT + 10
    elapsed = [(packet.timestamp - packets[0].timestamp & 0xFFFFFFFF) // 960 for packet in packets]
    assert elapsed == [*range(10 + SENT), *range(60, 70)]
    assert [packet.sequence - packets[0].sequence & 0xFFFF for packet in packets] == list(range(len(packets)))
    assert [number for number, packet in enumerate(packets) if packet.marker] == [0, 10 + SENT]
    played = [event.played_samples for event in wire.events if isinstance(event, messages.Playout)]
    assert played == sorted(played)
    assert played[-1] == 70 * 480
    assert wire.states() == ["started", *["playing"] * 6, "ended"]


def test_overflow_is_reported_once_per_second_of_speech() -> None:
    wire = Wire()
    for frame in speech(0.020 * MAX_QUEUED + 3):
        wire.out.offer(frame)
    told = [event.dropped_frames for event in wire.events if isinstance(event, messages.PlayoutOverflow)]
    assert told == [1, 51, 101]


def nack(ssrc: int, *parts: tuple[int, int]) -> bytes:
    body = (1).to_bytes(4, "big") + ssrc.to_bytes(4, "big")
    body += b"".join(pid.to_bytes(2, "big") + mask.to_bytes(2, "big") for pid, mask in parts)
    return b"\x81\xcd" + (len(body) // 4).to_bytes(2, "big") + body


def test_a_nack_is_answered_with_the_very_same_packet_from_a_bounded_history() -> None:
    wire = Wire()
    wire.say(speech(4.0), 10.0)
    assert len(wire.out._sent_packets._packets) == HISTORY
    sent = wire.raw.copy()
    last = (32760 + 199) & 0xFFFF
    wire.out.receive_rtcp(rtcp.unpack_compound(nack(7, (last - 1, 1))), 0.0)
    assert wire.raw[200:] == sent[198:200]
    wire.out.receive_rtcp(rtcp.unpack_compound(nack(7, (32760, 0))), 0.0)  # long gone
    wire.out.receive_rtcp(rtcp.unpack_compound(nack(8, (last, 0))), 0.0)  # of somebody else
    assert len(wire.raw) == 202


def test_nacks_cost_a_bounded_number_of_packets() -> None:
    wire = Wire()
    wire.say(speech(2.0), 10.0)
    at = len(wire.raw)
    for _ in range(50):
        wire.out.receive_rtcp(rtcp.unpack_compound(nack(7, *[((32760 + 90) & 0xFFFF, 0xFFFF)] * 300)), 0.0)
    assert len(wire.raw) - at == MAX_RETRANSMITTED


def test_the_bitrate_follows_heavy_loss_down_and_up_again() -> None:
    encoder = opus.Encoder(24000, 24000)
    frames = [frame.pcm for frame in speech(2.0)]

    def size() -> int:
        return sum(len(encoder.encode(pcm)) for pcm in frames)

    before = size()
    encoder.expect_loss(30)
    assert size() < before * 0.85
    encoder.expect_loss(0)
    assert size() == pytest.approx(before, rel=0.15)


def test_reported_loss_turns_fec_on_at_once_and_off_slowly() -> None:
    wire = Wire()

    def report(fraction: int) -> int:
        block = rtcp.ReportBlock(7, fraction, 3, 40000, 0, 0, 0)
        wire.out.receive_rtcp(rtcp.unpack_compound(rtcp.pack_report(1, 0.0, 0, 0, 0, b"c", block)), 0.0)
        return wire.out._loss.percent

    assert report(256 // 10) == 10
    assert report(0) == 7
    assert report(255) == 30
    for _ in range(20):
        report(0)
    assert report(0) == 0


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_speech_of_any_rate_is_sent(rate: int) -> None:
    wire = Wire()
    wire.say(speech(0.2, rate=rate), 1.0)
    assert len(wire.packets()) == 10
