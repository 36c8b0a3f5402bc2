"""A part of the running stack is killed outright; what a caller notices, and how the next call fares."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import numpy as np
import pytest
from support.conditions import until
from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.webrtc_client import Peer
from antiphon.cli.errors import CallError

pytestmark = [pytest.mark.realtime, pytest.mark.models]


@pytest.fixture(scope="module")
def stack() -> object:
    """A stack of this module's own: its parts get killed."""
    with running_stack("--loopback-only", "--plugin", str(ECHO_AGENT)) as running:
        yield running


def tone(seconds: float) -> bytes:
    """Loud enough to be heard back."""
    time = np.arange(int(seconds * 24000)) / 24000
    return (np.sin(2 * np.pi * 440 * time) * 8000).astype("<i2").tobytes()


async def call_echo(stack: Stack) -> None:
    """A whole call: our voice comes back."""
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    try:
        await peer.connect(stack.url, "echo")
        peer.speak(tone(2))
        await until(lambda: listener.last_audible is not None)
    finally:
        await peer.close()


async def until_calls_succeed(stack: Stack) -> None:
    """Until a new process has announced itself calls are refused: tried again, as a caller would."""
    async with asyncio.timeout(30):
        while True:
            try:
                await call_echo(stack)
                return
            except CallError:
                await asyncio.sleep(0.2)


@pytest.mark.parametrize("module", ["relay", "transceiver", "signaling"])
async def test_a_part_that_is_killed_comes_back_and_calls_succeed_again(stack: Stack, module: str) -> None:
    killed = stack.pid_of(module)
    os.kill(killed, signal.SIGKILL)
    await until(lambda: _replaced(stack, module, killed), 30)
    await until_calls_succeed(stack)


async def test_while_its_transceiver_is_dead_an_offer_gets_503_and_the_old_call_is_unknown(stack: Stack) -> None:
    peer = Peer(lambda _: None, lambda _: None)
    await peer.connect(stack.url, "echo")
    location = peer.location
    killed = stack.pid_of("transceiver")
    os.kill(killed, signal.SIGKILL)
    # Its connections close while it ends: before that NATS still hands it requests.
    await until(lambda: not Path(f"/proc/{killed}").exists())
    async with httpx.AsyncClient(base_url=stack.url, trust_env=False) as http:
        gone = await http.post(location + "/hangup")
        assert gone.status_code == 404
        refused = Peer(lambda _: None, lambda _: None)
        with pytest.raises(CallError, match="status 503"):
            await refused.connect(stack.url, "echo")
        await refused.close()
    await peer.close()
    await until(lambda: _replaced(stack, "transceiver", killed), 30)
    await until_calls_succeed(stack)


async def test_a_relay_killed_in_mid_call_is_replaced_and_the_same_call_goes_on(stack: Stack) -> None:
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    try:
        await peer.connect(stack.url, "echo")
        peer.speak(tone(20))
        await until(lambda: listener.last_audible is not None)
        killed = stack.pid_of("relay")
        os.kill(killed, signal.SIGKILL)
        await until(lambda: _replaced(stack, "relay", killed), 30)
        heard = listener.last_audible
        assert heard is not None
        await until(lambda: listener.last_audible is not None and listener.last_audible > heard + 1, 30)
        assert peer.speaking, "the caller had to stop first"
    finally:
        await peer.close()


async def test_an_agent_killed_in_mid_call_comes_back_and_the_same_call_goes_on(stack: Stack) -> None:
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    try:
        await peer.connect(stack.url, "echo")
        peer.speak(tone(30))
        await until(lambda: listener.last_audible is not None)
        os.kill(stack.pid_of_script(ECHO_AGENT), signal.SIGKILL)
        heard = listener.last_audible
        assert heard is not None
        await until(lambda: listener.last_audible is not None and listener.last_audible > heard + 3, 30)
        assert peer.speaking, "the caller had to stop first"
    finally:
        await peer.close()


def _replaced(stack: Stack, module: str, killed: int) -> bool:
    try:
        return stack.pid_of(module) != killed
    except LookupError:
        return False
