"""kill -9 of the relay under `antiphon up` in a running call: how many of the caller's packets are missing after it."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Iterator

import pytest
from support.conditions import until
from support.peers.aiortc_client import aiortc_call
from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.cli.up.supervisor import SOUND_SECONDS

pytestmark = pytest.mark.realtime

FRAME_SECONDS = 0.02
MOST_LOST = int(0.3 / FRAME_SECONDS)
WINDOW_SECONDS = 1.5
KILLS = 3


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack("--loopback-only", "--plugin", str(ECHO_AGENT)) as running:
        yield running


async def test_a_killed_relay_costs_a_call_less_than_300_ms_of_packets(stack: Stack) -> None:
    lost = []
    async with aiortc_call(stack.url, "echo") as client:
        for number in range(KILLS):
            await until(lambda: sum("a standby is ready" in line for line in stack.lines) > number, 30)  # noqa: B023
            await asyncio.sleep(SOUND_SECONDS)  # what dies sooner is not taken over; routes are written down meanwhile
            before, began = await client.packets_received(), time.monotonic()
            os.kill(stack.pid_of("relay"), signal.SIGKILL)
            await asyncio.sleep(WINDOW_SECONDS)
            received, took = await client.packets_received() - before, time.monotonic() - began
            lost.append(round(took / FRAME_SECONDS) - received)
        assert client.states == ["connecting", "connected"]
    print("packets lost to each kill:", lost)
    # The middle one: a machine that is busy with other work takes longer now and then.
    assert statistics.median(lost) <= MOST_LOST
