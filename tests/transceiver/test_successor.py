"""A transceiver without another one is told to end: it waits for its successor, and its calls go on there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.processes.several_transceivers import Several, several_transceivers

from antiphon.schemas import messages

pytestmark = pytest.mark.process


@pytest.fixture
async def several(nats_url: str) -> AsyncIterator[Several]:
    async with several_transceivers(nats_url, ANTIPHON_DRAIN_SECONDS="30") as running:
        yield running


async def test_a_lone_process_hands_its_calls_to_the_one_that_starts_meanwhile(several: Several) -> None:
    first = await several.spawn()
    peer, line = await several.call_on(first.slot)
    several.processes[0].terminate()
    await several.until(
        lambda: several.endpoints[first.cluster, first.slot, first.epoch].state == "draining", "it takes no more calls"
    )
    await several.spawn()
    await several.until(lambda: several.processes[0].poll() == 0, "it ends with its last call, before its time is over")
    (moved,) = [event for event in line.events if isinstance(event, messages.TakenOver)]
    assert moved.handed_over, "nothing was lost"
    assert line.ended is None
    heard = len(line.frames)
    await several.until(lambda: len(line.frames) > heard + 25 and not peer.closed.is_set(), "the call goes on")
