"""Agents of the SDK on a real transceiver, and with NATS that goes away."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from support.conditions import until
from support.models.sounds import tone
from support.processes.agents import agent_process, caller, instances
from support.processes.nats import nats_server
from support.processes.transceiver_process import transceiver_process

from antiphon.agent import Agent, Played, Session
from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process


async def test_pause_and_resume_lose_no_sample_and_a_flush_reports_what_was_played(nats_url: str) -> None:
    agent = Agent("speaker")
    heard: list[Played | None] = []
    flushed: list[messages.Flushed] = []

    @agent.session
    async def talk(session: Session) -> None:
        async def control() -> None:
            async for event in session.events():
                if isinstance(event, messages.Playout) and event.state == "playing" and not said["paused"]:
                    said["paused"] = True
                    await session.pause()
                    said["samples"] = event.played_samples
                elif isinstance(event, messages.Flushed):
                    flushed.append(event)

        session.start(control())
        heard.append(await session.say(tone(1.5), "all of it"))
        session.start(session.say(tone(5), "cut"))
        await until(lambda: session.speaking)
        await go.wait()
        heard.append(await session.flush())
        await until(lambda: flushed)

    said: dict[str, int | bool] = {"paused": False, "samples": 0}
    go = asyncio.Event()
    async with transceiver_process(nats_url) as bench, agent.serving(nats_url):
        await instances(bench.client, "speaker", 1)
        peer = bench.peer()
        opened = await bench.ask(peer.offer(), agent="speaker")
        assert isinstance(opened, messages.Opened), opened
        peer.begin(opened.answer)
        await bench.until(lambda: bool(said["samples"]), "a pause")
        session = agent.sessions[opened.session_id]
        assert isinstance(session, Session)
        peer.frames.clear()
        await bench.until(lambda: len(peer.frames) > 50 and peer.loudest < 500, "silence")
        assert not heard
        await session.resume()
        await bench.until(lambda: bool(heard), "the end")
        assert heard == [Played(36000, 24000, "all of it", complete=True)]
        peer.frames.clear()
        await bench.until(lambda: peer.loudest > 4000, "the second speech")
        go.set()
        await bench.until(lambda: len(heard) == 2 and bool(flushed), "the interruption")
        second = heard[1]
        assert second is not None
        assert second.confirmed
        assert second.samples == flushed[0].played_samples
        await peer.close()


async def test_an_agent_that_froze_and_lost_its_call_lets_go_of_it(nats_url: str, tmp_path: Path) -> None:
    script = tmp_path / "stays.py"
    script.write_text(
        "from antiphon.agent import Agent\nagent = Agent('stays')\n"
        "@agent.session\nasync def talk(session):\n    await session.over.wait()\nagent.run()\n"
    )
    beats: dict[str, int] = {}

    async def on_beat(message: Msg) -> None:
        beat = messages.decode(message.data, messages.AgentBeat)
        beats[beat.instance] = beat.sessions

    with agent_process(nats_url, script) as one:
        async with caller(nats_url, "stays") as call:
            client = call._client
            await client.subscribe(subjects.agent_beat("stays"), cb=on_beat)
            await until(lambda: list(beats.values()) == [1])
            frozen = next(iter(beats))
            with agent_process(nats_url, script):
                await until(lambda: len(beats) == 2)
                os.kill(one.pid, signal.SIGSTOP)
                try:
                    other = next(name for name in beats if name != frozen)
                    await until(lambda: beats[other] == 1)
                finally:
                    os.kill(one.pid, signal.SIGCONT)
                await until(lambda: beats[frozen] == 0)
                assert beats[other] == 1


async def test_while_nats_is_away_no_instance_is_declared_dead_and_the_session_continues(tmp_path: Path) -> None:
    agents = [Agent("steady"), Agent("steady")]
    frames: list[int] = []

    async def talk(session: Session) -> None:
        assert not session.takeovers
        async for frame in session.audio():
            frames.append(frame.sequence)  # noqa: PERF401 - looked at while it grows

    for agent in agents:
        agent.session(talk)
    with nats_server(tmp_path / "nats") as url:
        port = int(url.rsplit(":", 1)[1])
        first = agents[0].serving(url)
        await first.__aenter__()
        second = agents[1].serving(url)
        await second.__aenter__()
        line = caller(url, "steady")
        call = await line.__aenter__()
        await until(lambda: len(frames) > 10)
        holder = next(agent for agent in agents if agent.sessions)
    await until(lambda: not call._client.is_connected)
    with nats_server(tmp_path / "nats", port):
        seen = len(frames)
        await until(lambda: len(frames) > seen + 150)
        assert list(holder.sessions) == [call.id]
        assert not next(agent for agent in agents if agent is not holder).sessions
        await line.__aexit__(None, None, None)
        await until(lambda: not holder.sessions)
        await second.__aexit__(None, None, None)
        await first.__aexit__(None, None, None)


@pytest.mark.nightly
async def test_nats_restarted_in_mid_sentence_costs_a_gap_and_the_agent_is_audible_again(tmp_path: Path) -> None:
    agent = Agent("talker")
    heard: list[Played] = []

    @agent.session
    async def talk(session: Session) -> None:
        heard.append(await session.say(tone(8), "a long one"))
        while True:
            heard.append(await session.say(tone(0.5), "and another"))

    with nats_server(tmp_path / "nats") as url:
        port = int(url.rsplit(":", 1)[1])
        running = transceiver_process(url)
        bench = await running.__aenter__()
        serving = agent.serving(url)
        await serving.__aenter__()
        await instances(bench.client, "talker", 1)
        peer = bench.peer()
        opened = await bench.ask(peer.offer(), agent="talker")
        assert isinstance(opened, messages.Opened), opened
        peer.begin(opened.answer)
        await bench.until(lambda: len(peer.frames) > 50 and peer.loudest > 4000, "it speaks")
    with nats_server(tmp_path / "nats", port):
        await bench.until(lambda: bench.client.is_connected, "NATS is back", 30)
        await until(lambda: len(heard) >= 3, 60)
        peer.frames.clear()
        await bench.until(lambda: peer.loudest > 4000, "it is audible again", 30)
        assert not peer.closed.is_set()
        assert list(agent.sessions) == [opened.session_id]
        await peer.close()
        await until(lambda: not agent.sessions)
        await serving.__aexit__(None, None, None)
        await running.__aexit__(None, None, None)


FLOOD = """
import asyncio
from antiphon.agent import Agent, Session
from antiphon.schemas import subjects
from antiphon.schemas.audio import AudioFrame, pack_frame
agent = Agent("flood")
@agent.session
async def talk(session: Session) -> None:
    sequence, pcm = 0, bytes(960)
    while not session.over.is_set():
        for _ in range(100):
            sequence += 1
            frame = AudioFrame(sequence, 0, 0, 24000, 0, 1, pcm)
            await session._client.publish(subjects.audio_out("flood", session.id), pack_frame(frame))
        await session.send({"type": "noise", "number": sequence})
        await asyncio.sleep(0.05)
agent.run()
"""


async def test_an_agent_that_floods_its_call_is_notified_and_other_calls_play_on(nats_url: str, tmp_path: Path) -> None:
    steady = Agent("steady")
    overflows: list[object] = []

    @steady.session
    async def talk(session: Session) -> None:
        async with session.speak(ahead=1.0) as speech:
            while True:
                await speech.write(tone(1))

    async def on_event(message: Msg) -> None:
        event = messages.decode_any(message.data, messages.SESSION_EVENT, "event")
        if isinstance(event, messages.PlayoutOverflow):
            overflows.append(event)

    script = tmp_path / "flood.py"
    script.write_text(FLOOD)
    async with transceiver_process(nats_url) as bench, steady.serving(nats_url):
        with agent_process(nats_url, script):
            peers = {}
            for name in ("steady", "flood"):
                await instances(bench.client, name, 1)
                peers[name] = bench.peer()
                opened = await bench.ask(peers[name].offer(), agent=name)
                assert isinstance(opened, messages.Opened), opened
                await bench.client.subscribe(subjects.session_event(name, opened.session_id), cb=on_event)
                peers[name].begin(opened.answer)
            await bench.until(lambda: bool(overflows), "it is asked to slow down", 60)
            heard = peers["steady"].frames
            began = len(heard)

            def loud() -> int:
                return sum(max(map(abs, memoryview(frame.pcm).cast("h"))) > 4000 for frame in heard[began:])

            await bench.until(lambda: loud() > 150, "three seconds of the other call", 60)
            assert bench.is_running()
            for peer in peers.values():
                await peer.close()
