"""The example agent from outside, as a process, against a real NATS server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.bridge import agent_is_there

from antiphon.schemas import bus, messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame, unpack_frame

EXAMPLE = Path(__file__).parents[2] / "examples" / "echo_agent.py"


@pytest.fixture
def echo_agent(nats_url: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, str(EXAMPLE)], env={**os.environ, "ANTIPHON_NATS_URL": nats_url})
    yield
    process.kill()
    process.wait()


async def claimed(client: Client, session_id: str) -> messages.ClaimReply:
    await agent_is_there(client, "echo")
    claim = messages.Claim(session_id=session_id, agent="echo")
    answer = await client.request(subjects.agent_claim("echo"), messages.encode(claim), timeout=2)
    return messages.decode(answer.data, messages.ClaimReply)


@pytest.mark.usefixtures("echo_agent")
async def test_the_echo_comes_back_half_a_second_later_while_the_caller_talks_on(bus_client: Client) -> None:
    reply = await claimed(bus_client, "rtc_echo")
    assert reply.accepted
    heard: list[tuple[float, AudioFrame]] = []
    enough = asyncio.Event()

    async def on_audio(msg: Msg) -> None:
        heard.append((time.monotonic(), unpack_frame(msg.data)))
        if len(heard) == 60:
            enough.set()

    await bus_client.subscribe(subjects.audio_out("rtc_echo"), cb=on_audio)
    await bus.flush(bus_client)
    sent: list[tuple[float, bytes]] = []
    samples = reply.input_rate // 50
    heard_while_talking = 0
    for number in range(60):
        pcm = number.to_bytes(2, "little") * samples
        sent.append((time.monotonic(), pcm))
        frame = AudioFrame(number, number * samples, time.time_ns(), reply.input_rate, 0, 0, pcm)
        await bus_client.publish(subjects.audio_in("rtc_echo"), pack_frame(frame))
        heard_while_talking = len(heard)
        await asyncio.sleep(0.02)
    await asyncio.wait_for(enough.wait(), 10)
    assert [frame.pcm for _, frame in heard] == [pcm for _, pcm in sent]
    assert heard_while_talking > 0
    assert all(there - here >= 0.5 for (here, _), (there, _) in zip(sent, heard, strict=True))


@pytest.mark.usefixtures("echo_agent")
async def test_the_echo_lets_go_of_a_call_that_has_ended(bus_client: Client) -> None:
    await claimed(bus_client, "rtc_echo")
    await bus_client.publish(subjects.session_event("rtc_echo"), messages.encode(messages.Ended(reason="hang_up")))
    heard: list[Msg] = []

    came = asyncio.Event()

    async def on_audio(msg: Msg) -> None:
        heard.append(msg)
        came.set()

    await bus_client.subscribe(subjects.audio_out("rtc_echo"), cb=on_audio)
    # a second claim is answered after the event before it was handled: the connection keeps the order
    await claimed(bus_client, "rtc_other")
    frame = AudioFrame(0, 0, 0, 24000, 0, 0, bytes(960))
    await bus_client.publish(subjects.audio_in("rtc_echo"), pack_frame(frame))
    await bus_client.subscribe(subjects.audio_out("rtc_other"), cb=on_audio)
    await bus_client.publish(subjects.audio_in("rtc_other"), pack_frame(frame))
    await asyncio.wait_for(came.wait(), 10)
    assert [msg.subject for msg in heard] == [subjects.audio_out("rtc_other")]
