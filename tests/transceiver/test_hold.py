"""A client that holds its call and takes it back, by the direction of its next offer, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from support.models.sounds import speech, tone
from support.peers.session_call import CERTIFICATE, PASSWORD_KEY, Call, StartCall, loudness

from antiphon.rtc.rtp.packet import is_rtcp
from antiphon.rtc.sdp.audio import Direction
from antiphon.runtime.owned_calls.playout_queue import MAX_QUEUED
from antiphon.schemas import messages
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import SessionState

pytestmark = pytest.mark.virtual


def change(call: Call, direction: Direction) -> None:
    call.session.change_direction(direction, call.loop.time())


def say(call: Call, seconds: float, generation: int = 1) -> None:
    for frame in speech(seconds, generation):
        call.session.speak(frame, call.loop.time())


def audio_packets(call: Call) -> int:
    return sum(127 < data[0] < 192 and not is_rtcp(data) for data in call.sent)


def states(call: Call) -> list[str]:
    found = [event.state for event in call.events if isinstance(event, messages.Playout)]
    return [state for state in found if state != "playing"]


@pytest.mark.parametrize("hold", ["inactive", "recvonly"])
async def test_speech_waits_while_the_client_holds_and_goes_on_where_it_stopped(call: Call, hold: Direction) -> None:
    say(call, 4.0)
    await asyncio.sleep(1.0)
    change(call, hold)
    sent = audio_packets(call)
    say(call, 1.0, generation=1)
    await asyncio.sleep(60)
    assert audio_packets(call) == sent, "nothing of the agent leaves"
    assert call.ended is None
    assert any(127 < data[0] < 192 and is_rtcp(data) for data in call.sent[-50:]), "reports go on"
    assert states(call) == ["started", *["paused"] * 12], "an agent without reports takes its speech for played"
    change(call, "sendrecv")
    await asyncio.sleep(5)
    assert audio_packets(call) == 250
    played = [event for event in call.events if isinstance(event, messages.Playout)][-1]
    assert (played.state, played.played_samples) == ("ended", 5 * 24000)
    assert sum(level > 4000 for level in loudness(call.peer.frames)) > 245
    directions = [event.direction for event in call.events if isinstance(event, messages.DirectionChanged)]
    assert directions == [hold, "sendrecv"]


async def test_speech_of_a_long_hold_is_bounded_and_the_agent_is_told(call: Call) -> None:
    change(call, "inactive")
    for _ in range(12):
        say(call, 4.0)
    assert call.event_of(messages.PlayoutOverflow)
    change(call, "sendrecv")
    await asyncio.sleep(40)
    assert audio_packets(call) == MAX_QUEUED


async def test_a_flush_on_hold_drops_the_speech_and_sends_no_fade(call: Call) -> None:
    say(call, 4.0)
    await asyncio.sleep(1.0)
    call.session.control(messages.Flush(generation=2), call.loop.time())
    change(call, "inactive")
    sent = audio_packets(call)
    call.session.control(messages.Flush(generation=3), call.loop.time())
    await asyncio.sleep(1)
    say(call, 1.0, generation=3)
    change(call, "sendrecv")
    await asyncio.sleep(3)
    assert audio_packets(call) == sent + 50


async def test_the_agents_own_pause_outlasts_a_hold(call: Call) -> None:
    say(call, 2.0)
    call.session.control(messages.Pause(), call.loop.time())
    change(call, "inactive")
    change(call, "sendrecv")
    sent = audio_packets(call)
    await asyncio.sleep(1)
    assert audio_packets(call) == sent
    change(call, "inactive")
    call.session.control(messages.Resume(), call.loop.time())
    await asyncio.sleep(1)
    assert audio_packets(call) == sent, "what the agent resumes waits for the client"
    change(call, "sendrecv")
    await asyncio.sleep(3)
    assert audio_packets(call) >= sent + 99


@pytest.mark.parametrize("hold", ["inactive", "sendonly"])
async def test_a_caller_that_receives_only_is_not_heard_until_it_sends_again(call: Call, hold: Direction) -> None:
    call.peer.speak(tone(1.0))
    await asyncio.sleep(1.5)
    assert max(loudness(call.heard[-75:])) > 4000
    change(call, hold)
    await asyncio.sleep(0.3)
    call.peer.speak(tone(1.0))
    before = len(call.heard)
    await asyncio.sleep(2)
    assert max(loudness(call.heard[before:])) == 0, "the agent gets silence, at the pace of the clock"
    assert len(call.heard) - before == pytest.approx(100, abs=8)
    change(call, "sendrecv")
    call.peer.speak(tone(1.0))
    await asyncio.sleep(1.5)
    assert sum(level > 4000 for level in loudness(call.heard[-80:])) > 45


async def test_a_process_that_takes_over_keeps_the_hold(call: Call) -> None:
    say(call, 3.0)
    await asyncio.sleep(1)
    change(call, "inactive")
    now = call.loop.time()
    state = SessionState.from_bytes(call.session.export(now))
    assert state.direction == "inactive"
    call.session.detach()
    adopted = Session(
        state, CERTIFICATE, PASSWORD_KEY, False, call, now, call.wheel.add, call.wheel.remove
    )  # fmt: skip
    adopted.restore(now)
    call.session = adopted
    adopted.resume(now)
    sent = audio_packets(call)
    await asyncio.sleep(1)
    assert audio_packets(call) == sent
    change(call, "sendrecv")
    await asyncio.sleep(3)
    assert audio_packets(call) == pytest.approx(sent + 100, abs=3)


async def test_an_unchanged_direction_says_nothing(call: Call) -> None:
    change(call, "sendrecv")
    assert not call.event_of(messages.DirectionChanged)


async def test_to_a_client_that_never_listens_speech_is_played_to_nobody_at_its_pace(start_call: StartCall) -> None:
    call = await start_call(extra=lambda text: text.replace("a=sendrecv", "a=sendonly"))
    assert call.event_of(messages.DirectionChanged) == [messages.DirectionChanged(direction="recvonly")]
    say(call, 2.0)
    await asyncio.sleep(1)
    assert states(call) == ["started"]
    await asyncio.sleep(2)
    assert states(call) == ["started", "ended"], "the agent is not kept waiting for ever"
    assert audio_packets(call) == 0
    change(call, "sendrecv")
    say(call, 1.0)
    await asyncio.sleep(2)
    assert audio_packets(call) == 50


async def test_a_call_that_begins_on_hold_keeps_the_greeting(start_call: StartCall) -> None:
    call = await start_call(extra=lambda text: text.replace("a=sendrecv", "a=inactive"))
    say(call, 1.0)
    await asyncio.sleep(3)
    assert audio_packets(call) == 0
    change(call, "sendrecv")
    await asyncio.sleep(2)
    assert sum(level > 4000 for level in loudness(call.peer.frames)) > 45
