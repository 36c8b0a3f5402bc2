"""Text agents in the whole stack: a question in Chromium, a tool, an interruption, a process killed in mid-answer."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from support.browsers.chromium import chromium_page, wait_for
from support.conditions import until, wait_until
from support.models.voice import say, silence, write_microphone
from support.processes.ended import ended
from support.processes.stack import Stack

from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.voice import say as spoken
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import CallError
from antiphon.runtime.nats.permissions import User

pytestmark = [pytest.mark.realtime, pytest.mark.models]

ROOT = Path(__file__).parents[2]
DESK = ROOT / "examples" / "text_agent.py"
HAND_OVER = ROOT / "examples" / "hand_over_agents.py"
COUNTER = ROOT / "tests" / "support" / "counting_agent.py"
GREETING = 9.0
"""Seconds that the greeting is given before the question is asked."""


@contextmanager
def agents(stack: Stack, file: Path, name: str, count: int = 1, **environment: str) -> Iterator[None]:
    """Processes of one text agent, beside the stack."""
    variables = {**os.environ, **stack.user(User("text_agent", name)), "ANTIPHON_METRICS_BIND": "off", **environment}
    with ExitStack() as processes:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, str(file)], env=variables)
            processes.enter_context(ended(process))
        yield


@pytest.mark.nightly
def test_a_spoken_question_runs_a_tool_of_a_text_agent_and_is_answered(stack: Stack, tmp_path: Path) -> None:
    asked = say("A table for two on Tuesday, please.")
    microphone = write_microphone(tmp_path / "question.wav", silence(GREETING), asked, silence(30))
    with agents(stack, DESK, "desk"), chromium_page(microphone) as page:
        wait_until(
            lambda: "desk" in httpx.get(f"{stack.url.rstrip('/')}/v1/agents", trust_env=False).json()["agents"], 30
        )
        page.goto(stack.url)
        wait_for(page, "[...document.querySelector('#agent').options].some(each => each.value === 'desk')")
        page.select_option("#agent", "desk")
        page.get_by_role("button", name="Start call").click()
        wait_for(page, "window.antiphon.transcripts.some(item => item.text.includes('good morning'))", seconds=30)
        wait_for(
            page,
            "window.antiphon.transcripts.some(item => item.role === 'assistant' && item.final"
            " && item.text.includes('That is booked: Tuesday for 2'))",
            seconds=60,
        )
        page.get_by_role("button", name="End call").click()
        wait_for(page, "window.antiphon.state === 'ended'")


async def _call(stack: Stack, agent: str = "counter", words: str = "Please count for me.") -> tuple[Peer, Listener]:
    """Tried again while the bridge does not know of the agent yet, or knows only that another test's is gone."""
    async with asyncio.timeout(30):
        while True:
            listener = Listener()
            peer = Peer(listener.audio, listener.message)
            try:
                await peer.connect(stack.url, agent)
            except CallError:
                await peer.close()
                await asyncio.sleep(0.2)
            else:
                break
    peer.speak((await asyncio.to_thread(spoken, [words], RATE))[0].tobytes())
    return peer, listener


@pytest.mark.nightly
async def test_a_call_goes_from_one_text_agent_to_another_with_what_was_said(stack: Stack) -> None:
    credentials = {
        f"{name.upper()}_CREDENTIALS": stack.user(User("text_agent", name))["ANTIPHON_NATS_CREDENTIALS"]
        for name in ("desk", "billing")
    }
    with agents(stack, HAND_OVER, "desk", 1, **credentials):
        peer, listener = await _call(stack, "desk", "I would like to pay my bill, please.")
        try:
            await until(lambda: "putting you through" in _said(listener), 40)
            await until(lambda: "Billing, good morning." in _said(listener), 40)
            await until(
                lambda: {"pay", "bill"} & set(re.findall("[a-z]+", _said(listener).partition("You said")[2])), 20
            )
        finally:
            await peer.close()


def _said(listener: Listener) -> str:
    deltas = [each for each in listener.events if each.get("type") == "response.output_audio_transcript.delta"]
    return "".join(str(each["delta"]) for each in deltas)


async def test_a_process_that_dies_in_mid_answer_is_replaced_and_nothing_is_said_twice(
    stack: Stack, tmp_path: Path
) -> None:
    with agents(stack, COUNTER, "counter", count=2, NOTES=str(tmp_path)):
        peer, listener = await _call(stack)
        try:
            await until(lambda: "number two" in _said(listener), 30)
            killed = int((tmp_path / "answering").read_text())
            os.kill(killed, signal.SIGKILL)
            await until(lambda: "number ten" in _said(listener), 60)
            assert int((tmp_path / "answering").read_text()) != killed
            for word in ("one", "two", "three", "nine", "ten"):
                assert _said(listener).count(f"number {word}.") == 1, _said(listener)
        finally:
            await peer.close()


@pytest.mark.nightly
async def test_a_caller_who_speaks_stops_the_function_where_it_is(stack: Stack, tmp_path: Path) -> None:
    stop = (await asyncio.to_thread(spoken, ["Stop it, please, I have heard enough."], RATE))[0].tobytes()
    with agents(stack, COUNTER, "counter", NOTES=str(tmp_path), PAUSE="2"):  # it is at work for 20 s
        peer, listener = await _call(stack)
        try:
            await until(lambda: "number two" in _said(listener), 30)
            peer.speak(stop)
            await until((tmp_path / "cancelled").exists, 20)
            assert not (tmp_path / "ended").exists()
        finally:
            await peer.close()
