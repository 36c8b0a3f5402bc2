"""The prepared calls that wait for their clients, and what of one is written into the bucket."""

from __future__ import annotations

import pytest

from antiphon.rtc import sdp
from antiphon.rtc.dtls.certificate import CERTIFICATE_LIFETIME, KEPT_AFTER_RENEWAL, CurrentCertificate
from antiphon.schemas import messages
from antiphon.transceiver.calls.new_sessions import Terms
from antiphon.transceiver.net.endpoint import TransceiverIdentity
from antiphon.transceiver.prepared import waiting_calls
from antiphon.transceiver.prepared.entry import PreparedCall, PreparedCrypto
from antiphon.transceiver.prepared.waiting_calls import Waiting, WaitingCalls

pytestmark = pytest.mark.pure

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=setup:actpass\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sctp-port:5000\r\n"
)


def waiting(name: str, key: str = "", caller: str = "", until: float = 60.0) -> Waiting:
    return Waiting(name, key or f"0.{name}", 1, caller, until)


def test_a_call_is_found_until_it_is_too_old_or_taken() -> None:
    calls = WaitingCalls()
    calls.add("a", waiting("one"), 0.0)
    assert calls.find("a", 59.9) == waiting("one")
    assert calls.find("a", 60.0) is None
    assert calls.find("b", 0.0) is None
    calls.remove("a")
    assert calls.find("a", 0.0) is None
    calls.remove("a")
    assert len(calls) == 0


def test_a_newer_call_under_the_same_key_replaces_the_older_one() -> None:
    calls = WaitingCalls()
    calls.add("a", waiting("one", "0.of-x", "me"), 0.0)
    calls.add("b", waiting("two", "0.of-x", "me"), 1.0)
    assert calls.find("a", 1.0) is None
    assert calls.ufrag_of("0.of-x", "one") is None
    assert calls.ufrag_of("0.of-x", "two") == "b"
    assert len(calls) == 1


def test_old_calls_make_room_and_a_full_table_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_calls, "MAX_WAITING", 4)
    monkeypatch.setattr(waiting_calls, "MAX_PER_CALLER", 2)
    calls = WaitingCalls()
    for number in range(2):
        assert not calls.refusal("greedy", 0.0)
        calls.add(f"a{number}", waiting(f"a{number}", caller="greedy"), 0.0)
    assert "this caller has 2" in calls.refusal("greedy", 0.0)
    for number in range(2):
        assert not calls.refusal("", 1.0)
        calls.add(f"b{number}", waiting(f"b{number}", until=61.0), 1.0)
    assert "4 prepared calls wait" in calls.refusal("another", 1.0)
    assert not calls.refusal("greedy", 60.5)
    assert len(calls) == 2


def test_what_a_session_needs_is_read_as_it_was_sealed_for_its_place_and_nowhere_else() -> None:
    terms = Terms("rtc_a", "Aufrag", ":".join(["CD"] * 32), 7, 1 << 39, TransceiverIdentity(1, 2, 3))
    request = messages.OpenRequest(
        offer=OFFER, agent="concierge", session={"instructions": "be kind"}, creator="a.b", prepare="a.b"
    )
    read = sdp.read_offer(OFFER)
    crypto = PreparedCrypto(bytes(32))
    sealed = crypto.seal("1.rtc_a", PreparedCall(terms, request, read))
    assert len(sealed) < 700
    assert b"be kind" not in sealed
    found = crypto.open("1.rtc_a", sealed)
    assert found.terms == terms
    assert found.request == request.model_copy(update={"offer": ""})
    assert found.offer == read._replace(sections=(), group=(), codecs=(read.codec,), audio_level_suffix="")
    for other, key in ((crypto, "1.rtc_b"), (PreparedCrypto(bytes(range(32))), "1.rtc_a")):
        with pytest.raises(ValueError, match="another place"):
            other.open(key, sealed)
    for broken in (b"", sealed[:20], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(ValueError, match=r".+"):
            crypto.open("1.rtc_a", broken)


def test_a_certificate_is_kept_for_a_minute_after_its_renewal_for_answers_that_name_it() -> None:
    current = CurrentCertificate(0.0)
    former = current.at(0.0)
    renewed_at = CERTIFICATE_LIFETIME + 1
    assert current.at(renewed_at) is not former
    assert current.of(former.fingerprint, renewed_at + KEPT_AFTER_RENEWAL) is former
    assert current.of(former.fingerprint, renewed_at + KEPT_AFTER_RENEWAL + 1) is None
    newer = current.at(renewed_at + 2)
    assert current.of(newer.fingerprint, renewed_at + 2) is newer
    assert current.of("", renewed_at) is None
