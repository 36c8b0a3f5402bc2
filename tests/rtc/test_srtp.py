"""SRTP and SRTCP: passed, refused, counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rtc.rtp import srtp
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.rtc.rtp.srtp import MAX_STREAMS, Srtp
from antiphon.rtc.rtp.srtp_state import SrtpState

pytestmark = pytest.mark.pure

PROFILES = list(srtp.PROFILES)


def srtp_pair(profile: str, ssrc: int = 5) -> tuple[Srtp, Srtp]:
    _, key, salt = srtp.PROFILES[profile]
    one, two = bytes(range(key + salt)), bytes(range(100, 100 + key + salt))
    return Srtp(SrtpState(profile, one, two), ssrc), Srtp(SrtpState(profile, two, one), 6)


def opened(receiver: Srtp, datagram: bytes) -> bytes | None:
    unprotected = receiver.unprotect(datagram)
    return unprotected[0] if unprotected is not None else None


def rtp(sequence: int, ssrc: int = 5) -> bytes:
    return pack_rtp(111, False, sequence & 0xFFFF, sequence * 960 & 0xFFFFFFFF, ssrc, b"speech %d" % sequence)


@pytest.mark.parametrize("profile", PROFILES)
def test_srtp_passes_packets_over_the_sequence_wrap_and_counts_its_indices(profile: str) -> None:
    sender, receiver = srtp_pair(profile)
    for number in range(65_000, 66_500):
        assert opened(receiver, sender.protect(rtp(number))) == rtp(number)
    assert sender.state.local_index == receiver.state.remote_index == 66_499


@pytest.mark.parametrize("profile", PROFILES)
def test_srtp_refuses_replays_forgeries_and_rubbish(profile: str) -> None:
    sender, receiver = srtp_pair(profile)
    packet = sender.protect(rtp(1))
    assert opened(receiver, packet) == rtp(1)
    assert opened(receiver, packet) is None
    assert (receiver.counters.replayed, receiver.counters.refused) == (1, 0)
    forged = bytearray(sender.protect(rtp(2)))
    forged[14] ^= 1
    for rubbish in (bytes(forged), b"", b"\x80", bytes(3000), b"\x80\x6f" + bytes(10)):
        assert opened(receiver, rubbish) is None
    assert receiver.counters.refused == 5


@pytest.mark.parametrize("first", [100, 65_450], ids=["young", "around the wrap"])
@pytest.mark.parametrize("profile", PROFILES)
def test_what_another_process_has_received_is_refused_by_the_one_that_goes_on(profile: str, first: int) -> None:
    sender, receiver = srtp_pair(profile)
    sent = [sender.protect(rtp(number)) for number in range(first, first + 3000)]
    for packet in sent[:100]:
        assert opened(receiver, packet) is not None
    other = Srtp(replace(receiver.state), 6)
    assert [opened(other, packet) for packet in sent[:100]] == [None] * 100
    assert other.counters.replayed == 100
    assert opened(other, sent[103]) == rtp(first + 103)
    assert opened(other, sent[101]) == rtp(first + 101), "what is only late is taken"
    for number in range(104, 3000):
        assert opened(other, sent[number]) is not None
        assert opened(other, sent[number % 100]) is None, "a window that has moved on takes it no sooner"
    assert opened(other, sent[101]) is None


@pytest.mark.parametrize("profile", PROFILES)
def test_srtcp_passes_and_refuses(profile: str) -> None:
    sender, receiver = srtp_pair(profile)
    compound = b"\x80\xc9\x00\x01\x00\x00\x00\x05"
    protected = sender.protect_rtcp(compound)
    assert receiver.unprotect_rtcp(protected) == compound
    assert receiver.unprotect_rtcp(protected) is None
    assert receiver.unprotect_rtcp(b"\x80\xc9") is None
    assert sender.state.rtcp_index == 1


def senders(profile: str, count: int) -> tuple[list[Srtp], Srtp]:
    """One client under many SSRCs, and who hears it."""
    _, key, salt = srtp.PROFILES[profile]
    secret = bytes(range(key + salt))
    return [Srtp(SrtpState(profile, secret, secret), 100 + n) for n in range(count)], Srtp(
        SrtpState(profile, secret, secret), 1
    )


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("first", [1, 65_500])
def test_a_client_may_use_any_number_of_ssrcs_and_none_of_their_packets_is_taken_twice(
    profile: str, first: int
) -> None:
    clients, receiver = senders(profile, 3 * MAX_STREAMS)
    kept = []
    for ssrc, client in enumerate(clients, 100):
        packets = [client.protect(rtp(number, ssrc)) for number in range(first, first + 60)]
        reports = [client.protect_rtcp(b"\x80\xc9\0\1" + ssrc.to_bytes(4, "big")) for _ in range(3)]
        assert [opened(receiver, packet) is not None for packet in packets[:50]] == [True] * 50
        assert [receiver.unprotect_rtcp(report) is not None for report in reports[:2]] == [True] * 2
        kept.append((packets, reports))
    assert len(receiver._streams) == MAX_STREAMS
    for packets, reports in kept:
        assert [opened(receiver, packet) for packet in packets[:50]] == [None] * 50
        assert [receiver.unprotect_rtcp(report) for report in reports[:2]] == [None] * 2
    # Each of them may come back, also beyond a wrap of its numbers, and old packets stay refused.
    for packets, reports in kept:
        assert opened(receiver, packets[55]) is not None
        assert opened(receiver, packets[52]) is not None, "what is only late is taken"
        assert receiver.unprotect_rtcp(reports[2]) is not None
        assert [opened(receiver, packet) for packet in (*packets[:50], packets[55])] == [None] * 51
        assert receiver.unprotect_rtcp(reports[0]) is None
    assert len(receiver._streams) == MAX_STREAMS
    assert len(receiver._floors) <= 3 * MAX_STREAMS


def test_reports_of_many_ssrcs_leave_the_one_that_is_heard() -> None:
    clients, receiver = senders(PROFILES[0], 3 * MAX_STREAMS)
    heard = clients[0]
    assert opened(receiver, heard.protect(rtp(1, 100))) == rtp(1, 100)
    for ssrc, client in enumerate(clients[1:], 101):
        assert receiver.unprotect_rtcp(client.protect_rtcp(b"\x80\xc9\0\1" + ssrc.to_bytes(4, "big"))) is not None
    assert opened(receiver, heard.protect(rtp(2, 100))) == rtp(2, 100)
    assert 100 in receiver._streams
    # One that was known by its reports only, and was forgotten.
    assert opened(receiver, clients[1].protect(rtp(5, 101))) == rtp(5, 101)


def test_packets_that_are_not_authentic_make_nothing_forgotten() -> None:
    clients, receiver = senders(PROFILES[0], 1)
    assert opened(receiver, clients[0].protect(rtp(1, 100))) is not None
    for ssrc in range(1000, 1200):
        assert opened(receiver, pack_rtp(111, False, 5, 0, ssrc, bytes(60))) is None
        assert receiver.unprotect_rtcp(b"\x80\xc9\0\1" + ssrc.to_bytes(4, "big") + bytes(20)) is None
    assert list(receiver._streams) == [100]
    assert receiver.counters.refused == 400


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("by_report", [False, True], ids=["unknown", "known by a report"])
def test_a_client_whose_numbers_wrapped_before_its_first_packet_arrived_is_heard(profile: str, by_report: bool) -> None:
    clients, receiver = senders(profile, 2)
    sent = [clients[0].protect(rtp(number, 100)) for number in range(65_533, 65_533 + 200)]
    if by_report:
        assert receiver.unprotect_rtcp(clients[0].protect_rtcp(b"\x80\xc9\0\1\0\0\0\x64")) is not None
    assert [opened(receiver, packet) is not None for packet in sent[5:]] == [True] * 195
    assert opened(receiver, sent[1]) is not None, "from before the wrap, late"
    assert [opened(receiver, packet) for packet in sent[5:]] == [None] * 195
    assert receiver.state.remote_index == 65_533 + 199
    other = Srtp(replace(receiver.state), 6)
    assert opened(other, clients[0].protect(rtp(65_533 + 200, 100))) is not None


@pytest.mark.parametrize("first", [100, 65_450])
def test_reports_that_come_first_after_a_take_over_change_nothing(first: int) -> None:
    clients, receiver = senders(PROFILES[0], 2)
    sent = [clients[0].protect(rtp(number, 100)) for number in range(first, first + 200)]
    assert all(opened(receiver, packet) is not None for packet in sent[:150])
    other = Srtp(replace(receiver.state), 6)
    assert other.unprotect_rtcp(clients[0].protect_rtcp(b"\x80\xc9\0\1\0\0\0\x64")) is not None
    assert opened(other, clients[1].protect(rtp(9, 101))) is not None
    assert [opened(other, packet) for packet in sent[:150]] == [None] * 150
    assert all(opened(other, packet) is not None for packet in sent[150:])


@given(st.binary(max_size=2100))
def test_no_datagram_makes_srtp_raise(datagram: bytes) -> None:
    _, receiver = srtp_pair("SRTP_AEAD_AES_128_GCM")
    assert opened(receiver, datagram) is None
    assert receiver.unprotect_rtcp(datagram) is None
