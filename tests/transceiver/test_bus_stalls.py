"""A transceiver whose NATS, or whose way to it, stands still in mid-call: the call loses the pause and no more."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from support.models.sounds import tone
from support.net.swallowing_proxy import swallowing_proxy
from support.peers.transceiver_peer import CarriedPeer
from support.processes.nats import nats_server, server_pid, stopped
from support.processes.transceiver_process import Bench, Line, transceiver_process

from antiphon.schemas import messages

pytestmark = pytest.mark.process


async def talks_again(bench: Bench, peer: CarriedPeer, line: Line, since: float, within: float = 5) -> None:
    """The caller is heard, control is answered, and a new call comes about."""
    heard = len(line.frames)
    while len(line.frames) <= heard + 50:
        peer.speak(tone(0.1))
        await asyncio.sleep(0.1)
        assert time.monotonic() - since < within + 1, "the caller is not heard again"
    assert (await bench.control(line, messages.Flush(generation=1))).ok
    await _new_call(bench, since + within + 5)
    assert line.ended is None
    assert bench.is_running()


async def _new_call(bench: Bench, until: float) -> None:
    """A new call comes about. Until NATS gives up the connection that was cut off (6 s) half of the offers go there."""
    while True:
        try:
            async with asyncio.timeout(3):
                await bench.call()
            return
        except TimeoutError:
            assert time.monotonic() < until, "no new call comes about"


async def test_after_nats_stood_still_a_call_goes_on_and_new_ones_come_about(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as url:
        async with transceiver_process(url) as bench:
            peer, line = await bench.call()
            with stopped(server_pid(tmp_path / "nats")):
                await asyncio.sleep(4)  # longer than the silence after which the connection is made anew
            await talks_again(bench, peer, line, time.monotonic())


async def test_a_way_to_nats_that_swallows_everything_is_left_in_mid_call(nats_url: str) -> None:
    async with swallowing_proxy(nats_url) as proxy, transceiver_process(proxy.url) as bench:
        peer, line = await bench.call()
        proxy.swallow()
        began = time.monotonic()
        before = proxy.accepted
        await bench.until(lambda: proxy.accepted >= before + 2, "both ends connect anew", 6)
        await talks_again(bench, peer, line, began, within=7)
