"""The caller's side from packets to frames: rates, sources that change, what is counted."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.models.sounds import tone
from support.peers.odd_senders import TOC
from support.peers.session_call import unix_ns

from antiphon.rtc.media import opus
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.session.state import RtpState, SessionState

pytestmark = pytest.mark.pure


class Heard:
    """What a session's agent gets."""

    def __init__(self) -> None:
        self.frames: list[AudioFrame] = []

    def audio(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def event(self, event: messages.Message) -> None:
        pass


def media_in(rate: int = 16000) -> tuple[AudioReceiver, Heard]:
    heard = Heard()
    return AudioReceiver(SessionState("rtc_test", "a", ["u"], [], rate, RtpState(7, 111, 0, 0)), heard), heard


def receive(audio: AudioReceiver, packet: bytes, now: float) -> None:
    audio.receive(packet, now, unix_ns(now))


def sound(seconds: float) -> list[bytes]:
    """Packets of a 440 Hz tone."""
    encoder, pcm = opus.Encoder(48000), tone(seconds, 48000)
    return [encoder.encode(pcm[at : at + 1920]) for at in range(0, len(pcm), 1920)]


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_frames_have_the_rate_that_the_agent_asked_for(rate: int) -> None:
    audio, heard = media_in(rate)
    for number, payload in enumerate(sound(1.0)):
        receive(audio, pack_rtp(111, False, number, number * 960, 5, payload), number * 0.02)
    assert [(frame.rate, len(frame.pcm), frame.first_sample) for frame in heard.frames] == [
        (rate, rate // 50 * 2, number * rate // 50) for number in range(50)
    ]
    later = memoryview(b"".join(frame.pcm for frame in heard.frames[25:])).cast("h")
    assert sum(a < 0 <= b for a, b in pairwise(later)) == pytest.approx(220, abs=3)


def test_a_source_that_changes_its_ssrc_goes_on_in_the_same_stream_and_the_same_counters() -> None:
    audio, heard = media_in()
    first, second = sound(0.4), sound(0.4)
    for number, payload in enumerate(first):
        if number != 10:
            receive(audio, pack_rtp(111, False, 65530 + number & 0xFFFF, number * 960, 5, payload), number * 0.02)
        audio.visit(number * 0.02 + 0.001)
    for number, payload in enumerate(second):
        receive(audio, pack_rtp(111, False, 7000 + number, 0xFFFFF000 + number * 960 & 0xFFFFFFFF, 6, payload), 0.42)
    assert [frame.sequence for frame in heard.frames] == list(range(len(heard.frames)))
    assert [frame.first_sample for frame in heard.frames] == [320 * number for number in range(len(heard.frames))]
    assert len(heard.frames) == pytest.approx(40, abs=1)
    statistics = audio.statistics()
    assert (statistics["packets_received"], statistics["packets_lost"]) == (39, 1)
    # A straggler of the source before begins a third one; nothing of it breaks the stream.
    receive(audio, pack_rtp(111, False, 65530 + 20 & 0xFFFF, 20 * 960, 5, first[0]), 0.43)
    receive(audio, pack_rtp(111, False, 7020, 0xFFFFF000 + 20 * 960 & 0xFFFFFFFF, 6, second[0]), 0.44)
    assert [frame.sequence for frame in heard.frames] == list(range(len(heard.frames)))


# ---- when the audio of a frame arrived ------------------------------------------------------------------


def arrivals(heard: Heard) -> list[float]:
    """Milliseconds on the loop's clock at which the audio of each frame arrived."""
    return [round((frame.captured_ns - unix_ns(0.0)) / 1e6, 3) for frame in heard.frames]


def deliver(audio: AudioReceiver, packets: list[tuple[int, int]], until: int, length: int = 20) -> None:
    """Packets as (arrival in ms, number), of `length` ms each, with a visit every 20 ms until `until`."""
    events = [(at, number) for at, number in packets] + [(at, None) for at in range(21, until, 20)]
    for at, number in sorted(events, key=lambda event: event[0]):
        if number is None:
            audio.visit(at / 1000)
        else:
            payload = TOC[length] + number.to_bytes(4, "big")
            receive(audio, pack_rtp(111, False, number, number * length * 48, 5, payload), at / 1000)


def test_a_frame_that_waits_for_a_reordered_packet_has_the_arrival_of_its_own() -> None:
    audio, heard = media_in()
    deliver(audio, [(20, 0), (50, 2), (55, 1), (80, 3)], 100)
    assert arrivals(heard) == [20, 55, 50, 80]


def test_frames_in_a_gap_follow_the_one_before_them_and_fec_arrives_with_its_carrier() -> None:
    audio, heard = media_in()
    # 1 and 2 are lost. 2 comes after all, when its place was given up: it makes no frame.
    deliver(audio, [(20, 0), (80, 3), (100, 4), (130, 2), (140, 5)], 150)
    assert arrivals(heard) == [20, 40, 80, 80, 100, 140]
    assert [number for number, frame in enumerate(heard.frames) if frame.flags & FrameFlag.CONCEALED] == [1, 2]


def test_no_frame_in_a_gap_arrives_after_the_packet_that_ended_the_gap() -> None:
    audio, heard = media_in()
    deliver(audio, [(70, 0), (80, 4)], 140)
    assert arrivals(heard) == [70, 80, 80, 80, 80]


def test_made_up_silence_arrives_at_the_pace_of_the_clock() -> None:
    audio, heard = media_in()
    deliver(audio, [(20, 0), (40, 1)], 400)
    # The process stands still for a minute; most of it is jumped over.
    audio.visit(60.441)
    times = arrivals(heard)
    assert times[:19] == [20 + 20 * number for number in range(19)]
    assert times[-1] == 60440
    assert all(later - earlier == pytest.approx(20) for earlier, later in pairwise(times[-400:]))
    assert all(earlier <= later for earlier, later in pairwise(times))


def test_a_pause_that_a_timestamp_tells_of_lies_between_its_two_packets() -> None:
    audio, heard = media_in()
    deliver(audio, [(20 * number + 20, number) for number in range(10)], 210)
    # Nobody visits while the process stands still: the pause comes out with the packet that ends it.
    late = TOC[20] + b"late"
    receive(audio, pack_rtp(111, False, 10, 20 * 960, 5, late), 0.420)
    assert arrivals(heard) == [20 * number + 20 for number in range(21)]


def test_frames_of_one_long_packet_have_its_arrival_and_one_of_two_packets_that_of_the_first() -> None:
    long, heard_long = media_in()
    deliver(long, [(60, 0), (120, 1)], 130, length=60)
    assert arrivals(heard_long) == [60, 60, 60, 120, 120, 120]
    short, heard_short = media_in()
    deliver(short, [(10, 0), (20, 1), (31, 2), (40, 3)], 41, length=10)
    assert arrivals(heard_short) == [10, 31]
