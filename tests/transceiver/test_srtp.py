"""SRTP and SRTCP: passed, refused, counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.transceiver import srtp
from antiphon.transceiver.rtp import pack_rtp
from antiphon.transceiver.srtp import MAX_STREAMS, Srtp
from antiphon.transceiver.state import SrtpState

PROFILES = list(srtp.PROFILES)


def srtp_pair(profile: str, ssrc: int = 5) -> tuple[Srtp, Srtp]:
    _, key, salt = srtp.PROFILES[profile]
    one, two = bytes(range(key + salt)), bytes(range(100, 100 + key + salt))
    return Srtp(SrtpState(profile, one, two), ssrc), Srtp(SrtpState(profile, two, one), 6)


def rtp(sequence: int, ssrc: int = 5) -> bytes:
    return pack_rtp(111, False, sequence & 0xFFFF, sequence * 960 & 0xFFFFFFFF, ssrc, b"speech %d" % sequence)


@pytest.mark.parametrize("profile", PROFILES)
def test_srtp_passes_packets_over_the_sequence_wrap_and_counts_its_indices(profile: str) -> None:
    sender, receiver = srtp_pair(profile)
    for number in range(65_000, 66_500):
        assert receiver.unprotect(sender.protect(rtp(number))) == rtp(number)
    assert sender.state.local_index == receiver.state.remote_index == 66_499


@pytest.mark.parametrize("profile", PROFILES)
def test_srtp_refuses_replays_forgeries_and_rubbish(profile: str) -> None:
    sender, receiver = srtp_pair(profile)
    packet = sender.protect(rtp(1))
    assert receiver.unprotect(packet) == rtp(1)
    assert receiver.unprotect(packet) is None
    assert (receiver.replayed, receiver.refused) == (1, 0)
    forged = bytearray(sender.protect(rtp(2)))
    forged[14] ^= 1
    for rubbish in (bytes(forged), b"", b"\x80", bytes(3000), b"\x80\x6f" + bytes(10)):
        assert receiver.unprotect(rubbish) is None
    assert receiver.refused == 5


@pytest.mark.parametrize("first", [100, 65_450], ids=["young", "around the wrap"])
@pytest.mark.parametrize("profile", PROFILES)
def test_what_another_process_has_received_is_refused_by_the_one_that_goes_on(profile: str, first: int) -> None:
    sender, receiver = srtp_pair(profile)
    sent = [sender.protect(rtp(number)) for number in range(first, first + 3000)]
    for packet in sent[:100]:
        assert receiver.unprotect(packet) is not None
    other = Srtp(replace(receiver.state), 6)
    assert [other.unprotect(packet) for packet in sent[:100]] == [None] * 100
    assert other.replayed == 100
    assert other.unprotect(sent[103]) == rtp(first + 103)
    assert other.unprotect(sent[101]) == rtp(first + 101), "what is only late is taken"
    for number in range(104, 3000):
        assert other.unprotect(sent[number]) is not None
        assert other.unprotect(sent[number % 100]) is None, "a window that has moved on takes it no sooner"
    assert other.unprotect(sent[101]) is None


@pytest.mark.parametrize("profile", PROFILES)
def test_srtcp_passes_and_refuses(profile: str) -> None:
    sender, receiver = srtp_pair(profile)
    compound = b"\x80\xc9\x00\x01\x00\x00\x00\x05"
    protected = sender.protect_rtcp(compound)
    assert receiver.unprotect_rtcp(protected) == compound
    assert receiver.unprotect_rtcp(protected) is None
    assert receiver.unprotect_rtcp(b"\x80\xc9") is None
    assert sender.state.rtcp_index == 1


def test_the_streams_of_one_client_are_bounded() -> None:
    state = SrtpState("SRTP_AEAD_AES_128_GCM", bytes(28), bytes(28))
    receiver, taken = Srtp(state, 1), 0
    for ssrc in range(100, 200):
        sender = Srtp(SrtpState("SRTP_AEAD_AES_128_GCM", bytes(28), bytes(28)), ssrc)
        taken += receiver.unprotect(sender.protect(rtp(1, ssrc))) is not None
    assert taken == MAX_STREAMS


@given(st.binary(max_size=2100))
def test_no_datagram_makes_srtp_raise(datagram: bytes) -> None:
    _, receiver = srtp_pair("SRTP_AEAD_AES_128_GCM")
    assert receiver.unprotect(datagram) is None
    assert receiver.unprotect_rtcp(datagram) is None
