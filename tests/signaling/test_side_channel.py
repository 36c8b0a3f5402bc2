"""The side channel of a call: a stock WebSocket client on one side, a real bus on the other."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from support.processes.signaling import SignalingProcess, StandIns, signaling_process, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process

CALL = "rtc_000000000000000000000001"


def dial(service: SignalingProcess, query: str = f"call_id={CALL}", **options: Any) -> ClientConnection:
    opened: ClientConnection = connect(
        f"{service.url.replace('http', 'ws')}/v1/realtime?{query}", proxy=None, **options
    )
    return opened


def dial_when_joined(service: SignalingProcess) -> ClientConnection:
    """Wait until signaling has joined the bus, then dial."""
    until(lambda: "nats" not in httpx.get(f"{service.url}/healthz").json().get("failing", {}), "signaling has joined")
    return dial(service)


@pytest.fixture
def called(healthy: StandIns, signaling: SignalingProcess) -> SignalingProcess:
    """A transceiver has the call, and signaling has joined the bus."""
    return signaling


def test_events_of_the_agent_arrive_and_events_of_the_client_reach_it(
    called: SignalingProcess, stand_ins: StandIns
) -> None:
    next_message = stand_ins.listen(subjects.data_in("concierge", CALL))
    with dial(called) as socket:
        socket.send(json.dumps({"type": "response.cancel"}))
        message = messages.decode(next_message(), messages.DataMessage)
        assert (message.channel, message.text) == ("oai-events", '{"type": "response.cancel"}')
        event = {"type": "session.created", "event_id": "event_1"}
        stand_ins.publish(subjects.data_out("concierge", CALL), messages.encode(messages.DataMessage.of("other", "{}")))
        stand_ins.publish(
            subjects.data_out("concierge", CALL),
            messages.encode(messages.DataMessage.of("oai-events", json.dumps(event))),
        )
        assert json.loads(socket.recv(10)) == event


def test_it_closes_when_the_call_has_ended(called: SignalingProcess, stand_ins: StandIns) -> None:
    with dial(called) as socket:
        stand_ins.publish(
            subjects.session_event("concierge", CALL), messages.encode(messages.Ended(reason="client_closed"))
        )
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
        assert "client_closed" in closed.value.rcvd.reason


def test_without_a_call_there_is_none(called: SignalingProcess) -> None:
    for query in ("call_id=rtc_nobody", "call_id=../x", "call_id="):
        with pytest.raises(InvalidStatus) as refused, dial(called, query):
            pass
        assert refused.value.response.status_code == 404, query
        assert json.loads(refused.value.response.body or b"")["error"]["code"] == "no_call", query


def test_looking_for_the_call_changes_nothing_in_it(signaling: SignalingProcess, stand_ins: StandIns) -> None:
    transceiver = stand_ins.transceiver()
    with dial_when_joined(signaling):
        pass
    assert transceiver.hung_up == []


def test_a_transceiver_whose_call_is_over_has_it_no_more(signaling: SignalingProcess, stand_ins: StandIns) -> None:
    stand_ins.transceiver().refuses = f"session {CALL} is over"
    with pytest.raises(InvalidStatus) as refused, dial_when_joined(signaling):
        pass
    assert refused.value.response.status_code == 404


def said(socket: ClientConnection) -> str:
    text: str = json.loads(socket.recv(10))["type"]
    return text


def say(stand_ins: StandIns, agent: str, text: str) -> None:
    event = messages.DataMessage.of("oai-events", json.dumps({"type": text}))
    stand_ins.publish(subjects.data_out(agent, CALL), messages.encode(event))


def test_it_goes_on_with_the_next_agent_after_a_transfer(called: SignalingProcess, stand_ins: StandIns) -> None:
    to_first, to_next = (stand_ins.listen(subjects.data_in(agent, CALL)) for agent in ("concierge", "billing"))
    with dial(called) as socket:
        say(stand_ins, "concierge", "first")
        assert said(socket) == "first"
        socket.send("to the first")
        assert messages.decode(to_first(), messages.DataMessage).text == "to the first"
        say(stand_ins, "billing", "early")  # may be published before the event that names it is read
        moved = messages.encode(messages.Transferred(agent="billing"))
        stand_ins.publish(subjects.session_event("concierge", CALL), moved)
        say(stand_ins, "billing", "next")
        assert [said(socket), said(socket)] == ["early", "next"]
        say(stand_ins, "concierge", "too late")
        socket.send("to the next")
        assert messages.decode(to_next(), messages.DataMessage).text == "to the next"
        ended = messages.encode(messages.Ended(reason="hang_up"))
        stand_ins.publish(subjects.session_event("concierge", CALL), ended)  # the call is not with it any more
        say(stand_ins, "billing", "still here")
        assert said(socket) == "still here"
        stand_ins.publish(subjects.session_event("billing", CALL), ended)
        with pytest.raises(ConnectionClosed):
            socket.recv(10)


def test_an_agent_that_does_not_have_the_call_says_nothing_in_it(called: SignalingProcess, stand_ins: StandIns) -> None:
    """NATS lets an agent put any session id behind its own name."""
    with dial(called) as socket:
        say(stand_ins, "evil", "injected")
        moved = messages.encode(messages.Transferred(agent="evil"))
        stand_ins.publish(subjects.session_event("evil", CALL), moved)
        stand_ins.publish(subjects.session_event("evil", CALL), messages.encode(messages.Ended(reason="hang_up")))
        say(stand_ins, "evil", "injected again")
        say(stand_ins, "concierge", "genuine")
        assert said(socket) == "genuine"


def test_a_foreign_page_may_not_connect_without_a_key(called: SignalingProcess) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(called, origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403


def test_with_keys_a_header_or_a_browser_s_subprotocol_opens_it(nats_url: str, stand_ins: StandIns) -> None:
    stand_ins.transceiver()
    stand_ins.relay()
    stand_ins.agent()
    with signaling_process(nats_url, ANTIPHON_API_KEYS="a-key-of-some-length") as service:
        until(lambda: httpx.get(f"{service.url}/healthz").status_code == 200, "the stack is healthy")
        with pytest.raises(InvalidStatus) as refused, dial(service):
            pass
        assert refused.value.response.status_code == 401
        with dial(service, additional_headers={"Authorization": "Bearer a-key-of-some-length"}):
            pass
        protocols = [Subprotocol("realtime"), Subprotocol("openai-insecure-api-key.a-key-of-some-length")]
        with dial(service, subprotocols=protocols) as socket:
            assert socket.subprotocol == "realtime", "the key is not said back"


def test_signaling_stops_in_time_while_a_side_channel_is_open(called: SignalingProcess) -> None:
    with dial(called) as socket:
        assert called.stop() == 0
        with pytest.raises(ConnectionClosed):
            socket.recv(5)
