"""Offers as clients really send them, and as nobody should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rtc.codec import Codec
from antiphon.rtc.sdp import Answer, OfferError, read_offer, write_answer

OFFERS = Path(__file__).parent / "offers"
FINGERPRINT = ":".join(["AB"] * 32)
OURS = Answer("A" + "b" * 22, "p" * 24, FINGERPRINT, 7, 12345)


def offer_of(client: str) -> str:
    return (OFFERS / f"{client}.sdp").read_bytes().decode()


@pytest.mark.pure
@pytest.mark.parametrize(("client", "opus"), [("chromium", 111), ("firefox", 109), ("aiortc", 96)])
def test_offers_of_real_clients_are_understood(client: str, opus: int) -> None:
    offer = read_offer(offer_of(client))
    assert offer.codec == Codec("opus", opus)
    assert offer.codec.clock_rate == 48000
    assert [(section.kind, section.accepted) for section in offer.sections] == [("audio", True), ("application", True)]
    assert offer.client
    assert offer.bundled
    assert offer.direction == "sendrecv"
    assert offer.data_port == 5000
    assert offer.fingerprints[0][0] == "sha-256"


@pytest.mark.pure
def test_a_section_that_stands_alone_needs_no_mid() -> None:
    alone = offer_of("chromium").partition("m=application")[0]
    for text in (alone.replace("a=mid:0\r\n", ""), alone.replace("a=mid:0\r\n", "a=mid\r\n")):
        assert text != alone
        answer = write_answer(read_offer(text), OURS)
        assert "a=group" not in answer
        assert "a=mid" not in answer


@pytest.mark.pure
@pytest.mark.parametrize("client", ["chromium", "firefox", "aiortc"])
def test_the_answer_names_no_address_and_says_what_was_agreed(client: str) -> None:
    offer = read_offer(offer_of(client))
    lines = write_answer(offer, OURS).split("\r\n")
    assert not [line for line in lines if line.startswith("a=candidate")]
    assert {line for line in lines if line.startswith("c=")} == {"c=IN IP4 0.0.0.0"}
    keys = f" {offer.telephone[0]}" if offer.telephone else ""
    assert f"m=audio 9 UDP/TLS/RTP/SAVPF {offer.codec.payload_type}{keys}" in lines
    assert offer.telephone == {"chromium": (110, 48000), "firefox": (101, 8000), "aiortc": None}[client]
    assert f"a=extmap:{offer.audio_level_id} urn:ietf:params:rtp-hdrext:ssrc-audio-level" in lines
    assert "m=application 9 UDP/DTLS/SCTP webrtc-datachannel" in lines
    for line in ("a=ice-lite", "a=setup:active", "a=rtcp-mux", f"a=ice-ufrag:{OURS.ufrag}"):
        assert line in lines


@pytest.mark.process
async def test_another_implementation_takes_the_answer() -> None:
    client = RTCPeerConnection()
    client.addTransceiver("audio")
    client.createDataChannel("oai-events")
    await client.setLocalDescription(await client.createOffer())
    answer = write_answer(read_offer(client.localDescription.sdp), OURS)
    await client.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert client.signalingState == "stable"
    await client.close()


def without_g711(text: str) -> str:
    return text.replace(" 0 8 13", " 13")


def changed(old: str, new: str, client: str = "chromium") -> str:
    text = offer_of(client)
    assert old in text
    return text.replace(old, new)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", "bad_offer", "v=0"),
        ("hello", "bad_offer", "v=0"),
        (json.dumps({"type": "offer", "sdp": offer_of("chromium")}), "bad_offer", "JSON"),
        (json.dumps(offer_of("chromium"))[1:-1], "bad_offer", "real line ends"),
        ("v=0\r\n" * 5000, "bad_offer", "4096 lines"),
        ("v=0\r\n" + " " * 70_000, "bad_offer", "65536"),
        ("v=0\r\n" + "m=video 0 RTP/AVP 0\r\n" * 65, "bad_offer", "65 media sections"),
        ("v=0\r\n", "no_audio", "no media section"),
        ("v=0\r\nm=audio\r\n", "bad_offer", "line 2: m=audio$"),
        (offer_of("chromium-video-only"), "no_audio", r"only video.*; line \d+: m=video 9 UDP/TLS/RTP/SAVPF"),
        (changed("m=audio 9", "m=audio 0"), "no_audio", "port is 0"),
        (changed("m=audio 9", "m=audio 99999"), "bad_offer", "line 8: m=audio 99999"),
        (
            changed("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 udptl"),
            "bad_offer",
            "udptl: UDP/TLS/RTP/SAVPF is expected",
        ),
        (without_g711(changed("opus/48000/2", "speex/16000")), "no_opus", r"speex.*opus/48000/2.*; line 8: m=audio"),
        (without_g711(changed("111", "200")), "no_opus", "Opus"),
        (without_g711(changed("111", "72")), "no_opus", "Opus"),
        (changed("a=fingerprint:sha-256", "a=x:sha-256"), "bad_offer", "no a=fingerprint"),
        (changed("a=fingerprint:sha-256", "a=crypto:1"), "bad_offer", "SDES"),
        (changed("a=fingerprint:sha-256", "a=fingerprint:sha-1"), "bad_offer", "line 14: a=fingerprint:sha-1 6D"),
        (changed("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 é"), "bad_offer", "hex with colons"),
        (changed("a=ice-pwd", "a=ice-pw"), "bad_offer", "ice-pwd"),
        (changed("a=rtcp-mux", "a=rtcp-mix"), "bad_offer", "no a=rtcp-mux"),
        (changed("s=-", "s=-\r\na=ice-lite"), "bad_offer", "lite.*; line 4: a=ice-lite"),
        (changed("a=mid:0", "a=mid:0\r\na=ice-lite"), "bad_offer", "lite"),
    ],
)
def test_an_offer_that_can_t_be_answered_is_refused_with_a_reason(text: str, code: str, says: str) -> None:
    with pytest.raises(OfferError, match=says) as refusal:
        read_offer(text)
    assert refusal.value.code == code
    assert len(str(refusal.value)) < 400


@pytest.mark.pure
def test_an_offer_of_video_as_well_gets_its_video_declined() -> None:
    text = offer_of("chromium")
    video = offer_of("chromium-video-only")
    video = video[video.index("m=video") :].replace("a=mid:0", "a=mid:2")
    offer = read_offer(text + video)
    assert [section.accepted for section in offer.sections] == [True, True, False]
    answer = write_answer(offer, OURS)
    assert "m=video 0 " in answer
    assert "a=group:BUNDLE 0 1\r\n" in answer


@pytest.mark.pure
def test_a_client_that_only_listens_and_one_that_only_talks_are_answered() -> None:
    assert read_offer(changed("a=sendrecv", "a=recvonly")).direction == "sendonly"
    assert read_offer(changed("a=sendrecv", "a=sendonly")).direction == "recvonly"
    assert not read_offer(changed("a=setup:actpass", "a=setup:active")).client


LINES = [line for client in ("chromium", "firefox", "aiortc") for line in offer_of(client).split("\r\n")]


@pytest.mark.pure
@given(st.text(max_size=200) | st.lists(st.sampled_from(LINES)).map("\r\n".join))
def test_no_text_raises_anything_but_offer_error(text: str) -> None:
    try:
        read_offer("v=0\r\n" + text)
    except OfferError:
        return


@pytest.mark.pure
@given(st.data())
def test_no_change_to_a_real_offer_raises_anything_but_offer_error(data: st.DataObject) -> None:
    text = offer_of(data.draw(st.sampled_from(["chromium", "firefox", "aiortc"])))
    for _ in range(data.draw(st.integers(1, 4))):
        at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 30))
        text = text[:at] + data.draw(st.text(max_size=10) | st.just("99999999")) + text[at + length :]
    try:
        offer = read_offer(text)
    except OfferError:
        return
    write_answer(offer, OURS).encode()
