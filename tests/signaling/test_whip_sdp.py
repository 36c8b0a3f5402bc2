"""Offers of clients that only speak: which way their audio goes, and what is refused."""

from __future__ import annotations

import pytest
from support.processes.signaling import ANSWER, OFFER

from antiphon.signaling.protocols.whip_sdp import NotIngestError, ingest_answer, ingest_offer

pytestmark = pytest.mark.pure

HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\n"


def directions(sdp: str) -> list[str]:
    """The direction that each section says itself; empty: none."""
    words = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")
    sections = sdp.split("m=")[1:]
    return [next((line[2:] for line in section.splitlines() if line.strip() in words), "") for section in sections]


@pytest.mark.parametrize("said", ["a=sendrecv\r\n", "a=sendonly\r\n", "a=sendonly \r\n", ""])
def test_audio_that_a_client_sends_goes_on_as_sendonly(said: str) -> None:
    assert directions(ingest_offer(HEAD + AUDIO + said)) == ["sendonly"]


def test_a_direction_of_the_whole_session_counts_for_audio_without_one() -> None:
    assert directions(ingest_offer(f"{HEAD}a=sendonly\r\n{AUDIO}")) == ["sendonly"]
    with pytest.raises(NotIngestError, match="recvonly"):
        ingest_offer(f"{HEAD}a=recvonly\r\n{AUDIO}")
    assert directions(ingest_offer(f"{HEAD}a=recvonly\r\n{AUDIO}a=sendrecv\r\n")) == ["sendonly"]


def test_video_goes_on_as_it_was_and_so_does_the_data_channel() -> None:
    offer = f"{HEAD}{VIDEO}{AUDIO}a=sendrecv\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n"
    assert ingest_offer(offer).startswith(HEAD + VIDEO)
    assert directions(ingest_offer(offer)) == ["sendonly", "sendonly", ""]


def test_an_offer_that_ends_without_a_line_break_and_one_with_line_feeds_stay_readable() -> None:
    assert ingest_offer((HEAD + AUDIO).removesuffix("\r\n")).endswith("a=mid:0\r\na=sendonly\r\n")
    assert ingest_offer((HEAD + AUDIO).replace("\r\n", "\n")).endswith("a=mid:0\na=sendonly\n")


@pytest.mark.parametrize("said", ["a=recvonly\r\n", "a=inactive\r\n"])
def test_audio_that_nobody_sends_is_refused(said: str) -> None:
    with pytest.raises(NotIngestError, match="sendonly or sendrecv"):
        ingest_offer(HEAD + AUDIO + said)


def test_two_tracks_of_audio_are_refused_and_one_beside_a_refused_section_is_not() -> None:
    with pytest.raises(NotIngestError, match="2 tracks"):
        ingest_offer(HEAD + AUDIO + AUDIO)
    assert directions(ingest_offer(HEAD + AUDIO.replace(" 9 ", " 0 ") + AUDIO)) == ["", "sendonly"]
    bundled = AUDIO.replace(" 9 ", " 0 ") + "a=bundle-only\r\n"
    assert directions(ingest_offer(HEAD + VIDEO + bundled)) == ["sendonly", "sendonly"]


@pytest.mark.parametrize("text", ["", "nonsense", HEAD, HEAD + VIDEO])
def test_what_has_no_audio_is_left_to_the_reader_of_offers(text: str) -> None:
    assert ingest_offer(text) == text


def test_the_answer_says_that_fragments_are_taken_and_rtcp_never_comes_alone() -> None:
    lines = ingest_answer(ANSWER).split("\r\n")
    assert lines.index("a=ice-options:trickle") == lines.index("a=ice-lite") + 1
    assert lines.index("a=rtcp-mux-only") == lines.index("a=rtcp-mux") + 1
    assert lines.index("a=ice-options:trickle") < lines.index("m=audio 9 UDP/TLS/RTP/SAVPF 111")
    assert directions(ingest_offer(OFFER))[0] == "sendonly"
