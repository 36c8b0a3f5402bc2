"""Fragments of Trickle ICE: as clients write them, as they write them oddly, and as nobody should."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.schemas.messages import IceCredentials
from antiphon.signaling.placement.ice_fragment import FragmentError, Section, read_fragment, write_fragment

pytestmark = pytest.mark.pure

THEIRS = IceCredentials(ufrag="EsAw", password="P2uYro0UCOQ4zxjKXaWCBui1")
OURS = IceCredentials(ufrag="A10NkWxL48v93RVD0x2nY9w", password="9e93836b07bc67ece92ef47b")
CREDENTIALS = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
CANDIDATE = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"

FORMS = {
    "in its section": f"a=group:BUNDLE 0 1\r\n{AUDIO}{CREDENTIALS}{CANDIDATE}a=end-of-candidates\r\n",
    "before all sections": f"a=group:BUNDLE 0\r\n{CREDENTIALS}{AUDIO}{CANDIDATE}",
    "with LF, blank lines and blanks": f"\n{AUDIO}{CREDENTIALS}".replace("\r\n", " \t\n\n") + "\n",
    "with lines of a whole description": f"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{AUDIO}{CREDENTIALS}",
    "with attributes that nobody knows": f"a=ice-options:trickle\r\na=x:y\r\na=z\r\n{AUDIO}{CREDENTIALS}b=AS:1\r\n",
    "with candidates cut short": f"{AUDIO}{CREDENTIALS}a=candidate:\r\na=candidate:1 1 udp\r\n",
    "with others in a section that is not the audio": (
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:other\r\na=ice-pwd:0123456789abcdefghijkl\r\n"
        f"{AUDIO}{CREDENTIALS}"
    ),
    "without a section": CREDENTIALS,
    "without a line end": f"{AUDIO}{CREDENTIALS}".removesuffix("\r\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_credentials_are_found_wherever_a_client_writes_them(form: str) -> None:
    assert read_fragment(FORMS[form]).credentials == THEIRS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no a=ice-ufrag"),
        (f"{AUDIO}{CANDIDATE}", "no a=ice-ufrag"),
        ("a=ice-ufrag:EsAw\r\n", "ice-pwd is missing"),
        ("a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n", "a=ice-ufrag is 'missing'"),
        ("a=ice-ufrag:EsA\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n", "a=ice-ufrag is 'EsA'"),
        ("a=ice-ufrag:EsAw\r\na=ice-pwd:short\r\n", "ice-pwd"),
        (f"a=ice-ufrag:{'a' * 257}\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n", "4 to 256"),
        ("a=ice-ufrag:Es-w\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n", "letters and digits"),
        (f"{CREDENTIALS}nonsense\r\n", "line 3"),
        (f"{CREDENTIALS}m=audio\r\n", "line 3"),
        ('{"sdp": "v=0"}', "line 1"),
        (CREDENTIALS + AUDIO * 100, "more than 64"),
    ],
)
def test_what_is_no_fragment_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(FragmentError, match=says):
        read_fragment(text)


@given(st.text() | st.text("am=:\r\n 0ice-ufragpwd", max_size=200))
def test_no_text_raises_anything_but_a_fragment_error(text: str) -> None:
    with contextlib.suppress(FragmentError):
        read_fragment(text)


def test_the_answer_repeats_the_clients_section_and_holds_all_that_is_ours() -> None:
    asked = read_fragment(FORMS["in its section"])
    assert asked.section == Section("audio", "UDP/TLS/RTP/SAVPF", "111", "0")
    text = write_fragment(asked, OURS, ["a=candidate:11 1 udp 1 203.0.113.10 3478 typ host"])
    assert text == (
        "a=ice-lite\r\na=ice-options:trickle\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
        "a=ice-ufrag:A10NkWxL48v93RVD0x2nY9w\r\na=ice-pwd:9e93836b07bc67ece92ef47b\r\n"
        "a=candidate:11 1 udp 1 203.0.113.10 3478 typ host\r\na=end-of-candidates\r\n"
    )
    assert read_fragment(text).credentials == OURS


def test_the_answer_to_a_fragment_without_a_section_has_one_without_a_name() -> None:
    text = write_fragment(read_fragment(CREDENTIALS), OURS, [])
    assert "m=audio 9 RTP/AVP 0\r\na=ice-ufrag" in text
    assert "a=mid" not in text
