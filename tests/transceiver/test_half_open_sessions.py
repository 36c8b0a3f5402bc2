"""Offers whose client never comes: they give way to calls, and one caller has a few of them at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.processes.relay_process import PATIENCE
from support.processes.transceiver_process import Bench, transceiver_process

from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import decode_any, encode
from antiphon.transceiver.calls.half_open import MIN_PER_CALLER

pytestmark = pytest.mark.process

CAPACITY = 12


@pytest.fixture
async def small(nats_url: str) -> AsyncIterator[Bench]:
    async with transceiver_process(nats_url, ANTIPHON_CAPACITY=str(CAPACITY)) as running:
        yield running


async def offer(bench: Bench, caller: str) -> messages.Opened | messages.Refused:
    request = messages.OpenRequest(offer=bench.peer().offer(), agent="echo", caller=caller)
    subject = subjects.transceiver_open(0, bench.announcement.slot)
    reply = await bench.client.request(subject, encode(request), timeout=PATIENCE)
    return decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")


async def test_offers_without_media_take_no_slot_from_a_call(small: Bench) -> None:
    running, line = await small.call()
    replies = await asyncio.gather(*(offer(small, "") for _ in range(4 * CAPACITY)))
    assert sum(isinstance(reply, messages.Opened) for reply in replies) <= CAPACITY - 1
    small.forget_clients()
    await small.until(lambda: small.announcement.sessions >= CAPACITY, "it is announced as full", 8)
    # Signaling asks a transceiver that announces room: so it says as soon as a session would give way.
    await small.until(lambda: small.announcement.sessions < CAPACITY, "room is announced", 8)
    peer, another = await small.call()
    assert another.ended is None
    assert line.ended is None
    await running.vanish()
    await peer.vanish()


async def test_one_caller_has_a_few_sessions_without_a_check(small: Bench) -> None:
    replies = await asyncio.gather(*(offer(small, "one") for _ in range(40)))
    opened = [reply for reply in replies if isinstance(reply, messages.Opened)]
    assert len(opened) == MIN_PER_CALLER
    refusal = next(reply for reply in replies if isinstance(reply, messages.Refused))
    assert refusal.code == "full"
    assert "no client has come" in refusal.message
    small.forget_clients()
    assert isinstance(await offer(small, "another"), messages.Opened)
    # The sessions of the first caller end 8 s after their offers, and it may offer again.
    first = small.lines[opened[0].session_id]
    await small.until(lambda: first.ended == "setup_timeout", "it ends without a check", 12)
    await small.until(lambda: small.announcement.sessions < MIN_PER_CALLER, "the others end as well", 5)
    assert isinstance(await offer(small, "one"), messages.Opened)
