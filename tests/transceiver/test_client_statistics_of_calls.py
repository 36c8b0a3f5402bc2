"""A client's `antiphon.client_stats`: what of its data channels its agent gets, and what the call keeps."""

from __future__ import annotations

import json

import pytest
from support.peers.session_call import Call
from support.websocket_call import Call as WebSocketCall

from antiphon.transceiver.session.state import RtviState

pytestmark = pytest.mark.virtual

DIGEST = json.dumps({"type": "antiphon.client_stats", "jitter_buffer_ms": 42.5})
BROKEN = json.dumps({"type": "antiphon.client_stats", "jitter_buffer_ms": -1})


async def test_no_agent_gets_a_digest_and_nothing_is_answered(call: Call) -> None:
    before, told = len(call.peer.texts), len(call.events)
    call.session._channels._received("oai-events", DIGEST)
    call.session._channels._received("oai-events", DIGEST.encode())
    call.session._channels._received("oai-events", BROKEN)
    call.session._channels._received("oai-events", '{"type":"response.create"}')
    assert [each.text for each in call.data] == ['{"type":"response.create"}']
    assert call.session.client_statistics is not None
    assert call.session.client_statistics.jitter_buffer_ms == 42.5
    assert call.session.reports.dropped == 1
    assert (len(call.peer.texts), len(call.events)) == (before, told)


async def test_on_another_channel_it_is_the_agents(call: Call) -> None:
    call.session._channels._received("mine", DIGEST)
    assert [each.channel for each in call.data] == ["mine"]
    assert call.session.client_statistics is None


async def test_messages_of_rtvi_are_left_alone() -> None:
    call = Call(rtvi=RtviState(label="oai-events"))
    call.session._channels._received("oai-events", DIGEST)
    assert call.session.client_statistics is None
    await call.stop()


async def test_over_websocket_no_agent_gets_it_either() -> None:
    call = WebSocketCall()
    call.send("antiphon.client_stats", jitter_buffer_ms=42.5)
    call.send("antiphon.client_stats", jitter_buffer_ms="?")
    call.send("response.create")
    call.run(0.1)
    assert [each for each in call.to_agent if isinstance(each, str)] == ["response.create"]
    assert call.core.reports.last is not None
    assert call.core.reports.dropped == 1
    assert [each["type"] for each in call.client if each["type"] == "error"] == []
