"""Placing and ending calls, against stand-ins on a real bus."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support.processes.signaling import ANSWER, OFFER, StandIns, until

from antiphon.schemas.messages import Opened, Refused

pytestmark = pytest.mark.process

CALLS = "/v1/realtime/calls"
SDP = {"Content-Type": "application/sdp"}


def error_of(response: httpx.Response) -> dict[str, str]:
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    return dict(error)


def placed(http: httpx.Client) -> httpx.Response:
    response = http.post(CALLS, content=OFFER, headers=SDP)
    assert response.status_code == 201, response.text
    return response


def test_an_offer_gets_an_answer_with_the_relays_in_it(http: httpx.Client, healthy: StandIns) -> None:
    response = placed(http)
    assert response.headers["content-type"] == "application/sdp"
    assert response.headers["location"] == "/v1/realtime/calls/rtc_000000000000000000000001"
    assert "a=candidate:11 1 udp 2130706000 203.0.113.10 3478 typ host\r\na=end-of-candidates" in response.text
    assert "10.0.0.1" not in response.text


def test_with_two_relays_both_are_offered_and_their_tcp_addresses_last(http: httpx.Client, stand_ins: StandIns) -> None:
    stand_ins.transceiver()
    stand_ins.relay("r1", "203.0.113.10:3478", tcp_addresses=["203.0.113.10:443"])
    stand_ins.relay("r2", "203.0.113.20:3478", tcp_addresses=["203.0.113.20:443"])

    def offered() -> list[str]:
        response = http.post(CALLS, content=OFFER, headers=SDP)
        return [line for line in response.text.split("\r\n") if line.startswith("a=candidate")]

    lines = until(lambda: (found := offered()) and len(found) == 4 and found, "both relays are offered")
    assert isinstance(lines, list)
    assert [line.split(" ")[2] for line in lines] == ["udp", "udp", "tcp", "tcp"]
    assert {line.split(" ")[4] for line in lines[:2]} == {"203.0.113.10", "203.0.113.20"}
    assert all(line.endswith(" 443 typ host tcptype passive") for line in lines[2:])


def test_multipart_carries_the_offer_and_the_session(http: httpx.Client, stand_ins: StandIns) -> None:
    transceiver = stand_ins.transceiver()
    stand_ins.relay()
    session = {"type": "realtime", "agent": "echo", "instructions": "be brief"}
    until(lambda: http.post(CALLS, content=OFFER, headers=SDP).status_code == 201, "a call is placed")
    for sdp in ((None, OFFER), (None, OFFER, "application/sdp"), ("offer.sdp", OFFER)):
        files = {"sdp": sdp, "session": (None, json.dumps(session), "application/json")}
        assert http.post(CALLS, files=files).status_code == 201
        assert transceiver.opened[-1].offer == OFFER
        assert transceiver.opened[-1].agent == "echo"
        assert transceiver.opened[-1].session == session


def test_the_agent_is_named_by_url_session_or_known_model(http: httpx.Client, healthy: StandIns) -> None:
    transceiver = healthy.transceiver(slot=2, capacity=10**6)  # the least loaded after the first call
    healthy.agent("echo")
    until(lambda: "echo" in http.get("/v1/agents").json()["agents"], "echo is listed")
    placed(http)
    until(lambda: placed(http) and transceiver.opened, "the second transceiver is asked")

    def agent_for(query: str = "", **session: str) -> str:
        parts = {"sdp": (None, OFFER), "session": (None, json.dumps(session))}
        assert http.post(CALLS + query, files=parts).status_code == 201
        return transceiver.opened[-1].agent

    healthy.stop(healthy.running[0])  # only the second is left
    until(lambda: agent_for() == "concierge", "the default agent is asked for")
    assert agent_for("?agent=echo") == "echo"
    assert agent_for("?agent=other", agent="echo") == "other"
    assert agent_for(agent="echo") == "echo"
    assert agent_for(model="echo") == "echo"
    assert agent_for(model="gpt-realtime") == "concierge"
    assert agent_for("?model=gpt-realtime") == "concierge"


def test_refusing_dead_and_mute_transceivers_are_passed_over(http: httpx.Client, stand_ins: StandIns) -> None:
    stand_ins.relay()
    full = stand_ins.transceiver(1, capacity=1000, reply=Refused(code="full", message="full"))
    draining = stand_ins.transceiver(2, capacity=900, sessions=1, reply=Refused(code="draining", message="bye"))
    stand_ins.transceiver(3, capacity=800, sessions=2, unreachable=True)
    broken = stand_ins.transceiver(4, capacity=700, sessions=3, reply=b"\x00 nonsense")
    mute = stand_ins.transceiver(5, capacity=600, sessions=4, silent=True)
    last = stand_ins.transceiver(6, capacity=500, sessions=499)
    asked = (full, draining, broken, mute, last)  # a machine that stalls may let an announcement expire for a while

    def is_taken() -> bool:
        return http.post(CALLS, content=OFFER, headers=SDP).status_code == 201

    until(lambda: is_taken() and all(each.opened for each in asked), "all are asked")


@pytest.mark.nightly
def test_a_session_that_was_opened_too_late_for_its_caller_is_hung_up(http: httpx.Client, stand_ins: StandIns) -> None:
    stand_ins.relay()
    may_answer = threading.Event()
    slow = stand_ins.transceiver(1, capacity=1000, answers_after=may_answer)
    until(lambda: http.post(CALLS, content=OFFER, headers=SDP).status_code == 503 and slow.opened, "it is given up on")
    quick = stand_ins.transceiver(2)
    until(lambda: http.post(CALLS, content=OFFER, headers=SDP).status_code == 201 and quick.opened, "another takes it")
    assert slow.hung_up == []
    may_answer.set()
    until(lambda: slow.hung_up == [f"rtc_{1:024d}"] * len(slow.opened), "each late session is hung up")
    assert quick.hung_up == []


def test_when_nobody_takes_the_call_it_is_503_with_a_time_to_come_back(http: httpx.Client, stand_ins: StandIns) -> None:
    def refused_with(code: str) -> bool:
        response = http.post(CALLS, content=OFFER, headers=SDP)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        return error_of(response)["code"] == code

    until(lambda: refused_with("no_relay"), "no relay is named")
    relay = stand_ins.relay()
    until(lambda: refused_with("no_transceiver"), "no transceiver is named")
    transceiver = stand_ins.transceiver(reply=Refused(code="full", message="full"))
    until(lambda: refused_with("overloaded"), "overload is named")
    stand_ins.stop(transceiver)
    stand_ins.stop(relay)


@pytest.mark.parametrize("code", ["bad_offer", "no_audio", "no_opus"])
def test_a_transceivers_word_on_the_offer_is_final(http: httpx.Client, stand_ins: StandIns, code: str) -> None:
    stand_ins.relay()
    refusal = Refused.model_validate({"code": code, "message": "the offer is wrong here"})
    stand_ins.transceiver(reply=refusal)
    response = until(
        lambda: (r := http.post(CALLS, content=OFFER, headers=SDP)).status_code != 503 and r, "the refusal arrives"
    )
    assert isinstance(response, httpx.Response)
    assert response.status_code == 400
    assert error_of(response) == {
        "message": "the offer is wrong here",
        "type": "invalid_request_error",
        "code": code,
        "param": "sdp",
    }


def test_an_unknown_agent_is_404_and_the_present_ones_are_named(http: httpx.Client, healthy: StandIns) -> None:
    healthy.running[0].reply = Refused(code="no_agent", message="nobody claimed it")
    response = http.post(f"{CALLS}?agent=nobody", content=OFFER, headers=SDP)
    assert response.status_code == 404
    error = error_of(response)
    assert error["code"] == "no_agent"
    assert "'nobody'" in error["message"]
    assert "concierge" in error["message"]
    busy = http.post(CALLS, content=OFFER, headers=SDP)
    assert busy.status_code == 503
    assert error_of(busy)["code"] == "agent_busy"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Refused(code="full", message="so many clients connect right now", retry_after=7), "overloaded"),
        (Refused(code="no_agent", message="it has too much to do", retry_after=7), "agent_busy"),
    ],
)
def test_a_refusal_for_load_says_by_every_protocol_when_to_try_again(
    http: httpx.Client, healthy: StandIns, reply: Refused, code: str
) -> None:
    healthy.running[0].reply = reply
    for answer in (
        http.post(CALLS, content=OFFER, headers=SDP),
        http.post("/v1/realtime?model=any", content=OFFER, headers=SDP),
        http.post("/v1/whip", content=OFFER, headers=SDP),
        http.post("/v1/live/sessions", json={"transport": {"type": "webrtc", "sdp": OFFER}}),
        http.post("/api/offer", json={"sdp": OFFER, "type": "offer"}),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7"), answer.url
        assert error_of(answer)["code"] == code


def test_an_answer_that_names_a_transceiver_is_not_passed_on_and_its_session_ended(
    http: httpx.Client, healthy: StandIns
) -> None:
    transceiver = healthy.running[0]
    leaking = ANSWER.replace("a=setup:active", "a=candidate:1 1 udp 1 10.0.0.1 5000 typ host")
    transceiver.reply = Opened(session_id=f"rtc_{1:024d}", answer=leaking)
    response = http.post(CALLS, content=OFFER, headers=SDP)
    assert response.status_code == 502
    assert error_of(response)["code"] == "bad_answer"
    assert "10.0.0.1" not in response.text
    assert transceiver.hung_up == [f"rtc_{1:024d}"]


def test_a_call_is_hung_up_either_way(http: httpx.Client, healthy: StandIns) -> None:
    transceiver = healthy.running[0]
    location = placed(http).headers["location"]
    assert http.post(f"{location}/hangup").status_code == 200
    assert http.delete(location).status_code == 204
    assert transceiver.hung_up == [location.rsplit("/")[-1]] * 2


def test_a_call_that_nobody_holds_is_404(http: httpx.Client, healthy: StandIns) -> None:
    for name in ("rtc_" + "x" * 24, "rtc_..%2F", "nonsense", "*", "rtc_" + "y" * 300, "%00"):
        for response in (http.post(f"{CALLS}/{name}/hangup"), http.delete(f"{CALLS}/{name}")):
            assert response.status_code == 404, name
            assert error_of(response)["code"] in ("no_call", "not_found"), name


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_another_offer_of_a_running_call_goes_to_its_owner(http: httpx.Client, healthy: StandIns, method: str) -> None:
    transceiver = healthy.running[0]
    location = placed(http).headers["location"]
    answered = http.request(method, location, content=OFFER, headers=SDP)
    assert answered.status_code == 200
    assert answered.headers["content-type"] == "application/sdp"
    assert "a=candidate:11 1 udp 2130706000 203.0.113.10 3478 typ host\r\na=end-of-candidates" in answered.text
    assert [request.session_id for request in transceiver.opened] == [None, location.rsplit("/")[-1]]


def test_another_offer_for_no_call_or_of_no_use_is_refused(http: httpx.Client, healthy: StandIns) -> None:
    location = placed(http).headers["location"]
    gone = http.post(f"{CALLS}/rtc_{'x' * 24}", content=OFFER, headers=SDP)
    assert (gone.status_code, error_of(gone)["code"]) == (404, "no_call")
    bad = http.post(location, content="v=1", headers=SDP)
    assert (bad.status_code, error_of(bad)["code"]) == (400, "bad_offer")
    fragment = http.patch(
        location, content="a=ice-ufrag:x", headers={"Content-Type": "application/trickle-ice-sdpfrag"}
    )
    assert (fragment.status_code, error_of(fragment)["code"]) == (428, "missing_if_match")
    healthy.running[0].reply = Refused(code="bad_offer", message="another fingerprint")
    stranger = http.post(location, content=OFFER, headers=SDP)
    assert (stranger.status_code, error_of(stranger)["message"]) == (400, "another fingerprint")
    healthy.running[0].reply = Refused(code="no_session", message="it is over")
    assert http.post(location, content=OFFER, headers=SDP).status_code == 404


def test_a_call_whose_transceiver_died_is_404(http: httpx.Client, healthy: StandIns) -> None:
    location = placed(http).headers["location"]
    healthy.stop(healthy.running[0])
    response = http.post(f"{location}/hangup")
    assert response.status_code == 404
    assert error_of(response)["code"] == "no_call"


def test_twenty_offers_at_once_are_spread_by_load(http: httpx.Client, healthy: StandIns) -> None:
    first = healthy.running[0]
    second = healthy.transceiver(slot=2)
    until(lambda: placed(http) and second.opened, "the second is known")
    before = len(first.opened), len(second.opened)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: placed(http), range(10)))
    taken = len(first.opened) - before[0], len(second.opened) - before[1]
    assert sum(taken) == 10
    assert min(taken) > 0
