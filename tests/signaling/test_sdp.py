"""The sans-IO look at offers and answers."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes.signaling import ANSWER, OFFER

from antiphon.schemas.addresses import Address
from antiphon.signaling.placement.directory import RelayOffer
from antiphon.signaling.placement.sdp import (
    FIRST_PRIORITY,
    FIRST_TCP_PRIORITY,
    AnswerError,
    OfferError,
    check_offer,
    with_candidates,
)

pytestmark = pytest.mark.pure

RELAYS = [
    RelayOffer((Address("203.0.113.10", 3478), Address("203.0.113.11", 3478)), (Address("203.0.113.10", 443),)),
    RelayOffer((Address("2001:db8::7", 3479),), (Address("2001:db8::7", 80),)),
]


def test_candidates_go_into_the_first_section_and_addresses_into_all() -> None:
    lines = with_candidates(ANSWER, RELAYS).split("\r\n")
    audio = lines.index("m=audio 3478 UDP/TLS/RTP/SAVPF 111")
    data = lines.index("m=application 3478 UDP/DTLS/SCTP webrtc-datachannel")
    assert lines[data - 6 : data] == [
        "a=candidate:11 1 udp 2130706000 203.0.113.10 3478 typ host",
        "a=candidate:12 1 udp 2130705744 203.0.113.11 3478 typ host",
        "a=candidate:21 1 udp 2130705488 2001:db8::7 3479 typ host",
        "a=candidate:13 1 tcp 2113928784 203.0.113.10 443 typ host tcptype passive",
        "a=candidate:22 1 tcp 2113928528 2001:db8::7 80 typ host tcptype passive",
        "a=end-of-candidates",
    ]
    assert lines[audio + 1] == lines[data + 1] == "c=IN IP4 203.0.113.10"
    assert not any("candidate" in line for line in lines[data:])


def test_an_ipv6_relay_in_front_makes_ipv6_connection_lines() -> None:
    assert "c=IN IP6 2001:db8::7\r\n" in with_candidates(ANSWER, RELAYS[::-1])


def test_a_rejected_section_is_left_alone_and_the_next_carries_the_candidates() -> None:
    answer = ANSWER.replace("m=audio 9", "m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\nm=audio 9")
    lines = with_candidates(answer, RELAYS).split("\r\n")
    video = lines.index("m=video 0 UDP/TLS/RTP/SAVPF 96")
    assert lines[video + 1] == "c=IN IP4 0.0.0.0"
    assert lines.index("a=end-of-candidates") > lines.index("m=audio 3478 UDP/TLS/RTP/SAVPF 111")


def test_the_tagged_section_of_a_bundle_carries_the_candidates() -> None:
    lines = with_candidates(ANSWER.replace("BUNDLE 0 1", "BUNDLE 1 0"), RELAYS).split("\r\n")
    assert lines.index("a=end-of-candidates") > lines.index("a=mid:1")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a=setup:active", "a=candidate:1 1 udp 1 10.0.0.1 5000 typ host"),
        ("a=setup:active", "a=end-of-candidates"),
        ("a=setup:active", "a=rtcp:5000 IN IP4 10.0.0.1"),
        ("c=IN IP4 0.0.0.0", "c=IN IP4 10.0.0.1"),
        ("c=IN IP4 0.0.0.0", "c=IN IP4 transceiver.internal"),
        ("IN IP4 0.0.0.0\r\ns=", "IN IP4 10.0.0.1\r\ns="),
        ("v=0", "v=1"),
        ("m=audio 9", "m=audio nine"),
        ("a=sendrecv", "nonsense"),
        ("m=a", "x=a"),
    ],
)
def test_an_answer_that_names_an_address_or_is_no_sdp_is_refused(old: str, new: str) -> None:
    broken = ANSWER.replace(old, new)
    if old == "m=a":
        broken = ANSWER.split("m=audio")[0]
    with pytest.raises(AnswerError):
        with_candidates(broken, RELAYS)


_value = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
_line = st.one_of(
    st.sampled_from(ANSWER.split("\r\n")[:-1]),
    st.builds("{}={}".format, st.sampled_from("vosctam"), _value),
    st.builds("m={} {} P {}".format, st.sampled_from(["audio", "video"]), st.integers(0, 70000), _value),
    _value,
)
_answer = st.builds(
    lambda lines, end: "v=0\r\n" + end.join(lines), st.lists(_line, max_size=12), st.sampled_from(["\r\n", "\n"])
)
_addresses = st.builds(Address, st.ip_addresses().map(str), st.integers(1, 65535))
_relays = st.lists(
    st.builds(
        RelayOffer,
        st.lists(_addresses, min_size=1, max_size=2).map(tuple),
        st.lists(_addresses, max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=2,
)


@given(_answer, _relays)
def test_whatever_a_transceiver_answers_what_is_passed_on_is_sound(answer: str, relays: list[RelayOffer]) -> None:
    try:
        result = with_candidates(answer, relays)
    except AnswerError:
        return
    assert result.endswith("\r\n")
    lines = result[:-2].split("\r\n")
    assert all(re.fullmatch(r"[a-z]=[^\r\n\0]*", line) for line in lines)
    candidates = [line for line in lines if line.startswith("a=candidate")]
    expected = [address for relay in relays for address in relay.udp]
    expected += [address for relay in relays for address in relay.tcp]
    assert [tuple(line.split(" ")[4:6]) for line in candidates] == [(a.host, str(a.port)) for a in expected]
    priorities = [int(line.split(" ")[3]) for line in candidates]
    assert priorities == sorted(set(priorities), reverse=True)
    foundations = [line.split(" ")[0] for line in candidates]
    assert len(foundations) == len(set(foundations))
    assert lines.count("a=end-of-candidates") == 1
    media = [n for n, line in enumerate(lines) if line.startswith("m=")]
    in_use = [n for n in media if lines[n].split(" ")[1].split("/")[0].strip("0")]
    ends = [*media[1:], len(lines)][media.index(in_use[0])]
    assert in_use[0] < lines.index(candidates[0]) < lines.index("a=end-of-candidates") == ends - 1
    before = answer.replace("\r\n", "\n").removesuffix("\n").split("\n")
    after = [line for line in lines if "candidate" not in line[:19]]
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert old == new or old[:2] == new[:2] in ("m=", "c=")


@given(st.text(max_size=300))
def test_no_text_makes_the_look_at_an_offer_raise_anything_else(text: str) -> None:
    for offer in (text, OFFER[: len(text)] + text):
        with contextlib.suppress(OfferError):
            check_offer(offer)


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        ("", "bad_offer"),
        ("hello", "bad_offer"),
        ("v=0\r\ns=-\r\n", "no_audio"),
        (OFFER.replace("s=-", "a=ice-lite"), "bad_offer"),
        (OFFER.replace("m=audio", "m=video"), "no_audio"),
        (OFFER.replace("opus/48000/2", "G722/8000").replace("111 0", "111"), "no_opus"),
    ],
)
def test_a_hopeless_offer_is_named(offer: str, code: str) -> None:
    with pytest.raises(OfferError) as caught:
        check_offer(offer)
    assert caught.value.code == code


def test_a_browsers_offer_passes() -> None:
    check_offer(OFFER)
    check_offer(OFFER.replace("\r\n", "\n"))
    check_offer(f"\n{OFFER}\r\n".replace("s=-", "not a line"))


@given(_relays)
def test_relays_that_race_have_equal_priorities_address_by_address(relays: list[RelayOffer]) -> None:
    answer = with_candidates(ANSWER, relays, equal=True)
    lines = [line for line in answer.split("\r\n") if line.startswith("a=candidate")]
    found = [(line.split(" ")[2], int(line.split(" ")[3])) for line in lines]
    assert [priority for kind, priority in found if kind == "udp"] == [
        FIRST_PRIORITY - 256 * place for relay in relays for place in range(len(relay.udp))
    ]
    assert [priority for kind, priority in found if kind == "tcp"] == [
        FIRST_TCP_PRIORITY - 256 * place for relay in relays for place in range(len(relay.tcp))
    ]
    foundations = [line.split(" ")[0] for line in lines]
    assert len(foundations) == len(set(foundations))
