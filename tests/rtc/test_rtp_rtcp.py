"""RTP and RTCP: written and read again, the sums of receiver reports, and arbitrary bytes."""

from __future__ import annotations

import struct

import pytest
from aiortc import rtp as aiortc_rtp
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rtc.rtp import rtcp
from antiphon.rtc.rtp.packet import RtpError, is_rtcp, pack_rtp, unpack_rtp

pytestmark = pytest.mark.pure

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)


@given(st.integers(0, 127), st.booleans(), u16, u32, u32, st.binary(max_size=200))
def test_rtp_round_trips(kind: int, marker: bool, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> None:
    packet = pack_rtp(kind, marker, sequence, timestamp, ssrc, payload)
    assert unpack_rtp(packet) == (kind, marker, sequence, timestamp, ssrc, payload)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: b"\xbf\x6f" + data))
def test_no_bytes_raise_anything_but_rtp_error(data: bytes) -> None:
    is_rtcp(data)
    try:
        unpack_rtp(data)
    except RtpError:
        return


def test_csrcs_extension_and_padding_are_passed_over() -> None:
    packet = aiortc_rtp.RtpPacket(payload_type=111, sequence_number=1, timestamp=2, ssrc=3, payload=b"speech")
    packet.csrc = [4, 5]
    packet.padding_size = 3
    packet.extensions.audio_level = (True, 12)
    extensions = aiortc_rtp.HeaderExtensionsMap()
    uri = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    extensions.configure(RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(id=1, uri=uri)]))
    assert unpack_rtp(packet.serialize(extensions)).payload == b"speech"


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"\x81\xcd\x00\x04" + data))
def test_no_bytes_raise_anything_but_rtcp_error(data: bytes) -> None:
    try:
        rtcp.unpack_compound(data)
    except rtcp.RtcpError:
        return


def test_another_implementation_reads_our_report() -> None:
    block = rtcp.ReportBlock(9, 25, -3, 0x12345, 77, 0xABCD, 4096)
    packets = aiortc_rtp.RtcpPacket.parse(rtcp.pack_report(7, 1.8e9, 123, 10, 2000, b"antiphon", block))
    report, description = packets
    assert isinstance(report, aiortc_rtp.RtcpSrPacket)
    assert isinstance(description, aiortc_rtp.RtcpSdesPacket)
    assert (report.ssrc, report.sender_info.rtp_timestamp, report.sender_info.packet_count) == (7, 123, 10)
    read = report.reports[0]
    assert (read.ssrc, read.fraction_lost, read.packets_lost, read.highest_sequence) == (9, 25, -3, 0x12345)
    assert (read.jitter, read.lsr, read.dlsr) == (77, 0xABCD, 4096)


def test_reports_and_nacks_of_another_implementation_are_read() -> None:
    receiver = aiortc_rtp.RtcpReceiverInfo(
        ssrc=7, fraction_lost=128, packets_lost=-5, highest_sequence=70000, jitter=3, lsr=5, dlsr=6
    )
    compound = bytes(aiortc_rtp.RtcpRrPacket(ssrc=1, reports=[receiver])) + bytes(
        aiortc_rtp.RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=7, lost=[1, 2, 17, 40])
    )
    read = rtcp.unpack_compound(compound)
    assert read.reports == (rtcp.ReportBlock(7, 128, -5, 70000, 3, 5, 6),)
    assert read.nacked == tuple((7, sequence) for sequence in (1, 2, 17, 40))


def test_a_nack_over_the_wrap_of_sequence_numbers_is_read() -> None:
    body = bytes(4) + (7).to_bytes(4, "big") + struct.pack("!HH", 65535, 0b11)
    assert rtcp.unpack_compound(b"\x81\xcd\0\x03" + body).nacked == ((7, 65535), (7, 0), (7, 1))


def test_nacked_packets_are_bounded_and_named_once() -> None:
    part = struct.pack("!HH", 5, 0xFFFF)
    body = bytes(4) + (7).to_bytes(4, "big") + part * 300
    assert len(rtcp.unpack_compound(b"\x81\xcd" + struct.pack("!H", len(body) // 4) + body).nacked) == 17
    body = bytes(8) + b"".join(struct.pack("!HH", 17 * n, 0xFFFF) for n in range(300))
    read = rtcp.unpack_compound(b"\x81\xcd" + struct.pack("!H", len(body) // 4) + body)
    assert len(read.nacked) <= rtcp.MAX_NACKED


def test_round_trip_is_arrival_minus_departure_minus_the_time_it_lay_there() -> None:
    sent = 1.8e9
    middle = rtcp.ntp_time(sent) >> 16 & 0xFFFFFFFF
    block = rtcp.ReportBlock(7, 0, 0, 0, 0, middle, 65536 // 2)
    assert rtcp.round_trip(block, sent + 0.58) == pytest.approx(0.08, abs=0.001)
    assert rtcp.round_trip(block, sent + 0.4) is None  # a clock that was set back
    assert rtcp.round_trip(block._replace(last_sr=0), sent) is None


def test_loss_and_jitter_are_those_of_rfc_3550() -> None:
    reception = rtcp.Reception()
    assert reception.block(0.0) is None
    for number in range(100):
        if number % 10:
            reception.add(5, 65500 + number & 0xFFFF, number * 960, number * 0.02 + (number % 2) * 0.010)
    block = reception.block(2.0)
    assert block is not None
    assert (block.packets_lost, block.highest_sequence) == (9, 65500 + 99)  # the first packet is number 1
    assert block.fraction_lost == 9 * 256 // 99
    assert block.jitter / 48 == pytest.approx(9.3, abs=1.0)
    reception.add(5, 65500 + 100 & 0xFFFF, 100 * 960, 2.0)
    after = reception.block(2.1)
    assert after is not None
    assert after.fraction_lost == 0


def test_a_sender_that_starts_anew_is_no_loss() -> None:
    reception = rtcp.Reception()
    for number in [*range(10), *range(30_000, 30_010), *range(10)]:
        reception.add(5, number, 0, 0.0)
    assert reception.lost == 0


def test_the_peer_s_sender_report_is_answered_with_its_age() -> None:
    reception = rtcp.Reception()
    reception.add(5, 1, 0, 0.0)
    reception.sender_report(0x1234, 10.0)
    block = reception.block(10.5)
    assert block is not None
    assert (block.last_sr, block.delay_since_last_sr) == (0x1234, 32768)
