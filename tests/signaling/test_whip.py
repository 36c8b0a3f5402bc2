"""WHIP (RFC 9725) against stand-ins on a real bus: placing, candidates, ICE restarts, hanging up, what is refused."""

from __future__ import annotations

import httpx
import pytest
from support.processes.signaling import OFFER, StandIns

from antiphon.schemas.messages import IceCredentials, Opened, Refused

pytestmark = pytest.mark.process

WHIP = "/v1/whip"
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
CANDIDATES = (
    "a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n"
    "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n"
)
NEW = IceCredentials(ufrag="B" + "n" * 22, password="p" * 24)


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_a_client_that_speaks_is_placed_and_gets_all_that_the_rfc_wants(http: httpx.Client, healthy: StandIns) -> None:
    placed = http.post(f"{WHIP}/echo?agent=", content=OFFER, headers=SDP | {"Origin": "http://localhost"})
    assert placed.status_code == 201
    assert placed.headers["content-type"] == "application/sdp"
    assert placed.headers["location"].startswith(f"{WHIP}/sessions/rtc_")
    assert placed.headers["etag"] == '"A10NkWxL48v93RVD0x2nY9w"'
    assert placed.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
    assert "link" not in placed.headers
    exposed = placed.headers["access-control-expose-headers"]
    assert {"Location", "ETag", "Link"} <= set(exposed.split(", "))
    assert "a=rtcp-mux-only" in placed.text
    request = healthy.running[0].opened[-1]
    assert request.agent == "echo"
    assert "a=sendonly" in request.offer
    assert "a=sendrecv" not in request.offer
    assert http.post(f"{WHIP}?sendrecv=true", content=OFFER, headers=SDP).status_code == 201
    assert healthy.running[0].opened[-1].offer == OFFER
    refused = {
        "multipart": (http.post(WHIP, files={"sdp": (None, OFFER)}), (415, "unsupported_media_type")),
        "a fragment": (http.post(WHIP, content=CANDIDATES, headers=FRAGMENT), (415, "unsupported_media_type")),
        "no SDP": (http.post(WHIP, content="{}", headers=SDP), (400, "bad_offer")),
        "recvonly": (
            http.post(WHIP, content=OFFER.replace("sendrecv", "recvonly"), headers=SDP),
            (422, "not_sending"),
        ),
        "video only": (http.post(WHIP, content=OFFER.replace("m=audio", "m=video"), headers=SDP), (422, "no_audio")),
        "no name": (http.post(f"{WHIP}/a.b", content=OFFER, headers=SDP), (400, "bad_agent")),
        "no such path": (http.post(f"{WHIP}/a/b", content=OFFER, headers=SDP), (404, "not_found")),
    }
    for what, (response, expected) in refused.items():
        assert code_of(response) == expected, what
    assert refused["a fragment"][0].headers["accept-post"] == "application/sdp"


def test_candidates_and_restarts_go_by_the_entity_tag_of_the_ice_session(http: httpx.Client, healthy: StandIns) -> None:
    placed = http.post(WHIP, content=OFFER, headers=SDP)
    location, tag = placed.headers["location"], placed.headers["etag"]
    transceiver = healthy.running[0]
    session_id = location.rsplit("/")[-1]

    def patch(if_match: str | None, content: str = CANDIDATES, kind: dict[str, str] = FRAGMENT) -> httpx.Response:
        condition = {} if if_match is None else {"If-Match": if_match}
        return http.patch(location, content=content, headers=kind | condition)

    transceiver.exchanged = Opened(session_id=session_id, answer="", cluster=0)
    taken = patch(tag)
    assert taken.status_code == 204
    assert "etag" not in taken.headers
    assert transceiver.opened[-1].ice == IceCredentials(ufrag="EsAw", password="P2uYro0UCOQ4zxjKXaWCBui1")
    sent = {
        tag: [tag.strip('"')],
        f'"other", {tag}': ["other", tag.strip('"')],
        "*": ["*"],
        '"*"': ["*"],
        f"W/{tag}": [],
        tag.strip('"'): [tag.strip('"')],
    }
    for header, sessions in sent.items():
        assert patch(header).status_code == 204
        assert transceiver.opened[-1].ice_sessions == sessions, header

    transceiver.exchanged = Refused(code="stale_ice", message="another ICE session")
    assert code_of(patch('"old"')) == (412, "stale_ice_session")
    assert code_of(patch(None)) == (428, "missing_if_match")
    assert code_of(patch("*", "a=ice-ufrag:x")) == (400, "bad_fragment")
    assert code_of(patch("*", OFFER, SDP)) == (415, "unsupported_media_type")

    transceiver.exchanged = Opened(session_id=session_id, answer="", cluster=0, ice=NEW)
    restarted = patch("*")
    assert restarted.status_code == 200
    assert restarted.headers["content-type"] == "application/trickle-ice-sdpfrag"
    assert restarted.headers["etag"] == f'"{NEW.ufrag}"'
    for line in (f"a=ice-ufrag:{NEW.ufrag}", f"a=ice-pwd:{NEW.password}", "a=ice-lite", "a=mid:0"):
        assert line in restarted.text.split("\r\n")
    assert "a=candidate:11 1 udp 2130706000 203.0.113.10 3478 typ host" in restarted.text

    elsewhere = http.patch(f"/v1/realtime/calls/{session_id}", content=CANDIDATES, headers=FRAGMENT | {"If-Match": "*"})
    assert elsewhere.status_code == 200, "a call's other path takes fragments too"

    for method in ("GET", "HEAD"):
        empty = http.request(method, location)
        assert (empty.status_code, empty.content) == (204, b"")
    assert http.put(location).status_code == 405
    ended = http.delete(location, headers={"If-Match": '"of no meaning here"'})
    assert (ended.status_code, transceiver.hung_up) == (200, [session_id])
    healthy.stop(transceiver)
    assert http.delete(location).status_code == 404
    assert http.get(location).status_code == 404
    assert patch("*").status_code == 404
