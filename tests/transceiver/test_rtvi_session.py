"""A whole session whose client speaks RTVI, in virtual time."""

from __future__ import annotations

import json

import pytest
from support.peers.session_call import Call

from antiphon.schemas import messages
from antiphon.transceiver.session.state import RtviState

pytestmark = pytest.mark.virtual


def sent(type_: str, **data: object) -> str:
    return json.dumps({"label": "rtvi-ai", "id": "1", "type": type_, "data": data})


async def test_a_client_of_rtvi_and_an_agent_of_the_realtime_protocol_understand_each_other() -> None:
    call = Call(rtvi=RtviState())
    call.session.send_message("oai-events", '{"type": "session.created"}')
    call.session.send_message("oai-events", '{"type": "input_audio_buffer.speech_started"}')
    await call.connect()
    assert call.event_of(messages.ChannelOpened) == [messages.ChannelOpened(channel="oai-events")]
    call.peer.send_text(sent("client-ready", version="2.1.0"))
    call.peer.send_text("ping: 1")
    call.peer.send_text("nonsense")
    call.peer.send_text(sent("send-text", content="Hello"))
    await call.until(lambda: len(call.peer.texts) >= 3 and len(call.data) >= 3)
    told = [json.loads(text)["type"] for text in call.peer.texts]
    assert told == ["user-started-speaking", "bot-ready", "error"]
    assert [json.loads(data.text or "")["type"] for data in call.data] == [
        "output_audio_buffer.clear",
        "conversation.item.create",
        "response.create",
    ]
    assert {data.channel for data in call.data} == {"oai-events"}
    assert call.ended is None
    await call.stop()


@pytest.mark.parametrize("by_the_agent", [True, False])
async def test_the_client_is_told_that_the_agent_leaves_before_its_call_ends(by_the_agent: bool) -> None:
    call = Call(rtvi=RtviState())
    await call.connect()
    call.peer.send_text(sent("client-ready", version="2.1.0"))
    await call.until(lambda: len(call.peer.texts) == 1)
    if by_the_agent:
        call.session.control(messages.HangUp(reason="done"), call.loop.time())
    else:
        call.peer.send_text(sent("disconnect-bot"))
    await call.until(lambda: len(call.peer.texts) == 2)
    assert json.loads(call.peer.texts[1]) == {"type": "signalling", "message": {"type": "peerLeft"}}
    await call.until(lambda: call.ended is not None)
    (ended,) = call.event_of(messages.Ended)
    assert isinstance(ended, messages.Ended)
    assert (ended.reason, ended.cause) == ("hang_up", "done" if by_the_agent else "client")
    await call.stop()
