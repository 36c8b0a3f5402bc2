"""Calls over WebSocket: OpenAI's own client on one side, an agent of the SDK on the other, signaling between them."""

from __future__ import annotations

import base64
import math
import subprocess
from array import array
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from support.processes.agents import EXAMPLES, agent_process
from support.processes.signaling import SignalingProcess, StandIns, until

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")]


@pytest.fixture
def echo(nats_url: str, stand_ins: StandIns, signaling: SignalingProcess) -> Iterator[subprocess.Popen[bytes]]:
    """The agent of the example, which says back what it receives; it does not speak the realtime protocol."""
    with agent_process(nats_url, EXAMPLES / "echo_agent.py") as process:
        until(
            lambda: "echo" in httpx.get(f"{signaling.url}/v1/agents").json()["agents"],
            "the agent is in the register",
        )
        yield process


def tone(seconds: float, rate: int = 24000) -> bytes:
    """s16le of 440 Hz."""
    return array("h", (round(8000 * math.sin(440 * math.tau * n / rate)) for n in range(int(seconds * rate)))).tobytes()


def loudness(pcm: bytes) -> float:
    samples = array("h", pcm)
    return math.sqrt(sum(each * each for each in samples) / len(samples))


def events_until(connection: RealtimeConnection, kind: str) -> list[Any]:
    """All up to and with the first of this type."""
    events = []
    while not events or events[-1].type != kind:
        events.append(connection.recv())
    return events


def test_the_openai_client_holds_a_call_with_an_agent(echo: object, signaling: SignalingProcess) -> None:
    client = OpenAI(base_url=f"{signaling.url}/v1", api_key="unused")
    with client.realtime.connect(model="echo") as connection:
        connection.input_audio_buffer.append(audio=base64.b64encode(tone(1.0)).decode())
        received = b""
        while loudness(received[-9600:] or b"\0\0") < 3000:
            delta = events_until(connection, "response.output_audio.delta")[-1]
            received += base64.b64decode(delta.delta)
        assert delta.item_id.startswith("item_")
        session = events_until(connection, "session.created")[-1].session
        call = f"{signaling.url}/v1/realtime/calls/{session.id}"
        status = httpx.get(call).json()
        assert (status["status"], status["connected"]) == ("running", True)
        assert httpx.post(f"{call}/hangup").status_code == 200
    ended = httpx.get(call).json()
    assert (ended["status"], ended["reason"], ended["cause"]) == ("ended", "hang_up", "client")
