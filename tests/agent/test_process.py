"""An agent as a process: what its author sees when something is wrong, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.conditions import until
from support.processes.agents import EXAMPLES, agent_process, instances
from support.processes.bridge import agent_is_there

from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process


def run(code: str, nats_url: str = "nats://127.0.0.1:1", seconds: float = 30) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANTIPHON_NATS_URL": nats_url}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)


def test_an_agent_without_a_function_says_so_in_one_line() -> None:
    done = run("from antiphon.agent import Agent; Agent('empty').run()")
    assert done.returncode == 1
    assert done.stderr == "agent empty has no function: put @agent.session above one\n"


def test_a_password_in_the_address_of_nats_is_not_logged() -> None:
    code = (
        "import os, threading, signal\nfrom antiphon.agent import Agent\nagent = Agent('a')\n"
        "@agent.session\nasync def talk(session): ...\n"
        "threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()\nagent.run()"
    )
    done = run(code, "nats://user:secret@127.0.0.1:1")
    assert "connects to NATS at nats://127.0.0.1:1" in done.stderr
    assert "NATS at nats://127.0.0.1:1 (ANTIPHON_NATS_URL)" in done.stderr
    assert "secret" not in done.stderr


async def test_a_tool_that_does_not_return_does_not_hold_up_the_end(
    nats_url: str, bus_client: Client, tmp_path: Path
) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(
        "import time\nfrom antiphon.agent import Agent\nagent = Agent('stuck')\n"
        "@agent.tool\ndef wait() -> None:\n    time.sleep(100)\n"
        "@agent.session\nasync def talk(session):\n    session.call_tool('wait', {})\n"
        "    await session.send('called')\n    await session.over.wait()\nagent.run()\n"
    )
    called = asyncio.Event()

    async def on_data(message: Msg) -> None:
        called.set()

    await bus_client.subscribe(subjects.data_out("stuck", "rtc_stuck"), cb=on_data)
    with agent_process(nats_url, script) as process:
        await instances(bus_client, "stuck", 1)
        claim = messages.Claim(session_id="rtc_stuck", agent="stuck")
        await bus_client.request(subjects.agent_claim("stuck"), messages.encode(claim), timeout=5)
        await called.wait()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0


async def test_a_process_that_the_machine_had_no_time_for_blames_no_function_and_still_accepts_calls(
    nats_url: str, bus_client: Client, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        environment = {**os.environ, "ANTIPHON_NATS_URL": nats_url}
        command = [sys.executable, str(EXAMPLES / "echo_agent.py")]
        process = await asyncio.to_thread(subprocess.Popen, command, env=environment, stderr=file)
        try:
            await agent_is_there(bus_client, "echo")
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)  # as long as no process runs it
            process.send_signal(signal.SIGCONT)
            await until(lambda: "the machine had no time for this process" in log.read_text())
            await asyncio.sleep(0.3)  # its other thread looks every 50 ms
            claim = messages.encode(messages.Claim(session_id="rtc_after", agent="echo"))
            answer = await bus_client.request(subjects.agent_claim("echo"), claim, timeout=5)
            assert messages.decode(answer.data, messages.ClaimReply).accepted
        finally:
            process.kill()
            process.wait()
    assert "blocked" not in log.read_text()


async def test_sigterm_ends_an_agent_within_two_seconds_with_status_zero(nats_url: str, bus_client: Client) -> None:
    with agent_process(nats_url, EXAMPLES / "echo_agent.py") as process:
        await instances(bus_client, "echo", 1)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 2 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
