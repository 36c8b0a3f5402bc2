"""The protocol without the SDK: the examples in plain nats-py and in JavaScript take calls from a real transceiver."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.conditions import until
from support.models.sounds import tone
from support.processes.agents import EXAMPLES, instances
from support.processes.relay_process import PATIENCE
from support.processes.transceiver_process import Bench, transceiver_process
from support.text_agents import bridge_of, of_type, request

from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process

NPM = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")


@contextmanager
def running(command: list[str], output: Path, nats_url: str) -> Iterator[None]:
    with output.open("wb") as file:
        environment = {**os.environ, "ANTIPHON_NATS_URL": nats_url, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdout=file, env=environment)
        try:
            yield
        finally:
            process.kill()
            process.wait()


async def has_a_whole_call(bench: Bench, agent: str, output: Path) -> None:
    """The caller hears himself, presses a key, hears himself in the next generation; the agent lets go at the end."""
    await instances(bench.client, agent, 1)
    peer = bench.peer()
    opened = await bench.ask(peer.offer(), agent=agent)
    assert isinstance(opened, messages.Opened), opened
    peer.begin(opened.answer)
    async with asyncio.timeout(PATIENCE):
        await peer.channel_open.wait()
    peer.speak(tone(30))
    await bench.until(lambda: peer.loudest > 4000, "the echo")
    key = messages.TelephoneEvent(event=1, duration_ms=80)
    await bench.client.publish(subjects.session_event(agent, opened.session_id), messages.encode(key))
    await until(lambda: "flush true" in output.read_text().lower())
    await until(lambda: "heard " in output.read_text())
    peer.frames.clear()
    await bench.until(lambda: peer.loudest > 4000, "the echo in a new generation")
    await peer.close()


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with its packages, in a directory of its own."""
    assert shutil.which("npm"), "npm is missing: deploy/install-test-packages.sh installs it"
    directory = tmp_path_factory.mktemp("js") / "agent"
    shutil.copytree(EXAMPLES / "js", directory, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(NPM, cwd=directory, check=True, timeout=100)
    return directory


async def test_an_agent_in_plain_nats_py_holds_a_call(nats_url: str, tmp_path: Path) -> None:
    output = tmp_path / "output"
    command = [sys.executable, str(EXAMPLES / "plain_nats_agent.py")]
    async with transceiver_process(nats_url) as bench:
        with running(command, output, nats_url):
            await has_a_whole_call(bench, "plain", output)


async def test_an_agent_in_javascript_holds_a_call(nats_url: str, tmp_path: Path, javascript: Path) -> None:
    output = tmp_path / "output"
    command = ["node", str(javascript / "echo_agent.js")]
    async with transceiver_process(nats_url) as bench:
        with running(command, output, nats_url):
            await has_a_whole_call(bench, "echo-js", output)


async def test_a_text_agent_in_javascript_answers_turns(nats_url: str, tmp_path: Path, javascript: Path) -> None:
    command = ["node", str(javascript / "text_agent.js")]
    async with bridge_of(nats_url, "desk-js") as bridge:
        with running(command, tmp_path / "output", nats_url):
            await bridge.there()
            assert bridge.announced[0].greeting
            first = await bridge.whole(request("Hello."))
            assert first.words == "That was number 1. You have said: Hello."
            (state,) = of_type(first.parts, messages.ReplyState)
            second = await bridge.whole(request("Goodbye.", state=state.state))
    assert second.words == "That was number 2. You have said: Goodbye."
    assert [part.type for part in second.without_alive()] == ["state", "text", "hang_up", "end"]
    assert [getattr(part, "number", None) for part in second.without_alive()] == [0, 1, 2, 3]


def test_a_text_agent_without_the_sdk_needs_forty_lines() -> None:
    assert len((EXAMPLES / "js/text_agent.js").read_text().splitlines()) <= 40


@pytest.mark.parametrize("name", ["plain_nats_agent.py", "js/echo_agent.js"])
def test_an_agent_without_the_sdk_needs_sixty_lines(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 60
