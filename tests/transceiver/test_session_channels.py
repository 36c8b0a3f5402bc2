"""A session's data channels, in virtual time."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.peers.session_call import Call

from antiphon.schemas import messages

pytestmark = pytest.mark.virtual


async def test_what_an_agent_says_on_a_channel_before_it_is_open_arrives_in_order() -> None:
    call = Call()
    for number in range(300):
        call.session.send_message("oai-events", str(number))
    await call.connect()
    await asyncio.sleep(5)
    assert call.peer.texts[:-1] == [str(number) for number in range(44, 300)]  # the oldest went first
    notice = json.loads(call.peer.texts[-1])
    assert notice["type"] == "error"
    assert "44 messages" in notice["error"]["message"]
    assert [str(event) for event in call.event_of(messages.SessionError) if "not open" in str(event)] != []
    await call.stop()


async def test_what_waits_for_a_channel_is_bounded_in_bytes() -> None:
    call = Call()
    for _ in range(100):
        call.session.send_message("oai-events", "x" * 100_000)
    assert sum(len(kept) for _, kept in call.session._channels._early) <= 1 << 20
    await call.stop()


async def test_a_channel_that_is_full_refuses_and_says_so(call: Call) -> None:
    call.drop_down = lambda data: True
    for _ in range(40):
        call.session.send_message("oai-events", "x" * 60_000)
    assert any("unsent" in str(event) for event in call.event_of(messages.SessionError))
    call.session.send_message("oai-events", "x" * 70_000)
    assert call.ended is None
