"""SRTP and SRTCP: passed, refused, counted."""

from __future__ import annotations

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
