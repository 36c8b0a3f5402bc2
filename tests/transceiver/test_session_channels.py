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


async def test_an_event_that_is_longer_than_the_client_takes_becomes_an_error_that_both_ends_get(call: Call) -> None:
    event = json.dumps({"type": "response.done", "text": "x" * 100_000})
    call.session.send_message("oai-events", event)
    call.session.send_message("oai-events", "the next one")
    await call.until(lambda: len(call.peer.texts) == 2)
    notice = json.loads(call.peer.texts[0])
    assert notice["type"] == "error"
    assert notice["error"]["code"] == "message_too_long"
    assert "'response.done'" in notice["error"]["message"]
    assert "65536" in notice["error"]["message"]
    assert call.peer.texts[1] == "the next one"
    assert [event for event in call.event_of(messages.SessionError) if "65536" in str(event)]
    assert call.ended is None


async def test_an_event_that_is_too_long_and_waits_for_its_channel_becomes_an_error_as_well() -> None:
    call = Call(extra=lambda offer: offer.replace("a=max-message-size:65536", "a=max-message-size:400"))
    call.session.send_message("oai-events", "x" * 401)
    await call.connect()
    await call.until(lambda: bool(call.peer.texts))
    assert len(call.peer.texts[0]) <= 400
    assert json.loads(call.peer.texts[0])["error"]["code"] == "message_too_long"
    await call.stop()


async def test_events_that_a_full_queue_refuses_are_told_to_the_client_when_it_reads_again(call: Call) -> None:
    call.drop_down = lambda data: True
    for _ in range(40):
        call.session.send_message("oai-events", "x" * 60_000)
    call.drop_down = lambda data: False
    await call.until(lambda: any("messages_dropped" in text for text in call.peer.texts))


async def test_the_agent_learns_that_channels_close_and_slots_are_free_again(call: Call) -> None:
    data = call.peer.channels
    for number in range(15):
        data.create(f"channel {number}", lambda: None, call.loop.time())
    await call.until(lambda: len(data.open_labels) == 16)
    assert len(call.event_of(messages.ChannelOpened)) == 16
    for number in range(15):
        data.close_channel(f"channel {number}", call.loop.time())
    data.close_channel("oai-events", call.loop.time())
    await call.until(lambda: len(call.event_of(messages.ChannelClosed)) == 16)
    data.create("oai-events", lambda: None, call.loop.time())
    await call.until(lambda: len(call.event_of(messages.ChannelOpened)) == 17)
    call.session.send_message("oai-events", "welcome back")
    await call.until(lambda: "welcome back" in call.peer.texts)


async def test_a_message_of_256_kib_of_the_client_arrives_whole(call: Call) -> None:
    assert "a=max-message-size:262144" in call.answer
    call.peer.send_text("x" * 262_144)
    await call.until(lambda: bool(call.data))
    assert call.data[0].text == "x" * 262_144


async def test_a_burst_of_messages_of_the_client_takes_no_longer_than_its_rate(call: Call) -> None:
    """What waits for its turn is visited by the timing wheel, not only with the session's other timers."""
    call.stop_process()
    for number in range(400):
        call.peer.send_text(str(number))
    await asyncio.sleep(0.1)
    call.continue_process()
    began = call.loop.time()
    await call.until(lambda: len(call.data) == 400)
    assert [message.text for message in call.data] == [str(number) for number in range(400)]
    assert call.loop.time() - began < 1.5
