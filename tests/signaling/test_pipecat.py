"""The exchange of Pipecat's small WebRTC transport, against stand-ins on a real bus; its `sessionId` alone."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes.signaling import OFFER, StandIns

from antiphon.schemas.messages import CallStatus
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.protocols.pipecat import MAX_SETTINGS_BYTES, session_of, settings_in

CALL = "rtc_000000000000000000000001"
PAGE = {"Origin": "http://localhost:5173"}


def offer(**more: Any) -> dict[str, Any]:
    return {"sdp": OFFER, "type": "offer", "pc_id": None, "restart_pc": False, **more}


@pytest.mark.process
def test_a_page_of_another_origin_places_a_call_in_rtvi_and_names_it_again(
    http: httpx.Client, healthy: StandIns
) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    allowed = http.options("/api/offer", headers=PAGE | preflight)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == PAGE["Origin"]
    asked = {"agent": "concierge", "session": {"instructions": "Be short."}, "own": 1}
    placed = http.post("/api/offer", json=offer(requestData=asked), headers=PAGE)
    assert placed.status_code == 200, placed.text
    assert placed.headers["access-control-allow-origin"] == PAGE["Origin"]
    answer = placed.json()
    assert (answer["type"], answer["pc_id"]) == ("answer", CALL)
    assert "a=candidate" in answer["sdp"]
    transceiver = healthy.running[0]
    request = transceiver.opened[-1]
    assert (request.dialect, request.agent, request.session_id) == ("rtvi", "concierge", None)
    assert request.session == {"instructions": "Be short.", "agent": "concierge"}

    candidates = {"pc_id": CALL, "candidates": [{"candidate": "x", "sdp_mid": "0", "sdp_mline_index": 0}]}
    assert http.patch("/api/offer", json=candidates, headers=PAGE).json() == {"status": "success"}
    # The same connection again: ICE restarts. A new one in its place: a new call, and the old one ends.
    again = http.post("/api/offer", json=offer(pc_id=CALL))
    assert (again.status_code, again.json()["pc_id"]) == (200, CALL)
    assert transceiver.opened[-1].session_id == CALL
    assert not transceiver.hung_up
    assert http.post("/api/offer", json=offer(pc_id=CALL, restart_pc=True)).status_code == 200
    assert transceiver.opened[-1].session_id is None
    assert transceiver.hung_up == [CALL]
    # The name of a connection to another server is none: the client wants a call.
    assert http.post("/api/offer", json=offer(pc_id="SmallWebRTCConnection#0-1f")).status_code == 200
    # With a request of its own before the offer.
    started = http.post("/start", json={"transport": "webrtc", "body": {"agent": "concierge", "session": {"a": 1}}})
    assert started.status_code == 200, started.text
    path = f"/sessions/{started.json()['sessionId']}/api/offer"
    assert http.post(path, content=f'{{"sdp": {OFFER!r}}}'.replace("'", '"')).json()["detail"]
    placed = http.post(path, json=offer())
    assert placed.status_code == 200, placed.text
    request = transceiver.opened[-1]
    assert (request.agent, request.session) == ("concierge", {"a": 1, "agent": "concierge"})
    assert http.patch(path, json={"pc_id": CALL, "candidates": []}).status_code == 200


@pytest.mark.process
@pytest.mark.nightly
def test_a_caller_to_whom_the_agent_said_good_bye_is_not_called_back(http: httpx.Client, healthy: StandIns) -> None:
    transceiver = healthy.running[0]
    transceiver.status = CallStatus(
        session_id=CALL, state="ended", connected=True, spoke=True, reason="hang_up", cause="done"
    )
    refused = http.post("/api/offer", json=offer(pc_id=CALL, restart_pc=True))
    assert refused.status_code == 404
    assert not transceiver.opened
    transceiver.status = transceiver.status.model_copy(update={"reason": "client_vanished", "cause": ""})
    assert http.post("/api/offer", json=offer(pc_id=CALL, restart_pc=True)).status_code == 200
    assert not transceiver.hung_up, "it has ended already"


BAD: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/api/offer", {}, 400),
    ("POST", "/api/offer", {"sdp": 1, "type": "offer"}, 400),
    ("POST", "/api/offer", {"sdp": "v=0", "type": "answer"}, 400),
    ("POST", "/api/offer", {"sdp": "nonsense", "type": "offer"}, 400),
    ("POST", "/api/offer", offer(request_data=[]) | {"request_data": [1]}, 400),
    ("POST", "/api/offer", offer(request_data={"session": [1]}), 400),
    ("POST", "/api/offer", offer(request_data={"agent": "../x"}), 400),
    ("POST", "/api/offer", offer(pc_id="rtc_nobody"), 404),
    ("POST", "/sessions/none/api/offer", offer(), 404),
    ("POST", "/sessions/s_e30x/api/offer", offer(), 404),
    ("POST", "/start", {"transport": "daily"}, 400),
    ("POST", "/start", {"body": [1]}, 400),
    ("POST", "/start", {"body": {"session": {"a": "x" * 3000}}}, 413),
    ("PATCH", "/api/offer", {"candidates": []}, 404),
    ("PATCH", "/api/offer", {"pc_id": CALL}, 400),
    ("PATCH", "/api/offer", {"pc_id": CALL, "candidates": [1] * 300}, 400),
]


@pytest.mark.process
@pytest.mark.nightly
def test_bad_requests_are_errors_with_a_detail(http: httpx.Client, healthy: StandIns) -> None:
    for method, path, body, status in BAD:
        refused = http.request(method, path, json=body)
        assert refused.status_code == status, f"{method} {path} {body}: {refused.text}"
        assert refused.json()["detail"] == refused.json()["error"]["message"]


names = st.text("abc", max_size=3)


@pytest.mark.pure
@given(st.fixed_dictionaries({}, optional={"agent": names, "session": st.dictionaries(names, st.text(max_size=9))}))
def test_a_session_id_holds_what_was_put_in(settings: dict[str, Any]) -> None:
    held = {name: value for name, value in settings.items() if value}
    assert settings_in(session_of(held)) == held


@pytest.mark.pure
@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: "s_" + data.hex()))
def test_any_other_text_is_no_session_id(text: str) -> None:
    with contextlib.suppress(ApiError):
        assert isinstance(settings_in(text), dict)


@pytest.mark.pure
def test_settings_that_fit_into_no_url_are_refused() -> None:
    with pytest.raises(ApiError, match="requestData"):
        session_of({"session": {"a": "x" * MAX_SETTINGS_BYTES}})
