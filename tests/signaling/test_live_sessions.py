"""Calls placed by the path of the first version, and by JSON: against stand-ins on a real bus."""

from __future__ import annotations

import httpx
import pytest
from support.processes.signaling import OFFER, StandIns

pytestmark = pytest.mark.process

LIVE = "/v1/live/sessions"
TRANSPORT = {"type": "webrtc", "sdp": OFFER}


def test_the_path_of_the_first_version_places_a_call_as_its_clients_expect(
    http: httpx.Client, healthy: StandIns
) -> None:
    sdp = {"Content-Type": "application/sdp"}
    placed = http.post("/v1/realtime?model=gpt-4o-realtime-preview", content=OFFER, headers=sdp)
    assert placed.status_code == 201
    assert placed.headers["content-type"] == "application/sdp"
    assert placed.headers["location"].startswith("/v1/realtime/calls/rtc_")
    assert placed.text.startswith("v=0\r\n")
    assert http.post(placed.headers["location"] + "/hangup").status_code == 200
    assert http.post("/v1/realtime", content="v=1", headers=sdp).json()["error"]["code"] == "bad_offer"


def test_an_offer_in_json_is_answered_in_json(http: httpx.Client, healthy: StandIns) -> None:
    session = {"type": "live", "model": "gpt-live-1", "agent": "echo", "instructions": "be brief"}
    placed = http.post(LIVE, json={"session": session, "transport": TRANSPORT})
    assert placed.status_code == 201
    body = placed.json()
    assert placed.headers["location"] == f"/v1/realtime/calls/{body['session']['id']}"
    assert body["transport"]["type"] == "webrtc"
    assert "a=candidate:11 1 udp 2130706000 203.0.113.10" in body["transport"]["sdp"]
    request = healthy.running[0].opened[-1]
    assert (request.agent, request.offer) == ("echo", OFFER)
    assert request.session == session | {"type": "realtime"}
    assert http.post(LIVE, json={"transport": TRANSPORT}).status_code == 201, "settings may be left out"
    as_sdp = http.post(LIVE, json={"transport": TRANSPORT}, headers={"Accept": "application/sdp"})
    assert as_sdp.text == body["transport"]["sdp"]
    for wrong, code in (
        ({}, "missing_transport"),
        ({"transport": OFFER}, "missing_transport"),
        ({"transport": {"type": "webrtc"}}, "missing_sdp"),
        ({"transport": {"type": "webrtc", "sdp": 5}}, "missing_sdp"),
        ({"transport": {"type": "websocket", "sdp": OFFER}}, "invalid_value"),
        ({"transport": {"type": "webrtc", "sdp": "v=1"}}, "bad_offer"),
        ({"transport": TRANSPORT, "session": []}, "invalid_value"),
        ({"transport": TRANSPORT, "session": {"agent": "a.b"}}, "bad_agent"),
    ):
        refused = http.post(LIVE, json=wrong)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, code), wrong
    assert http.post(LIVE, content=OFFER, headers={"Content-Type": "application/sdp"}).status_code == 415
    assert http.post(f"{LIVE}/{body['session']['id']}/hangup").status_code == 200
