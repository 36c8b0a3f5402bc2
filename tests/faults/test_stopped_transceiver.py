"""A transceiver stands still for longer than any buffer: its caller and its agent hear each other again at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from support.models.sounds import speech, tone
from support.processes.transceiver_process import Bench, transceiver_process

from antiphon.schemas.audio import AudioFrame, FrameFlag

pytestmark = pytest.mark.realtime

STOPPED = 6.0
LOUD = 3000


@pytest.fixture
async def bench(nats_url: str) -> AsyncIterator[Bench]:
    # Alone on its NATS, with nobody to take the call over.
    async with transceiver_process(nats_url, ANTIPHON_HAND_OVER="0") as running:
        yield running


def loud(frames: list[AudioFrame]) -> int:
    real = [frame for frame in frames if not frame.flags & (FrameFlag.SILENCE | FrameFlag.CONCEALED)]
    return sum(max(memoryview(frame.pcm).cast("h")) > LOUD for frame in real)


async def test_both_sides_hear_each_other_within_500_ms_after_a_stop_of_six_seconds(bench: Bench) -> None:
    peer, line = await bench.call()
    peer.speak(tone(30.0))
    await bench.say(line, speech(25.0))
    await bench.until(lambda: loud(peer.frames) > 25 and loud(line.frames) > 25, "both are heard")
    os.kill(bench.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(STOPPED)
        to_client, to_agent = len(peer.frames), len(line.frames)
    finally:
        os.kill(bench.pid, signal.SIGCONT)
    heard_again = 0.5
    await asyncio.gather(
        bench.until(lambda: loud(peer.frames[to_client:]) >= 3, "the agent is heard again", heard_again),
        bench.until(lambda: loud(line.frames[to_agent:]) >= 3, "the caller is heard again", heard_again),
    )
    # All that the caller said meanwhile, and from now on what both say, frame by frame.
    await bench.until(lambda: loud(line.frames[to_agent:]) >= STOPPED * 50 * 0.95, "what was said meanwhile")
    to_client, to_agent = len(peer.frames), len(line.frames)
    await asyncio.sleep(2)
    assert loud(peer.frames[to_client:]) >= 90
    assert loud(line.frames[to_agent:]) >= 90
    assert peer.receiver.packets_late == 0
