"""The audio of the command line's client: packets that leave, packets that arrive, by a clock of the test's own."""

from __future__ import annotations

import pytest
from support.models.sounds import tone

from antiphon.cli.call.webrtc_audio import MAX_RETRANSMITTED, ClientReceiver, ClientSender, OutgoingStream
from antiphon.rtc.rtp.packet import RtpPacket, unpack_rtp
from antiphon.rtc.rtp.rtcp import Compound, ReportBlock
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.rtc.rtp.srtp_state import SrtpState
from antiphon.schemas.audio import AudioFrame

pytestmark = pytest.mark.pure

RATE = 24000
FRAME = RATE // 50 * 2
KEYS = bytes(range(28)), bytes(range(28, 56))


class Wire:
    """A sender, and its packets as the other end opens them."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.stream = OutgoingStream(7, 111, 65534, 0xFFFFF000)
        self.sender = ClientSender(
            self.stream, RATE, Srtp(SrtpState("SRTP_AEAD_AES_128_GCM", KEYS[0], KEYS[1]), 7), self.sent.append
        )
        self._far = Srtp(SrtpState("SRTP_AEAD_AES_128_GCM", KEYS[1], KEYS[0]), 9)

    def opened(self) -> list[bytes]:
        packets = [taken[0] for taken in map(self._far.unprotect, self.sent) if taken is not None]
        self.sent.clear()
        return packets

    def speak(self, number: int, now: float) -> RtpPacket:
        self.sender.speak(tone(1.0, RATE)[number % 50 * FRAME :][:FRAME], now)
        return unpack_rtp(self.opened()[0])


def test_what_a_client_sends_another_one_hears_with_the_arrival_of_each_packet() -> None:
    wire, frames = Wire(), list[AudioFrame]()
    receiver = ClientReceiver(111, RATE, frames.append)
    for number in range(50):
        wire.sender.speak(tone(1.0, RATE)[number * FRAME :][:FRAME], number * 0.02)
        receiver.receive(wire.opened()[0], number * 0.02, 10**18 + number * 20_000_000)
        receiver.visit(number * 0.02 + 0.01)
    assert [frame.first_sample for frame in frames] == [480 * number for number in range(50)]
    assert [frame.captured_ns for frame in frames] == [10**18 + number * 20_000_000 for number in range(50)]
    assert max(memoryview(frames[-1].pcm).cast("h")) > 4000
    assert (receiver.reception.lost, receiver.packets_late) == (0, 0)


def test_timestamps_skip_what_a_stopped_process_left_out_and_begin_a_talk_spurt() -> None:
    wire = Wire()
    first, second = wire.speak(0, 0.0), wire.speak(1, 0.02)
    jitter = wire.speak(2, 0.10)
    after = wire.speak(3, 1.06)
    assert [packet.marker for packet in (first, second, jitter, after)] == [True, False, False, True]
    assert (second.timestamp - first.timestamp) & 0xFFFFFFFF == 960
    assert (jitter.timestamp - second.timestamp) & 0xFFFFFFFF == 960
    assert (after.timestamp - first.timestamp) & 0xFFFFFFFF == 53 * 960
    assert [packet.sequence for packet in (first, second, jitter, after)] == [65534, 65535, 0, 1]


def test_packets_that_the_server_misses_are_sent_again_within_bounds() -> None:
    wire = Wire()
    wire.sender.speak(bytes(FRAME), 0.0)
    (protected,) = wire.sent
    wire.sender.receive_rtcp(Compound(nacked=((7, 65534), (7, 3), (8, 65534))))
    assert wire.sent == [protected, protected]
    for _ in range(100):
        wire.sender.receive_rtcp(Compound(nacked=((7, 65534),)))
    assert len(wire.sent) == 1 + MAX_RETRANSMITTED


def test_the_server_s_report_tells_what_it_lost() -> None:
    wire = Wire()
    assert wire.sender.remote_packets_lost is None
    wire.sender.receive_rtcp(Compound(reports=(ReportBlock(7, 25, 4, 0, 0, 0, 0), ReportBlock(8, 0, 99, 0, 0, 0, 0))))
    assert wire.sender.remote_packets_lost == pytest.approx(4)
