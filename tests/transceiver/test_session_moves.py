"""A session goes on from what was written of it, and sends only what that reserves; in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from support.models.sounds import speech, tone
from support.peers.session_call import PASSWORD_KEY, Call, loudness

from antiphon.schemas import messages
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import RTP_AHEAD, SessionState

pytestmark = pytest.mark.virtual


@pytest.mark.parametrize("crashed", [False, True], ids=["handed over", "taken over after a crash"])
@pytest.mark.parametrize("sequence", [100, 65500], ids=["young", "after the sequence number has wrapped"])
async def test_a_session_goes_on_in_another_process_from_its_written_state(sequence: int, crashed: bool) -> None:
    call = Call()
    call.session.state.rtp.sequence = call.peer.rtp.sequence = sequence
    await call.connect()
    call.peer.speak(tone(0.5))
    for frame in speech(1.0):
        call.session.speak(frame, call.loop.time())
    call.peer.send_text("to the first")
    call.session.send_message("oai-events", "from the first")
    await asyncio.sleep(2)
    assert call.session.state.srtp is not None
    assert (call.session.state.srtp.local_index > 65535) == (sequence > 60000)
    assert (call.session.state.srtp.remote_index > 65535) == (sequence > 60000)
    events = len(call.events)
    call.peer.send_text("just before")
    written = call.session.export(call.loop.time())
    call.session.detach()
    call.registry.remove(call.session)
    assert len(call.events) == events

    state = SessionState.from_bytes(written)
    state.handed_over = not crashed
    heard, said = len(call.peer.frames), len(call.heard)
    old = call.session
    call.session = Session(
        state,
        None,
        PASSWORD_KEY,
        old.dtls_client,
        call,
        call.loop.time(),
        call.wheel.add,
        call.wheel.remove,
    )
    call.registry.add(call.session)
    call.session.restore(call.loop.time())
    call.session.resume(call.loop.time())
    call.registry.adopt(call.session)
    call.peer.speak(tone(1.0))
    for frame in speech(1.0, generation=9):
        call.session.speak(frame, call.loop.time())
    call.peer.send_text("to the second")
    call.session.send_message("oai-events", "from the second")
    await asyncio.sleep(8)
    assert call.ended is None
    assert sum(level > 4000 for level in loudness(call.heard[said:])) > 45
    assert sum(level > 4000 for level in loudness(call.peer.frames[heard:])) > 45
    assert [message.text for message in call.data] == ["to the first", "just before", "to the second"]
    assert call.peer.texts == ["from the first", "from the second"]
    assert len(call.event_of(messages.MediaStarted)) == 1
    assert len(call.event_of(messages.Connected)) == 1
    numbers = [frame.sequence for frame in call.heard]
    assert numbers == list(range(len(numbers)))
    await call.stop()


@pytest.mark.long
async def test_nothing_is_sent_beyond_what_a_stored_checkpoint_reserves(call: Call) -> None:
    call.session.checkpoints.begin(lambda: None)
    call.session.checkpoints.write(call.loop.time())
    at_first = call.session.state.rtp.packets
    for generation in range(2):  # twice what the queue holds: it is never stored that this is being sent
        for frame in speech(29.0, generation=generation):
            call.session.speak(frame, call.loop.time())
        await asyncio.sleep(30)
    assert call.session.state.rtp.packets == at_first + RTP_AHEAD
    call.peer.send_text("heard, and not acknowledged")
    await asyncio.sleep(3)
    assert call.data[0].text == "heard, and not acknowledged"
    assert not call.peer.acknowledged
    call.session.checkpoints.write(call.loop.time())
    call.session.checkpoints.stored()
    await asyncio.sleep(20)
    assert call.session.state.rtp.packets == at_first + 2 * 1450
    assert call.peer.acknowledged
    assert len(call.data) == 1


async def test_messages_under_way_when_a_process_dies_arrive_once_and_in_order(call: Call) -> None:
    call.session.send_message("oai-events", "before")
    await asyncio.sleep(2)
    call.drop_down = lambda data: 19 < data[0] < 64
    for number in range(5):
        call.session.send_message("oai-events", f"lost on the way {number}")
    await asyncio.sleep(0.5)
    written = call.session.checkpoints.write(call.loop.time())
    call.drop_down = lambda data: False
    call.session.send_message("oai-events", "after the checkpoint")  # delivered, and not in it
    await asyncio.sleep(0.05)
    call.session.detach()
    call.registry.remove(call.session)
    state = SessionState.from_bytes(written)
    call.session = Session(state, None, PASSWORD_KEY, True, call, call.loop.time(), call.wheel.add, call.wheel.remove)
    call.registry.add(call.session)
    call.session.restore(call.loop.time())
    call.session.resume(call.loop.time())
    call.registry.adopt(call.session)
    call.session.send_message("oai-events", "from the next")
    await asyncio.sleep(20)
    lost = [f"lost on the way {number}" for number in range(5)]
    assert [text for text in call.peer.texts if text != "after the checkpoint"] == [
        "before",
        *lost,
        "from the next",
    ]
    assert call.peer.texts.count("after the checkpoint") <= 1
    call.peer.send_text("up")
    await asyncio.sleep(2)
    assert [message.text for message in call.data] == ["up"]
