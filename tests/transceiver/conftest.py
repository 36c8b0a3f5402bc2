"""Fixtures of the transceiver's tests: a process of its own on a NATS server, or a session in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from support.net.emulator import Conditions
from support.peers.session_call import GOOD, HEADER, Call, StartCall
from support.processes.transceiver_process import Bench, transceiver_process


@pytest.fixture
async def bench(nats_url: str) -> AsyncIterator[Bench]:
    """A transceiver without sessions."""
    async with transceiver_process(nats_url) as running:
        yield running


@pytest.fixture
async def start_call() -> AsyncIterator[StartCall]:
    """Connected calls of this test, ended with it, also when it fails. For tests of the tier `virtual`."""
    calls: list[Call] = []

    async def start(
        conditions: Conditions = GOOD,
        seed: int = 1,
        passive: bool = False,
        extra: Callable[[str], str] = str,
        header: bytes = HEADER,
        channel: bool = True,
    ) -> Call:
        calls.append(call := Call(conditions, seed, passive, extra, header))
        await call.connect(channel)
        return call

    yield start
    for call in calls:
        await call.stop()


@pytest.fixture
async def call(start_call: StartCall) -> Call:
    """A connected call on a good network, its data channel open."""
    return await start_call()
