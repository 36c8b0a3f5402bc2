"""How a session goes on and how it ends, in virtual time."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.models.sounds import speech
from support.peers.session_call import KEYRING, PASSWORD_KEY, Call

from antiphon.schemas import messages
from antiphon.schemas.route_token import ice_password

pytestmark = pytest.mark.virtual


async def test_close_notify_of_the_client_ends_the_session_at_once(call: Call) -> None:
    await call.peer.close()
    await asyncio.sleep(0.1)
    assert call.ended == "client_closed"


async def test_hanging_up_tells_the_client(call: Call) -> None:
    call.session.control(messages.HangUp(), call.loop.time())
    await asyncio.sleep(0.1)
    assert call.ended == "hang_up"
    assert call.peer.closed.is_set()


async def test_a_client_that_vanishes_is_missed_after_30_s(call: Call) -> None:
    await call.peer.vanish()
    await asyncio.sleep(29)
    assert call.ended is None
    await asyncio.sleep(2)
    assert call.ended == "client_vanished"


async def test_a_client_that_is_silent_for_5_s_is_suspect_until_it_is_heard_again(call: Call) -> None:
    call.drop_up = lambda data: True
    await asyncio.sleep(4.5)
    assert not call.event_of(messages.Suspect)
    await asyncio.sleep(1)
    assert [event.silent_s > 4 for event in call.event_of(messages.Suspect)] == [True]  # type: ignore[attr-defined]
    call.drop_up = lambda data: False
    await asyncio.sleep(1)
    assert [event.silent_s > 4 for event in call.event_of(messages.Suspect)] == [True, False]  # type: ignore[attr-defined]
    assert call.ended is None


async def test_an_ice_restart_changes_the_credentials_and_nothing_else(call: Call) -> None:
    old = call.session.state.ufrags[0]
    dtls, srtp = call.session.state.dtls, call.session.state.srtp
    for _ in range(5):  # offers whose answers were lost do not pile up
        new, _ = KEYRING.mint(0, 0, 0, 1.8e9)
        call.registry.restart_ice(call.session, new)
    assert call.session.state.ufrags == [new, old]
    await asyncio.sleep(6)
    assert call.ended is None
    assert not call.event_of(messages.Suspect), "the old credentials count until the new ones are used"
    call.peer.answer.ufrag, call.peer.answer.password = new, ice_password(PASSWORD_KEY, new)
    await asyncio.sleep(6)
    assert call.session.state.ufrags == [new]
    call.peer.answer.ufrag, call.peer.answer.password = old, ice_password(PASSWORD_KEY, old)
    refused = call.registry.counters.refused_checks
    await asyncio.sleep(6)
    assert call.registry.counters.refused_checks > refused
    assert call.session.state.dtls is dtls
    assert call.session.state.srtp is srtp
    call.peer.send_text("still here")
    await asyncio.sleep(0.5)
    assert [message.text for message in call.data] == ["still here"]
    assert call.session.state.sdp_version == 6


async def test_agent_and_client_are_told_of_a_drain(call: Call) -> None:
    call.session.announce_draining(30.0)
    await asyncio.sleep(0.5)
    assert call.event_of(messages.Draining) == [messages.Draining(seconds=30.0)]
    assert json.loads(call.peer.texts[-1])["type"] == "antiphon.draining"
    assert call.ended is None


async def test_checks_alone_keep_a_silent_client_s_session() -> None:
    call = Call()
    call.drop_up = lambda data: 127 < data[0] < 192
    await call.connect()
    await asyncio.sleep(70)
    assert call.ended is None
    await call.stop()


async def test_nothing_follows_the_end(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    for frame in speech(1.0):
        call.session.speak(frame, call.loop.time())
    now = call.loop.time()
    call.session.end("hang_up", now)
    sent = len(call.sent)
    call.session.end("internal", now)
    call.session.control(messages.Flush(generation=9), now)
    call.session.send_message("oai-events", "late")
    for frame in speech(40.0):
        call.session.speak(frame, now)
    await asyncio.sleep(5)  # the client still talks
    assert call.ended == "hang_up"
    assert [data for data in call.sent[sent:] if data[0] > 3] == []
    assert call.wheel.due() is None
    assert not caplog.records


async def test_a_session_that_fails_inside_ends_alone(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    def broken(packet: bytes, now: float, unix_ns: int) -> bool:
        raise ZeroDivisionError

    call.session.receiver.receive = broken  # type: ignore[method-assign]
    await asyncio.sleep(0.1)
    assert call.ended == "internal"
    assert call.wheel.due() is None
    assert "rtc_test failed" in caplog.text
