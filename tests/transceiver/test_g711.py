"""Calls in G.711: the caller's packets to frames, speech to packets, and both in another process."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from support.models.sounds import speech, tone
from support.peers.session_call import unix_ns

from antiphon.rtc.codec import CodecName
from antiphon.rtc.media import g711, g711_stream
from antiphon.rtc.rtp import srtp
from antiphon.rtc.rtp.packet import RtpPacket, pack_rtp, unpack_rtp
from antiphon.rtc.rtp.srtp_state import SrtpState
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.media.sender import AudioSender
from antiphon.transceiver.session.state import RtpState, SessionState

pytestmark = pytest.mark.pure

LAWS: list[CodecName] = ["PCMU", "PCMA"]
ENCODE = {"PCMU": g711.encode_ulaw, "PCMA": g711.encode_alaw}
DECODE = {"PCMU": g711.decode_ulaw, "PCMA": g711.decode_alaw}
NUMBER = {"PCMU": 0, "PCMA": 8}


class Wire:
    """What comes out of a receiver, and a sender whose packets are opened as the client would."""

    def __init__(self, law: CodecName, rate: int = 16000, timestamp: int = 0xFFFFF000) -> None:
        key = bytes(range(28))
        rtp = RtpState(7, NUMBER[law], 32760, timestamp, codec=law)
        self.law = law
        self.state = SessionState("s", "a", ["u"], [], rate, rtp)
        self.client = srtp.Srtp(SrtpState("SRTP_AEAD_AES_128_GCM", key, key), 1)
        self.frames: list[AudioFrame] = []
        self.raw: list[bytes] = []
        self.receiver = AudioReceiver(self.state, self)
        self.sender = AudioSender(self.state, self)
        self.sender.connect(srtp.Srtp(SrtpState("SRTP_AEAD_AES_128_GCM", key, key), 7), self.raw.append)

    def audio(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def event(self, event: messages.Message) -> None:
        pass

    def milestone(self, name: str, now: float) -> None:
        pass

    def hear(self, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        packet = pack_rtp(NUMBER[self.law], False, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 5, payload)
        self.receiver.receive(packet, now, unix_ns(now))

    def packets(self) -> list[RtpPacket]:
        received = map(self.client.unprotect, self.raw)
        return [unpack_rtp(each[0]) for each in received if each is not None]

    @property
    def samples(self) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        return np.frombuffer(b"".join(frame.pcm for frame in self.frames), np.int16)


def coded(law: CodecName, seconds: float, ms: int = 20) -> list[bytes]:
    """Packets of a 440 Hz tone."""
    codes = ENCODE[law](np.frombuffer(tone(seconds, 8000), np.int16))
    return [codes[at : at + 8 * ms] for at in range(0, len(codes), 8 * ms)]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("ms", [10, 20, 30, 60])
def test_a_caller_is_heard_at_the_agents_rate_in_frames_of_20_ms(law: CodecName, rate: int, ms: int) -> None:
    wire = Wire(law, rate)
    for number, payload in enumerate(coded(law, 1.2, ms)):
        wire.hear(65530 + number, 0xFFFFFF00 + number * 8 * ms, payload, number * ms / 1000)
    assert [(len(frame.pcm), frame.first_sample, frame.flags) for frame in wire.frames] == [
        (rate // 50 * 2, number * rate // 50, 0) for number in range(60)
    ]
    later = wire.samples[rate // 5 :].tolist()
    assert sum(a < 0 <= b for a, b in pairwise(later)) == pytest.approx(440, abs=2)
    expected = np.frombuffer(tone(1.2, rate), np.int16)[rate // 5 :]
    assert np.std(later) == pytest.approx(np.std(expected), rel=0.02)


@pytest.mark.parametrize("law", LAWS)
def test_a_lost_packet_is_made_up_and_a_long_gap_fades_out(law: CodecName) -> None:
    wire, payloads = Wire(law), coded(law, 1.0)
    for number, payload in enumerate(payloads):
        if number not in (20, *range(30, 40)):
            wire.hear(number, number * 160, payload, number * 0.02)
            wire.receiver.visit(number * 0.02 + 0.01)
    wire.receiver.visit(1.3)
    concealed = [frame for frame in wire.frames[:50] if frame.flags & FrameFlag.CONCEALED]
    assert wire.frames.index(concealed[0]) == 20
    level = [int(np.abs(np.frombuffer(frame.pcm, np.int16)).max()) for frame in wire.frames]
    assert level[20] > 0.6 * level[10], "the pitch goes on"
    assert level[37] == 0, "a hum for 200 ms would be worse than silence"
    assert [frame.first_sample for frame in wire.frames] == [n * 320 for n in range(len(wire.frames))]
    assert wire.receiver.statistics()["packets_lost"] == 11


def test_a_pause_keeps_its_length_also_over_the_wrap_of_the_timestamps() -> None:
    wire = Wire("PCMU")
    payloads = coded("PCMU", 1.0)
    for number, payload in enumerate(payloads):
        pause = 3.0 if number >= 25 else 0.0
        at = number * 0.02 + pause
        wire.hear(number, 0xFFFFF000 + round(at * 8000), payload, at)
        for visit in range(150 if number == 24 else 0):
            wire.receiver.visit(at + 0.02 * visit)
    assert len(wire.frames) == pytest.approx(200, abs=1)
    assert wire.receiver.statistics()["jitter_ms"] < 1


@pytest.mark.parametrize("payload", [b"\xff" * 961, b"\xff" * 1400])
def test_a_packet_longer_than_120_ms_is_counted_as_malformed(payload: bytes) -> None:
    wire = Wire("PCMU")
    wire.hear(1, 0, payload, 0.0)
    wire.hear(2, 160, b"\xff" * 160, 0.02)
    assert len(wire.frames) == 1


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_speech_leaves_as_packets_of_160_octets_at_8_khz(law: CodecName, rate: int) -> None:
    wire = Wire(law)
    for begin in (10.0, 15.0):
        now = begin
        for frame in speech(0.5, rate=rate):
            wire.sender.offer(frame)
        while wire.sender.visit(now):
            now += 0.02
    packets = wire.packets()
    assert {(packet.payload_type, len(packet.payload)) for packet in packets} == {(NUMBER[law], 160)}
    assert [n for n, packet in enumerate(packets) if packet.marker] == [0, 25]
    elapsed = [(packet.timestamp - 0xFFFFF000) & 0xFFFFFFFF for packet in packets]
    assert elapsed == [*(160 * n for n in range(25)), *(40_000 + 160 * n for n in range(25))]
    samples = DECODE[law](b"".join(packet.payload for packet in packets[:25]))[800:]
    assert sum(a < 0 <= b for a, b in pairwise(samples.tolist())) == pytest.approx(176, abs=2)
    assert np.std(samples) == pytest.approx(np.std(np.frombuffer(tone(0.5, 8000), np.int16)), rel=0.03)


def test_what_8_khz_can_t_hold_is_left_out_and_not_folded_back() -> None:
    encoder = g711_stream.Encoder("PCMA", 24000)
    pcm = tone(0.5, 24000, 5500.0)
    codes = b"".join(encoder.encode(pcm[at : at + 960]) for at in range(0, len(pcm), 960))
    assert np.std(g711.decode_alaw(codes)[400:]) < np.std(np.frombuffer(pcm, np.int16)) / 300


def test_another_process_skips_frames_by_the_codecs_clock() -> None:
    state = SessionState("s", "a", [], [], 16000, RtpState(1, 0, 3, 1000, sent_at=50.0, codec="PCMU"))
    again = SessionState.from_bytes(state.to_bytes())
    again.skip_reserved(52.0)
    assert again.rtp.timestamp == 1000 + 101 * 160


@pytest.mark.parametrize("law", LAWS)
def test_a_receiver_in_another_process_knows_how_much_was_missed(law: CodecName) -> None:
    wire = Wire(law)
    for number, payload in enumerate(coded(law, 0.4)):
        wire.hear(number, number * 160, payload, number * 0.02)
    wire.receiver.export(number * 0.02)
    state = SessionState.from_bytes(wire.state.to_bytes())
    other = Wire(law)
    other.state.input_timestamp, other.state.input_at = state.input_timestamp, state.input_at
    other.state.input_samples, other.state.input_sequence = state.input_samples, state.input_sequence
    other.receiver.restore()
    other.hear(70, 70 * 160, b"\xff" * 160, number * 0.02 + 1.0)
    assert other.frames[0].first_sample == 70 * 320
