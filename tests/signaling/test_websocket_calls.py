"""Calls over WebSocket: stock clients on one side, an agent of the SDK on the other, signaling between them."""

from __future__ import annotations

import base64
import json
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from support.processes.agents import EXAMPLES, agent_process
from support.processes.nats import nats_server
from support.processes.signaling import SignalingProcess, StandIns, signaling_process, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning"),  # how openai 3 uses websockets 17
]

LIMIT = 2
KEY = "a-key-of-some-length"


@dataclass
class Stack:
    """NATS, signaling without keys, and the echo agent, which does not speak the realtime protocol."""

    nats_url: str
    signaling: SignalingProcess

    def dial(self, query: str = "model=echo", **options: Any) -> ClientConnection:
        return dial(self.signaling, query, **options)

    def status(self, call_id: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.signaling.url}/v1/realtime/calls/{call_id}").json()
        return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        parts = StandIns(url)
        with (
            signaling_process(url, ANTIPHON_WEBSOCKET_CALLS=str(LIMIT)) as signaling,
            agent_process(url, EXAMPLES / "echo_agent.py"),
        ):
            until(lambda: "echo" in httpx.get(f"{signaling.url}/v1/agents").json()["agents"], "the agent is there")
            until(lambda: any("calls over WebSocket are taken" in line for line in signaling.lines), "it has joined")
            yield Stack(url, signaling)
        parts.close()


def dial(service: SignalingProcess, query: str = "model=echo", **options: Any) -> ClientConnection:
    url = f"{service.url.replace('http', 'ws')}/v1/realtime?{query}"
    opened: ClientConnection = connect(url, proxy=None, max_size=None, **options)
    return opened


def call_id_of(socket: ClientConnection) -> str:
    assert socket.response is not None
    return socket.response.headers["Location"].rpartition("/")[2]


def refusal(service: SignalingProcess, query: str = "model=echo", **options: Any) -> tuple[int, str, str | None]:
    """Status, code and Retry-After."""
    with pytest.raises(InvalidStatus) as refused, dial(service, query, **options):
        pass
    response = refused.value.response
    return response.status_code, json.loads(response.body or b"")["error"]["code"], response.headers.get("Retry-After")


def tone(seconds: float, rate: int = 24000) -> bytes:
    """s16le of 440 Hz."""
    wave = (round(8000 * math.sin(440 * math.tau * n / rate)) for n in range(int(seconds * rate)))
    return array("h", wave).tobytes()


def loudness(pcm: bytes) -> float:
    samples = array("h", pcm or b"\0\0")
    return math.sqrt(sum(each * each for each in samples) / len(samples))


def events_until(connection: RealtimeConnection, kind: str) -> list[Any]:
    """All up to and with the first of this type."""
    events: list[Any] = []
    while not events or events[-1].type != kind:
        events.append(connection.recv())
    return events


def test_the_openai_client_holds_a_call_with_an_agent(stack: Stack) -> None:
    client = OpenAI(base_url=f"{stack.signaling.url}/v1", api_key="unused")
    with client.realtime.connect(model="echo") as connection:
        connection.input_audio_buffer.append(audio=base64.b64encode(tone(1.0)).decode())
        received = b""
        while loudness(received[-9600:]) < 3000:
            delta = events_until(connection, "response.output_audio.delta")[-1]
            received += base64.b64decode(delta.delta)
        assert delta.item_id.startswith("item_")
        session = events_until(connection, "session.created")[-1].session
        status = stack.status(session.id)
        assert (status["status"], status["connected"]) == ("running", True)
        hung_up = httpx.post(f"{stack.signaling.url}/v1/realtime/calls/{session.id}/hangup")
        assert hung_up.status_code == 200
    ended = stack.status(session.id)
    assert (ended["status"], ended["reason"], ended["cause"]) == ("ended", "hang_up", "client")


def test_a_connection_that_is_cut_ends_its_call_at_once(stack: Stack) -> None:
    with stack.dial() as socket:
        call_id = call_id_of(socket)
        assert stack.status(call_id)["status"] == "running"
        socket.socket.close()  # without a closing handshake
        until(lambda: stack.status(call_id)["reason"] == "client_closed", "the call has ended", 2)


def test_one_call_too_many_is_refused_with_a_time_to_wait(stack: Stack) -> None:
    with stack.dial(), stack.dial():
        assert refusal(stack.signaling) == (503, "overloaded", "2")
    until(lambda: _takes(stack), "there is room again")


def _takes(stack: Stack) -> bool:
    try:
        with stack.dial():
            return True
    except InvalidStatus:
        return False


def test_an_agent_that_is_not_there_is_404_before_the_upgrade(stack: Stack) -> None:
    assert refusal(stack.signaling, "agent=nobody") == (404, "no_agent", None)
    assert refusal(stack.signaling, "agent=no+name!") == (400, "bad_agent", None)


def test_the_side_channel_of_a_call_over_websocket_opens_and_ends_with_it(stack: Stack) -> None:
    with stack.dial() as socket:
        with stack.dial(f"call_id={call_id_of(socket)}") as side:
            socket.close()
            with pytest.raises(ConnectionClosed) as closed:
                side.recv(10)
        assert closed.value.rcvd is not None
        assert "client_closed" in closed.value.rcvd.reason


def test_another_offer_for_a_call_over_websocket_is_refused(stack: Stack) -> None:
    with stack.dial() as socket:
        url = f"{stack.signaling.url}/v1/realtime/calls/{call_id_of(socket)}"
        answer = httpx.post(url, content="v=0\r\n", headers={"Content-Type": "application/sdp"})
        assert answer.status_code in (400, 503)
        assert stack.status(call_id_of(socket))["status"] == "running"


def test_with_keys_a_secret_places_its_one_call_by_a_browser_s_subprotocol_and_sigterm_ends_it(stack: Stack) -> None:
    with signaling_process(stack.nats_url, ANTIPHON_API_KEYS=KEY, ANTIPHON_WEBSOCKET_DRAIN_SECONDS="0") as service:
        until(lambda: any("calls over WebSocket are taken" in line for line in service.lines), "it has joined")
        assert refusal(service)[:2] == (401, "missing_api_key")
        authorized = {"Authorization": f"Bearer {KEY}"}
        made = httpx.post(f"{service.url}/v1/realtime/client_secrets", json={}, headers=authorized).json()
        protocols = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{made['value']}")]
        with dial(service, subprotocols=protocols) as socket:
            assert socket.subprotocol == "realtime"
            assert refusal(service, subprotocols=protocols)[:2] == (401, "secret_used")
            assert service.stop() == 0
            for _ in socket:
                pass
            assert socket.close_code == 1001
