"""The whole stack with its credentials: what a caller, a shadow, a transfer and a side channel need is allowed.

That NATS refused nothing in any of these tests is checked by `running_stack` itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.conditions import until
from support.processes.stack import ECHO_AGENT, Stack, running_stack
from websockets.asyncio.client import connect

from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.webrtc_client import Peer
from antiphon.runtime.nats import connection
from antiphon.schemas import subjects

pytestmark = [pytest.mark.realtime, pytest.mark.models]

DOORMAN = """
from antiphon.agent import Agent
agent = Agent("doorman")
@agent.session
async def opened(session):
    await session.send("who is it?")
    async for event in session.events():
        if getattr(event, "payload", "") == "go on":
            print("transferred:", await session.transfer("echo"), flush=True)
agent.run()
"""
EAR = """
from antiphon.agent import Agent
agent = Agent("ear", shadow_of="echo")
@agent.session
async def heard(session):
    async for frame in session.audio():
        print("the ear hears", session.id, flush=True)
        break
    await session.over.wait()
agent.run()
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "doorman.py").write_text(DOORMAN)
    (folder / "ear.py").write_text(EAR)
    plugins = (str(ECHO_AGENT), str(folder / "doorman.py"), str(folder / "ear.py"))
    with running_stack("--loopback-only", *(option for each in plugins for option in ("--plugin", each))) as running:
        yield running


async def placed(stack: Stack, agent: str) -> tuple[Peer, Listener]:
    await until(lambda: f"ready: agent {agent}" in "\n".join(stack.lines))
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    await peer.connect(stack.url, agent)
    await asyncio.wait_for(peer.connected.wait(), 15)
    await asyncio.wait_for(peer.channel_open.wait(), 15)
    return peer, listener


async def test_a_shadow_hears_a_transferred_call_whose_side_channel_hangs_it_up(stack: Stack) -> None:
    peer, _ = await placed(stack, "doorman")
    try:
        call = peer.session_id
        async with connect(f"{stack.url.replace('http', 'ws')}v1/realtime?call_id={call}") as side:
            peer.send_text(json.dumps({"type": "told", "text": "x"}))
            peer.send_text("go on")
            await until(lambda: "transferred: True" in "\n".join(stack.lines))
            await until(lambda: f"the ear hears {call}" in "\n".join(stack.lines))
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.post(f"{stack.url}v1/realtime/calls/{call}/hangup")
            assert answer.status_code == 200
            await asyncio.wait_for(side.wait_closed(), 15)
        await asyncio.wait_for(peer.closed.wait(), 15)
    finally:
        await peer.close()


async def test_a_call_goes_on_with_the_next_instance_of_a_killed_agent(stack: Stack) -> None:
    peer, _ = await placed(stack, "echo")
    try:
        os.kill(stack.pid_of_script(ECHO_AGENT), signal.SIGKILL)
        await until(lambda: "taken over in" in "\n".join(stack.lines), 60)
    finally:
        await peer.close()


async def test_a_plug_in_added_while_calls_run_serves_and_is_removed_again(stack: Stack, tmp_path: Path) -> None:
    peer, _ = await placed(stack, "echo")

    def agents(*arguments: str) -> str:
        command = [sys.executable, "-m", "antiphon.cli", "agents", *arguments, "--nats", stack.nats_url]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    try:
        file = (await asyncio.to_thread(agents, "add", "late")).splitlines()[0]
        script = tmp_path / "late.py"
        script.write_text(DOORMAN.replace("doorman", "late"))
        environment = {**os.environ, "ANTIPHON_NATS_URL": stack.nats_url, "ANTIPHON_NATS_CREDENTIALS": file}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), env=environment, stderr=subprocess.PIPE
        )
        assert process.stderr is not None

        async def line_with(*texts: str) -> None:
            assert process.stderr is not None
            while line := (await process.stderr.readline()).decode():
                if any(text in line for text in texts):
                    return
            raise AssertionError(f"it ended without {texts}")

        try:
            await line_with("ready: agent late")
            second = Peer(Listener().audio, Listener().message)
            try:
                await second.connect(stack.url, "late")
                await asyncio.wait_for(second.connected.wait(), 15)
            finally:
                await second.close()
            await asyncio.to_thread(agents, "remove", "late")
            await line_with("refuses the credential of agent late", "can't be read")
        finally:
            process.kill()
            await process.wait()
        assert not peer.closed.is_set()
        assert "late" not in await asyncio.to_thread(agents, "list")
    finally:
        await peer.close()


async def test_a_plug_in_can_neither_hear_nor_claim_what_is_another_s_in_a_running_stack(stack: Stack) -> None:
    access = stack.access("recorder")
    echo = stack.access("agent")
    client = await connection.connect_once(stack.nats_url, "test", echo)
    for subject in (subjects.agent_claim("concierge"), "antiphon.v1.session.*.*.audio.in", "_INBOX_signaling.>"):
        await client.subscribe(subject)
    await client.flush()
    assert {subject for _, subject in client.refused} == {
        subjects.agent_claim("concierge"),
        "antiphon.v1.session.*.*.audio.in",
        "_INBOX_signaling.>",
    }
    await client.close()
    recorder = await connection.connect_once(stack.nats_url, "test", access)
    await recorder.publish("antiphon.v1.session.echo.s.audio.out", b"x")
    await recorder.flush()
    assert recorder.refused
    await recorder.close()
