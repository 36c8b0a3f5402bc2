"""An agent process dies in the middle of a call on a real transceiver, and another one goes on with it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.kv import KeyValue
from support.conditions import until
from support.peers.transceiver_peer import CarriedPeer
from support.processes.agents import agent_process, caller, instances
from support.processes.transceiver_process import Bench, transceiver_process

from antiphon.agent import Agent, Session, ShadowSession, TakenOver
from antiphon.runtime.agent_sessions import leases
from antiphon.runtime.nats import buckets, connection
from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process

COUNTER = '''
"""Counts in its state, says a tone of ten seconds; after a take-over it tells what it knows and speaks a higher one."""
import math, os
from array import array
from antiphon.agent import Agent, Session, TakenOver

agent = Agent("counter", keep_audio=True)

def tone(seconds, hertz):
    samples = (round(8000 * math.sin(2 * math.pi * hertz * n / 24000)) for n in range(int(seconds * 24000)))
    return array("h", samples).tobytes()

@agent.session
async def talk(session: Session) -> None:
    count = session.state.get("count", 0) + 1
    session.state["count"] = count
    session.save()
    recent = len(session.recent_audio)
    await session.send({"count": count, "pid": os.getpid(), "takeovers": session.takeovers, "recent": recent})
    async with session.speak() as speech:
        for _ in range(100):
            await speech.write(tone(0.1, 440 * count))

agent.run()
'''


class Call:
    """A call to the agent `counter`, as its caller has it."""

    def __init__(self, bench: Bench, peer: CarriedPeer, opened: messages.Opened) -> None:
        self.bench, self.peer, self.id = bench, peer, opened.session_id

    @property
    def messages(self) -> list[dict[str, int]]:
        return [json.loads(text) for text in self.peer.texts]


async def call(bench: Bench, agent: str) -> Call:
    peer = bench.peer()
    opened = await bench.ask(peer.offer(), agent=agent)
    assert isinstance(opened, messages.Opened), opened
    peer.begin(opened.answer)
    return Call(bench, peer, opened)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "counter.py"
    path.write_text(COUNTER)
    return path


async def test_an_agent_killed_in_mid_sentence_is_replaced_within_two_seconds(nats_url: str, script: Path) -> None:
    async with transceiver_process(nats_url) as bench:
        with agent_process(nats_url, script) as one, agent_process(nats_url, script) as two:
            await instances(bench.client, "counter", 2)
            line = await call(bench, "counter")
            await bench.until(lambda: len(line.messages) == 1 and line.peer.loudest > 4000, "it speaks")
            first = line.messages[0]
            assert first["takeovers"] == 0
            await until_saved(bench.client, line.id)
            os.kill(first["pid"], signal.SIGKILL)
            killed = time.monotonic()
            await bench.until(lambda: len(line.messages) == 2, "another instance has it")
            taken_s = time.monotonic() - killed
            second = line.messages[1]
            assert second["pid"] in {one.pid, two.pid} - {first["pid"]}
            assert (second["count"], second["takeovers"]) == (2, 1), "it knows what the first one saved"
            assert second["recent"] > 20, "and has received the caller's last seconds"
            line.peer.frames.clear()
            await bench.until(lambda: line.peer.loudest > 4000, "it speaks")
            assert taken_s < 2 * _load()
            await line.peer.close()


async def until_saved(client: Client, session_id: str) -> None:
    bucket = await _bucket(client)
    while True:
        entry = await bucket.get(subjects.lease_key("counter", session_id))
        if messages.decode(entry.value or b"", messages.Lease).state:
            return


def _load() -> float:
    """How much slower than idle this machine may be at the moment."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


async def test_a_session_that_kills_every_agent_is_ended(nats_url: str, bus_client: Client) -> None:
    async def talk(session: Session) -> None:
        await session.over.wait()

    doomed = messages.Lease(
        session_id="rtc_doomed", agent="mortal", instance="", takeovers=5, deaths=leases.MAX_DEATHS, session={}
    )
    bucket = await _bucket(bus_client)
    await bucket.create("mortal.rtc_doomed", messages.encode(doomed))
    controls: list[messages.Message] = []

    async def control(message: object) -> None:
        controls.append(messages.decode_any(message.data, messages.CONTROL, "Control"))  # type: ignore[attr-defined]
        await message.respond(messages.encode(messages.ControlReply(ok=True)))  # type: ignore[attr-defined]

    await bus_client.subscribe("antiphon.v1.session.mortal.rtc_doomed.control", cb=control)
    await connection.flush(bus_client)
    agent = Agent("mortal")
    agent.session(talk)
    async with agent.serving(nats_url):
        await until(lambda: controls)
        assert controls == [messages.HangUp(reason="agent_lost")]
        assert not agent.sessions


async def _bucket(client: Client) -> KeyValue:
    return await buckets.bucket(client.jetstream(), subjects.BUCKET_LEASES)


async def test_an_agent_that_stops_hands_its_calls_over_with_their_state(nats_url: str) -> None:
    async def talk(session: Session) -> None:
        if not session.takeovers:
            session.state["said"] = "hello"
            session.save()
        async for event in session.events():
            if isinstance(event, TakenOver):
                found.append(session.state)  # noqa: PERF401 - looked at while it grows

    found: list[object] = []
    one, two = Agent("pair"), Agent("pair")
    one.session(talk)
    two.session(talk)
    async with two.serving(nats_url), one.serving(nats_url):
        await two._leave_group()
        async with caller(nats_url, "pair") as line:
            await until(lambda: line.id in one.sessions)
            await one._stop()
            await until(lambda: found)
            assert line.id in two.sessions
    assert found == [{"said": "hello"}]


async def test_a_shadow_hears_the_same_audio_and_events_and_another_shadow_takes_over(nats_url: str) -> None:
    heard: dict[str, list[int]] = {"one": [], "two": []}
    agent = Agent("main")
    shadows = {name: Agent("listener", shadow_of="main") for name in heard}

    @agent.session
    async def talk(session: Session) -> None:
        await session.over.wait()

    def listen(name: str) -> None:
        @shadows[name].session
        async def listening(session: ShadowSession) -> None:
            assert not hasattr(session, "speak")
            async for frame in session.audio():
                heard[name].append(frame.sequence)

    for name in heard:
        listen(name)
    async with agent.serving(nats_url), shadows["one"].serving(nats_url), shadows["two"].serving(nats_url):
        async with caller(nats_url, "main"):
            await until(lambda: any(len(frames) > 10 for frames in heard.values()))
            has, other = ("one", "two") if heard["one"] else ("two", "one")
            assert heard[has][0] < 25, "from the beginning; this caller sends before a real one could"
            assert not heard[other], "one instance of a shadow has a session"
            await shadows[has]._stop()
            await until(lambda: heard[other])
        await until(lambda: not shadows[other].sessions)
