"""What an agent asks for before its session is there is kept and carried out; why a session ended is kept as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from nats.aio.msg import Msg
from support.models.sounds import speech
from support.peers.session_call import Call
from support.processes.transceiver_process import Bench, Line

from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import pack_frame
from antiphon.transceiver.session import endings
from antiphon.transceiver.session.endings import Endings

Before = Callable[[str], Awaitable[None]]


async def hasty_agent(bench: Bench, name: str, before: Before) -> None:
    """An agent whose instance `one` does something before it accepts."""

    async def claimed(message: Msg) -> None:
        claim = messages.decode(message.data, messages.Claim)
        bench.lines[claim.session_id] = Line(claim.session_id, claim.agent)
        await before(claim.session_id)
        await message.respond(messages.encode(messages.ClaimReply(accepted=True, input_rate=16000, instance="one")))

    await bench.client.subscribe(subjects.agent_claim(name), cb=claimed)


async def control(bench: Bench, session_id: str, message: messages.Message) -> messages.ControlReply:
    subject = subjects.session_control(bench.lines[session_id].agent, session_id)
    reply = await bench.client.request(subject, messages.encode(message), timeout=5)
    return messages.decode(reply.data, messages.ControlReply)


@pytest.mark.process
@pytest.mark.parametrize("instance", ["one", ""])
async def test_a_hang_up_before_the_session_is_there_is_carried_out_and_its_reason_told(
    bench: Bench, instance: str
) -> None:
    replies: list[messages.ControlReply] = []

    async def hang_up(session_id: str) -> None:
        replies.append(await control(bench, session_id, messages.HangUp(reason="closed today", instance=instance)))

    name = f"hasty{len(instance)}"
    await hasty_agent(bench, name, hang_up)
    before = bench.announcement.sessions
    refused = await bench.ask(bench.peer().offer(), agent=name)
    assert isinstance(refused, messages.Refused)
    assert (refused.code, refused.message) == ("agent_ended", f"agent '{name}' ended the call at once (closed today)")
    assert replies[0].ok, replies
    line = list(bench.lines.values())[-1]
    await bench.until(lambda: line.ended is not None, "its agent is told")
    assert line.events == [messages.Ended(reason="hang_up", cause="closed today")]
    await bench.sessions(before)


@pytest.mark.process
async def test_speech_flushed_before_the_session_is_there_is_not_heard_and_later_speech_is(bench: Bench) -> None:
    async def change_of_mind(session_id: str) -> None:
        for frame in speech(1.0, generation=1):
            await bench.client.publish(subjects.audio_out("mind", session_id), pack_frame(frame))
        assert (await control(bench, session_id, messages.Flush(generation=2))).ok
        assert (await control(bench, session_id, messages.Pause())).ok
        assert (await control(bench, session_id, messages.Resume())).ok

    await hasty_agent(bench, "mind", change_of_mind)
    peer = bench.peer()
    opened = await bench.ask(peer.offer(), agent="mind")
    assert isinstance(opened, messages.Opened)
    peer.begin(opened.answer)
    line = bench.lines[opened.session_id]
    await bench.until(lambda: any(isinstance(event, messages.Flushed) for event in line.events), "it is flushed")
    await bench.say(line, speech(0.4, generation=2))
    await bench.until(lambda: "ended" in line.states(), "the second speech was played")
    played = [event for event in line.events if isinstance(event, messages.Playout)]
    assert {event.generation for event in played} == {2}
    await peer.close()


@pytest.mark.process
async def test_another_instance_than_the_one_that_has_the_session_cannot_hang_it_up_early(bench: Bench) -> None:
    async def hang_up(session_id: str) -> None:
        await control(bench, session_id, messages.HangUp(instance="slow"))

    await hasty_agent(bench, "two", hang_up)
    opened = await bench.ask(bench.peer().offer(), agent="two")
    assert isinstance(opened, messages.Opened)
    assert (await control(bench, opened.session_id, messages.HangUp(instance="one"))).ok


@pytest.mark.process
async def test_a_side_channel_is_told_the_agent_before_and_while_the_session_is_there(bench: Bench) -> None:
    replies: list[messages.AttachReply] = []

    async def attach(session_id: str) -> None:
        reply = await bench.client.request(subjects.call_attach(session_id), b"", timeout=5)
        replies.append(messages.decode(reply.data, messages.AttachReply))

    await hasty_agent(bench, "probed", attach)
    peer = bench.peer()
    opened = await bench.ask(peer.offer(), agent="probed")
    assert isinstance(opened, messages.Opened)
    await attach(opened.session_id)
    assert [(reply.ok, reply.agent) for reply in replies] == [(True, "probed")] * 2
    assert bench.lines[opened.session_id].ended is None
    assert (await control(bench, opened.session_id, messages.HangUp())).ok


@pytest.mark.virtual
async def test_why_a_session_ended_is_kept_for_two_minutes_and_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    call, kept = Call(), Endings()
    now = call.loop.time()
    kept.note(call.session, now)
    assert len(kept) == 0, "it runs"
    call.session.control(messages.HangUp(reason="x" * 500), now)
    kept.note(call.session, now)
    told = kept.get("rtc_test", now + endings.KEEP_SECONDS)
    assert told is not None
    assert (told.reason, told.cause, told.connected, told.spoke) == ("hang_up", "x" * 200, False, False)
    assert kept.get("rtc_test", now + endings.KEEP_SECONDS + 0.1) is None
    monkeypatch.setattr(endings, "MAX_KEPT", 3)
    for number in range(10):
        call.session.state.session_id = f"rtc_{number}"
        kept.note(call.session, now)
    assert len(kept) == 3
    assert kept.get("rtc_6", now) is None
    assert kept.get("rtc_9", now) is not None
    await call.stop()
