"""Lines that are not needed, and sections that are declined, change nothing of what an offer means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rtc.codec import Codec
from antiphon.rtc.sdp import Answer, Offer, OfferError, read_offer, write_answer

pytestmark = pytest.mark.pure

OFFERS = Path(__file__).parent / "offers"
FINGERPRINT = ":".join(["AB"] * 32)
OURS = Answer("A" + "b" * 22, "p" * 24, FINGERPRINT, 7, 12345)


def offer_of(client: str) -> str:
    return (OFFERS / f"{client}.sdp").read_bytes().decode()


CLIENTS = ("chromium", "firefox", "aiortc")
CHROMIUM = offer_of("chromium")
PLAIN = {client: read_offer(offer_of(client)) for client in CLIENTS}


def changed(old: str, new: str, text: str = CHROMIUM) -> str:
    assert old in text
    return text.replace(old, new)


def media_lines(answer: str) -> list[str]:
    return re.findall("^m=(.*)\r$", answer, re.M)


# ---- blanks and line ends ----------------------------------------------------------------------------------

_ends = st.sampled_from(["\r\n", "\n", "\r", "\r\r\n", " \r\n", "\t\n", "\r\n\r\n", "\n \n", "\xa0\n"])
_starts = st.sampled_from(["", "", "", " ", "\t", "    "])


@given(st.sampled_from(CLIENTS), st.data())
def test_blanks_blank_lines_and_line_ends_of_any_kind_change_nothing(client: str, data: st.DataObject) -> None:
    lines = offer_of(client).split("\r\n")[:-1]
    ends = data.draw(st.lists(_ends, min_size=len(lines), max_size=len(lines)))
    starts = data.draw(st.lists(_starts, min_size=len(lines), max_size=len(lines)))
    text = "".join(start + line + end for start, line, end in zip(starts, lines, ends, strict=True))
    before = data.draw(st.sampled_from(["", "\n", "\r\n", "  \n", "\ufeff"]))
    assert read_offer(before + text) == PLAIN[client]
    assert read_offer(before + text.rstrip()) == PLAIN[client]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a=mid:0", "a=mid: 0"),
        ("a=mid:0", "a= mid : 0 "),
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111  opus/48000/2\t"),
        ("a=setup:actpass", "a=setup: actpass"),
        ("a=setup:actpass", "a=SETUP:ACTPASS"),
        ("a=group:BUNDLE 0 1", "a=group:bundle  0  1 "),
        ("m=audio 9 UDP", "m=audio  9  UDP"),
        ("v=0", "V = 0"),
        ("a=fingerprint:sha-256 ", "a=fingerprint:SHA-256  "),
    ],
)
def test_blanks_and_capitals_inside_of_a_line_change_nothing(old: str, new: str) -> None:
    assert read_offer(changed(old, new)) == PLAIN["chromium"]


# ---- attributes that are not needed ------------------------------------------------------------------------

_text = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=30)
_unneeded = st.sampled_from(
    [
        "candidate",
        "ssrc",
        "ssrc-group",
        "msid",
        "rtcp-fb",
        "rtcp",
        "fmtp",
        "ptime",
        "maxptime",
        "extmap-allow-mixed",
        "ice-options",
        "ice-mismatch",
        "remote-candidates",
        "end-of-candidates",
        "tls-id",
        "identity",
        "cname",
        "label",
        "content",
        "framerate",
        "imageattr",
        "simulcast",
        "rid",
        "crypto",
        "rtcp-xr",
        "rtcp-rsize",
        "dtls-id",
        "bandwidth",
        "dcmap",
        "dcsa",
        "x-google-flag",
        "key-mgmt",
    ]
)
_junk = st.one_of(
    st.builds("a={}:{}".format, _unneeded, _text),
    st.builds("a={}".format, _unneeded),
    st.builds("{}={}".format, st.sampled_from("bcekioprstuz"), _text),
    st.builds("a=x{}:{}".format, st.text("abc-", max_size=5), _text),
    st.builds(
        "a=rtpmap:{}".format, st.sampled_from(["", "111", "0 PCMU", "x opus/48000/2", "300 opus/48000/2", "5 DVI4"])
    ),
    st.builds(
        "a=extmap:{}".format, st.sampled_from(["", "9", "x y", "16 urn:x", "0/both urn:x", "7/recvonly urn:x a=b"])
    ),
    st.builds("a=group:{}".format, st.sampled_from(["", "LS 0 1", "BUNDLE", "BUNDLE 7 8", "FID 0"])),
    st.sampled_from(
        ["a=mid:", "a=setup", "a=fingerprint", "a=fingerprint:sha-256", "a=sctp-port", "a=max-message-size:64k"]
    ),
    st.sampled_from(["a=", "a", "=", "m", "hello", "\x00", "é=é", "a=:", "a= :x", "<html>", '{"type":"offer"}']),
    _text.filter(lambda text: not re.match(r"\s*[aAmMvV]\s*=", text)),
)


@given(st.sampled_from(CLIENTS), st.lists(st.tuples(st.floats(0, 1), _junk), min_size=1, max_size=8))
def test_junk_in_any_place_changes_nothing(client: str, junk: list[tuple[float, str]]) -> None:
    lines = offer_of(client).split("\r\n")[:-1]
    for place, line in junk:
        lines.insert(round(place * len(lines)), line)
    try:
        offer = read_offer("\r\n".join(lines))
    except OfferError as error:
        raise AssertionError(junk) from error
    assert offer._replace(data_max_message=0) == PLAIN[client]._replace(data_max_message=0)


@given(st.data())
def test_a_line_that_is_not_needed_can_be_left_out_or_broken(data: st.DataObject) -> None:
    needed = r"v=0|m=|a=(group|ice-|fingerprint|setup|mid|sctp-port|max-message|rtcp-mux$|send|rtpmap:11|extmap:1 )"
    lines = CHROMIUM.split("\r\n")
    spare = [number for number, line in enumerate(lines) if not re.match(needed, line)]
    for number in data.draw(st.lists(st.sampled_from(spare), min_size=1, unique=True)):
        lines[number] = data.draw(st.sampled_from(["", lines[number][:5], lines[number] + " x", lines[number][2:]]))
    offer = read_offer("\n".join(lines))
    assert offer._replace(codecs=(), telephone=None) == PLAIN["chromium"]._replace(codecs=(), telephone=None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a=fmtp:63 111/111", "a=fmtp:18 annexb=no"),
        ("a=fmtp:111 minptime=10;useinbandfec=1", "a=fmtp:111"),
        ("a=rtcp-mux", "a=candidate:\r\na=candidate:1 1 udp 2 10.0.0.1\r\na=rtcp-mux"),
        ("a=ssrc:3126780058 cname:MMVmN5zSbUsvtKdK", "a=ssrc:1234"),
        ("a=rtcp:9 IN IP4 0.0.0.0", "a=rtcp:"),
        ("a=rtcp-rsize", "a=rtcp-fb:*\r\na=ptime:20.0\r\na=ssrc-group:x\r\na=rtcp-fb:"),
        ("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 PCMU"),
        ("a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n", ""),
        (
            "a=extmap:1 urn",
            "a=extmap:13 urn:ietf:params:rtp-hdrext:encrypt urn:ietf:params:rtp-hdrext:x\r\na=extmap:1 urn",
        ),
        ("urn:ietf:params:rtp-hdrext:ssrc-audio-level", "urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on"),
        ("a=extmap:1 urn", "a=extmap:1/sendrecv urn"),
        ("a=extmap:2 ", "a=extmap:2/recvonly "),
    ],
)
def test_an_odd_attribute_changes_nothing(old: str, new: str) -> None:
    assert read_offer(changed(old, new)) == PLAIN["chromium"]


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ("1/sendonly", "1/recvonly"),
        ("1/recvonly", None),
        ("1/inactive", None),
        ("14", "14"),
        ("15", None),
        ("0", None),
        ("x", None),
    ],
)
def test_the_audio_level_follows_the_grammar_of_extensions(offered: str, answered: str | None) -> None:
    level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    text = changed(f"a=extmap:1 {level}", f"a=extmap:{offered} {level} vad=off")
    assert re.findall(rf"a=extmap:(\S+) {level}\r", write_answer(read_offer(text), OURS)) == [answered] * bool(answered)


@pytest.mark.parametrize("size", ["64k", "", "-1", "１２", "9" * 30])
def test_a_broken_limit_of_messages_counts_as_none(size: str) -> None:
    assert read_offer(changed("size:262144", f"size:{size}")).data_max_message == 65536
    assert read_offer(changed("size:262144", "size:0")).data_max_message > 1 << 20


def test_the_message_of_a_refusal_shows_a_line_cut_and_printable() -> None:
    text = re.sub("a=fingerprint:.*", "a=fingerprint:\x07\u2066" + "x" * 5000, CHROMIUM)
    with pytest.raises(OfferError, match=r"; line 14: a=fingerprint:\?\?x{50,70}\.\.\.$"):
        read_offer(text)


# ---- sections ----------------------------------------------------------------------------------------------

AUDIO, DATA = (
    CHROMIUM[CHROMIUM.index("m=audio") : CHROMIUM.index("m=application")],
    CHROMIUM[CHROMIUM.index("m=application") :],
)
SESSION = CHROMIUM[: CHROMIUM.index("m=audio")]
VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 98 99\r\na=mid:v\r\na=ice-ufrag:yp5F\r\na=ice-pwd:ssINDzFUccef6jE037Z+Xf0J\r\n"
    "a=rtpmap:98 VP8/90000\r\na=fmtp:98 max-fr=29.97\r\na=rtpmap:99 rtx/90000\r\na=setup:holdconn\r\na=rtcp-fb:*\r\n"
)


def offer(*sections: str, group: str | None = None, extra: str = "") -> str:
    mids = [mid for section in sections for mid in re.findall("a=mid:(.*)\r", section)]
    line = f"a=group:BUNDLE {' '.join(mids)}\r\n" if group is None else group
    return SESSION.replace("a=group:BUNDLE 0 1\r\n", line + extra) + "".join(sections)


def uses(text: str) -> list[str]:
    return [section.use for section in read_offer(text).sections]


_m_lines = st.sampled_from(["image 0 udptl t38", "", "text", "video x y z", "message 9 TCP/MSRP *"])
_lines = st.lists(st.builds("a={}\r\n".format, _text), max_size=4).map("".join)
_port = st.integers(0, 99999)
_declined = st.one_of(
    st.just(VIDEO.replace("ufrag:yp5F", "ufrag:other")),
    st.builds("m={}\r\n{}".format, _m_lines, _lines),
    st.builds("m=video {} {}\r\na=setup:{}\r\na=fmtp:{}\r\n".format, _port, _text, _text, _text),
    st.just("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:99999\r\n"),
    st.just("m=audio 0 RTP/AVP 0\r\na=rtpmap:\r\n"),
    st.just("m=audio 9 RTP/AVP\r\n"),
)


@given(st.lists(_declined, max_size=4), st.lists(_declined, max_size=4))
def test_a_section_that_is_declined_never_refuses_the_call(before: list[str], behind: list[str]) -> None:
    text = offer(*before, AUDIO, DATA, *behind, group="a=group:BUNDLE 0 1\r\n")
    read = read_offer(text)
    assert read._replace(sections=()) == PLAIN["chromium"]._replace(sections=())
    answered = media_lines(write_answer(read, OURS))
    assert len(answered) == text.count("\r\nm=")
    assert [line.split()[1] for line in answered] == ["0"] * len(before) + ["9", "9"] + ["0"] * len(behind)
    assert all(re.fullmatch(r"\S+ (0|9) \S+( \S+)+", line) for line in answered)


def test_port_0_with_bundle_only_is_an_offer_and_without_it_a_refusal() -> None:
    bare = re.sub("a=(ice-ufrag|ice-pwd|fingerprint|setup|rtcp-mux).*\r\n", "", AUDIO)
    waiting = bare.replace("m=audio 9", "m=audio 0").replace("a=mid:0", "a=mid:0\r\na=bundle-only")
    data = DATA.replace("a=mid:1", "a=mid:1\r\na=rtcp-mux")
    assert uses(offer(data, waiting)) == ["data", "call"]
    assert read_offer(offer(data, waiting)).ufrag == "yp5F"
    assert "m=audio 9 " in write_answer(read_offer(offer(data, waiting)), OURS)
    stopped = DATA.replace("m=application 9", "m=application 0")
    for text in (offer(AUDIO, stopped), offer(AUDIO, stopped, group="a=group:BUNDLE 0\r\n")):
        assert uses(text) == ["call", "declined"]
        answer = write_answer(read_offer(text), OURS)
        assert "m=application 0 " in answer
        assert "a=group:BUNDLE 0\r\n" in answer


@pytest.mark.parametrize(
    ("group", "data", "tag"),
    [
        ("", "declined", None),
        ("a=group:BUNDLE 0\r\n", "declined", "0"),
        ("a=group:BUNDLE 0\r\na=group:BUNDLE 1\r\n", "declined", "0"),
        ("a=group:BUNDLE 1\r\n", "declined", None),
        ("a=group:BUNDLE 1 0\r\n", "data", "1 0"),
        ("a=group:LS 0 1\r\na=group:bundle 0 1\r\n", "data", "0 1"),
        ("a=group:BUNDLE 0 1 7 1 0\r\n", "data", "0 1"),
    ],
)
def test_audio_is_answered_and_what_is_not_in_its_bundle_declined(group: str, data: str, tag: str | None) -> None:
    read = read_offer(offer(AUDIO, DATA, group=group))
    assert [section.use for section in read.sections] == ["call", data]
    assert re.findall("a=group:BUNDLE (.*)\r", write_answer(read, OURS)) == ([tag] if tag else [])
    assert read.data_port == (5000 if data == "data" else None)


def test_sections_with_one_mid_or_none_do_not_share_a_bundle() -> None:
    assert uses(offer(AUDIO, DATA.replace("a=mid:1", "a=mid:0"))) == ["call", "declined"]
    assert uses(offer(AUDIO.replace("a=mid:0\r\n", ""), DATA)) == ["call", "declined"]
    assert uses(offer(AUDIO.replace("a=mid:0", "a=mid:a b"), DATA)) == ["call", "declined"]


def test_a_camera_in_front_stays_as_the_tagged_section_only_where_the_bundle_needs_it() -> None:
    """Chromium refuses an answer that declines the section whose transport the audio shares."""
    read = read_offer(offer(VIDEO, AUDIO, DATA))
    assert [section.use for section in read.sections] == ["idle", "call", "data"]
    answer = write_answer(read, OURS)
    assert "a=group:BUNDLE v 0 1\r\n" in answer
    video = answer[answer.index("m=video") : answer.index("m=audio")]
    assert video.startswith("m=video 9 UDP/TLS/RTP/SAVPF 98\r\n")
    for line in ("a=inactive", "a=rtpmap:98 VP8/90000", "a=fmtp:98 max-fr=29.97", "a=setup:active", "a=rtcp-mux"):
        assert f"{line}\r\n" in video
    own = VIDEO.replace("yp5F", "own")
    assert uses(offer(own, AUDIO, DATA)) == ["declined", "call", "data"]
    assert "a=group:BUNDLE 0 1\r\n" in write_answer(read_offer(offer(own, AUDIO, DATA)), OURS)
    waiting = AUDIO.replace("m=audio 9", "m=audio 0").replace("a=mid:0", "a=mid:0\r\na=bundle-only")
    assert uses(offer(own, waiting, DATA)) == ["idle", "call", "data"]
    assert uses(offer(AUDIO, VIDEO, DATA)) == ["call", "declined", "data"]
    assert uses(offer(VIDEO.replace("m=video 9", "m=video 0"), AUDIO, DATA)) == ["declined", "call", "data"]


SECOND = AUDIO.replace("a=mid:0", "a=mid:2")


def with_direction(section: str, direction: str) -> str:
    return section.replace("a=sendrecv", f"a={direction}")


@pytest.mark.parametrize(
    ("first", "second", "expected", "direction"),
    [
        ("sendrecv", "sendrecv", ["call", "declined"], "sendrecv"),
        ("recvonly", "sendonly", ["playback", "call"], "sendrecv"),
        ("sendonly", "recvonly", ["call", "playback"], "sendrecv"),
        ("inactive", "sendonly", ["idle", "call"], "recvonly"),
        ("inactive", "sendrecv", ["idle", "call"], "sendrecv"),
        ("recvonly", "sendrecv", ["idle", "call"], "sendrecv"),
        ("recvonly", "inactive", ["call", "declined"], "sendonly"),
        ("inactive", "inactive", ["call", "declined"], "inactive"),
    ],
)
def test_of_two_audio_sections_the_one_with_the_microphone_is_used(
    first: str, second: str, expected: list[str], direction: str
) -> None:
    text = offer(with_direction(AUDIO, first), with_direction(SECOND, second))
    assert uses(text) == expected
    read = read_offer(text)
    assert read.direction == direction
    answer = write_answer(read, OURS)
    assert answer.count("a=ssrc:7 ") == 1, "one section carries the agent's voice"
    if "playback" in expected:
        play, call = ("\r\nm=audio" + each for each in answer.split("\r\nm=audio")[1:])
        play, call = (play, call) if expected[0] == "playback" else (call, play)
        assert "a=sendonly\r\n" in play
        assert "a=msid:antiphon voice" in play
        assert "a=recvonly\r\n" in call


def test_a_microphone_that_can_t_be_used_leaves_the_call_to_the_other_section() -> None:
    broken = with_direction(SECOND, "sendonly").replace("opus", "speex").replace(" 0 8 13", " 13")
    assert uses(offer(with_direction(AUDIO, "recvonly"), broken)) == ["call", "declined"]


# ---- session level -----------------------------------------------------------------------------------------


def test_what_a_session_says_counts_for_its_sections() -> None:
    moved = ["a=sendrecv", "a=setup:actpass", "a=ice-ufrag:yp5F", "a=ice-pwd:ssINDzFUccef6jE037Z+Xf0J"]
    moved += re.findall("a=fingerprint:.*(?=\r)", AUDIO) + re.findall("a=extmap:1 .*(?=\r)", AUDIO)
    bare = "".join(f"{line}\r\n" for line in (AUDIO + DATA).split("\r\n")[:-1] if line not in moved)
    text = offer(bare, extra="".join(f"{line}\r\n" for line in moved))
    assert read_offer(text) == PLAIN["chromium"]
    assert read_offer(text.replace("a=sendrecv", "a=sendonly")).direction == "recvonly"
    assert read_offer(text.replace("a=sendrecv", "a=inactive")).direction == "inactive"
    assert not read_offer(text.replace("a=setup:actpass", "a=setup:active")).client


def test_every_fingerprint_of_a_client_that_can_be_checked_counts() -> None:
    sha512 = "sha-512 " + ":".join(["0f"] * 64)
    text = re.sub("(a=fingerprint:.*\r\n)", rf"a=fingerprint:sha-1 AA:BB\r\n\1a=fingerprint:{sha512}\r\n\1", CHROMIUM)
    (first, *_), others = PLAIN["chromium"].fingerprints, read_offer(text).fingerprints
    assert others == (first, ("sha-512", ":".join(["0F"] * 64)))


@pytest.mark.parametrize("role", ["holdconn", "", "both", "passive", "actpass"])
def test_a_setup_that_names_no_role_leaves_it_to_us(role: str) -> None:
    assert read_offer(changed("a=setup:actpass", f"a=setup:{role}")).client


# ---- protocols and the shared port ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "protocol",
    ["UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "TCP/TLS/RTP/SAVPF", "RTP/AVPF", "RTP/AVP"],
)
def test_the_answer_repeats_the_protocol(protocol: str) -> None:
    answer = write_answer(read_offer(changed("UDP/TLS/RTP/SAVPF", protocol)), OURS)
    assert f"m=audio 9 {protocol} 111 110\r\n" in answer
    assert ("a=rtcp-fb" in answer) is protocol.endswith("F")


def test_the_form_of_data_channels_before_rfc_8841_is_answered_in_kind() -> None:
    old = DATA.replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5001").replace(
        "a=sctp-port:5000", "a=sctpmap:5001 webrtc-datachannel 1024"
    )
    for text in (old, old.replace("a=sctpmap:5001 webrtc-datachannel 1024\r\n", "")):
        read = read_offer(offer(AUDIO, text))
        assert read.data_port == 5001
        answer = write_answer(read, OURS)
        assert "m=application 9 DTLS/SCTP 5000\r\n" in answer
        assert "a=sctpmap:5000 webrtc-datachannel " in answer
    for protocol in ("DTLS/SCTP", "TCP/DTLS/SCTP"):
        answer = write_answer(read_offer(offer(AUDIO, DATA.replace("UDP/DTLS/SCTP", protocol))), OURS)
        assert f"m=application 9 {protocol} webrtc-datachannel\r\n" in answer


def test_one_port_for_both_is_answered_where_it_is_offered_in_either_way() -> None:
    for offered in ("a=rtcp-mux", "a=rtcp-mux-only", "a=rtcp-mux\r\na=rtcp-mux-only"):
        answer = write_answer(read_offer(changed("a=rtcp-mux", offered)), OURS)
        assert answer.count("a=rtcp-mux\r\n") == 1
        assert "rtcp-mux-only" not in answer


# ---- codecs --------------------------------------------------------------------------------------------------


def audio_with(formats: str, *rtpmaps: str) -> Offer:
    section = re.sub("a=(rtpmap|fmtp|rtcp-fb):.*\r\n", "", AUDIO).replace("111 63 9 0 8 13 110 126", formats)
    return read_offer(offer(section + "".join(f"a=rtpmap:{each}\r\n" for each in rtpmaps), DATA))


@pytest.mark.parametrize(
    ("formats", "rtpmaps", "codec", "telephone"),
    [
        ("0 8 101", ["101 telephone-event/8000"], Codec("PCMU", 0), (101, 8000)),
        ("8 0", [], Codec("PCMA", 8), None),
        ("18 8", ["18 G729/8000", "8 PCMA"], Codec("PCMA", 8), None),
        ("96 0", ["96 pcma/8000/1"], Codec("PCMA", 96), None),
        ("0 111", ["111 opus/48000/2"], Codec("opus", 111), None),
        ("0 111", ["111 OPUS/48000"], Codec("opus", 111), None),
        ("0", ["111 opus/48000/2"], Codec("PCMU", 0), None),
        ("111 8", ["111 opus/16000"], Codec("PCMA", 8), None),
        ("97 0", ["97 PCMU/16000"], Codec("PCMU", 0), None),
        ("97 8", ["97 PCMU/8000/2"], Codec("PCMA", 8), None),
        ("0 110 126", ["110 telephone-event/48000", "126 telephone-event/8000"], Codec("PCMU", 0), (126, 8000)),
    ],
)
def test_the_codec_is_opus_where_it_is_offered_and_else_the_first_law(
    formats: str, rtpmaps: list[str], codec: Codec, telephone: tuple[int, int] | None
) -> None:
    read = audio_with(formats, *rtpmaps)
    assert (read.codec, read.telephone) == (codec, telephone)
    answer = write_answer(read, OURS)
    assert f"a=rtpmap:{codec.rtpmap}\r\n" in answer
    keys = f" {telephone[0]}" if telephone else ""
    assert f"m=audio 9 UDP/TLS/RTP/SAVPF {codec.payload_type}{keys}\r\n" in answer
    assert ("useinbandfec" in answer) is (codec.name == "opus")


def test_another_offer_keeps_the_codec_of_the_call_while_it_lists_it() -> None:
    assert read_offer(CHROMIUM, Codec("PCMA", 8)).codec == Codec("PCMA", 8)
    assert read_offer(CHROMIUM, Codec("PCMA", 9)).codec == Codec("opus", 111)
    assert read_offer(CHROMIUM).codecs == (Codec("opus", 111), Codec("PCMU", 0), Codec("PCMA", 8))


def test_a_section_that_a_running_call_has_stays_over_a_hold() -> None:
    """One that is declined once is gone: the client would have to make another for the sound to come back."""
    opus = Codec("opus", 111)
    for directions in (("inactive", "inactive"), ("recvonly", "inactive"), ("inactive", "sendonly")):
        first, second = (with_direction(s, d) for s, d in zip((AUDIO, SECOND), directions, strict=True))
        read = read_offer(offer(first, second, DATA), opus)
        assert sorted(section.use for section in read.sections) == ["call", "data", "idle"]
        assert "m=audio 0 " not in write_answer(read, OURS)
    both = offer(with_direction(AUDIO, "recvonly"), with_direction(SECOND, "sendonly"), DATA)
    assert [section.use for section in read_offer(both, opus).sections] == ["playback", "call", "data"]


# ---- how the client wants its Opus --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        "stereo=1;sprop-stereo=1",
        "cbr=1; usedtx=1",
        "maxaveragebitrate=0",
        "maxaveragebitrate=99999999999999999999",
        "maxplaybackrate=7;sprop-maxcapturerate=8000",
        "minptime=3;ptime=120",
        "useinbandfec=",
        "useinbandfec=2 stereo",
        "; ;;",
        "x" * 5000,
    ],
)
def test_parameters_of_opus_that_we_do_not_follow_change_nothing(wanted: str) -> None:
    text = re.sub(r"a=fmtp:111 .*", f"a=fmtp:111 {wanted}", CHROMIUM)
    assert wanted in text
    assert read_offer(text).codec == PLAIN["chromium"].codec


@pytest.mark.parametrize("milliseconds", ["0", "-1", "10", "60", "120", "20.0", "1e9", "abc", "9" * 30])
def test_a_length_of_packets_that_the_client_wishes_refuses_nothing(milliseconds: str) -> None:
    wished = f"a=ptime:{milliseconds}\r\na=maxptime:{milliseconds}\r\na=rtcp-mux"
    assert read_offer(CHROMIUM.replace("a=rtcp-mux", wished, 1)) == PLAIN["chromium"]
