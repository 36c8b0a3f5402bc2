"""Running sessions that another agent takes, and subjects that belong to one agent. Real processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from support.models.sounds import speech, tone
from support.peers.transceiver_peer import CarriedPeer
from support.processes.several_transceivers import Several, several_transceivers
from support.processes.transceiver_observed import loud
from support.processes.transceiver_process import Bench, Line

from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import pack_frame
from antiphon.schemas.messages import decode, encode

pytestmark = pytest.mark.process


class NextAgent:
    """An agent that may be asked to take running sessions, and what it receives under its own name."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name
        self.claims: list[messages.Claim] = []
        self.line: Line

    async def answers(
        self, before: Callable[[str], Awaitable[Any]] | None = None, accepted: bool = True, rate: Any = 16000
    ) -> NextAgent:
        """From now on; `before(session_id)` is done before it answers."""

        async def claimed(message: Msg) -> None:
            claim = decode(message.data, messages.Claim)
            self.claims.append(claim)
            self.line = Line(claim.session_id, self.name)
            self.bench.also[self.name, claim.session_id] = self.line
            if before is not None:
                await before(claim.session_id)
            reply = messages.ClaimReply(accepted=accepted, input_rate=rate, instance=f"{self.name}-1", message="closed")
            await message.respond(encode(reply))

        await self.bench.client.subscribe(subjects.agent_claim(self.name), cb=claimed)
        await connection.flush(self.bench.client)
        return self


def of_type(line: Line, kind: type[messages.Message]) -> list[Any]:
    return [event for event in line.events if isinstance(event, kind)]


async def transferred(bench: Bench, line: Line, agent: str) -> None:
    reply = await bench.control(line, messages.Transfer(agent=agent))
    assert reply.ok, reply
    await bench.until(lambda: bool(of_type(line, messages.Transferred)), "it is told of the transfer")


async def both_hear(bench: Bench, peer: CarriedPeer, line: Line, generation: int = 1) -> None:
    before, heard = len(line.frames), len(peer.frames)
    peer.speak(tone(0.5))
    await bench.say(line, speech(0.5, generation=generation))
    await bench.until(lambda: loud(line.frames[before:]), "the agent receives the caller")
    await bench.until(lambda: loud(peer.frames[heard:]), "the caller receives the agent")


async def test_the_next_agent_has_the_call_and_the_one_before_neither_speaks_nor_controls(bench: Bench) -> None:
    peer, line = await bench.call()
    await bench.say(line, speech(0.5, generation=5))
    await bench.until(lambda: "ended" in line.states(), "the first agent has spoken")
    billing = await NextAgent(bench, "billing").answers(rate=24000)
    await bench.say(line, speech(20.0, generation=6))
    await bench.until(lambda: bool(line.states()) and line.states()[-1] == "playing", "it speaks on and on")
    await transferred(bench, line, "billing")
    assert isinstance(line.events[-1], messages.Transferred), "no event follows on its subjects"
    assert line.events[-1] == messages.Transferred(agent="billing", instance="billing-1")
    assert of_type(line, messages.Flushed), "its queued speech is dropped, and reported to it"
    # Its speech still comes: under its own name, where the call is no more.
    with contextlib.suppress(NoRespondersError):  # in the first moment its subjects are still subscribed
        assert not (await bench.control(line, messages.HangUp())).ok
    await bench.say(line, speech(2.0, generation=10**6))
    await bench.client.publish(
        subjects.data_out(line.agent, line.session_id), encode(messages.DataMessage.of("oai-events", "stale"))
    )
    frames, events = len(line.frames), len(line.events)
    await bench.until(lambda: not loud(peer.frames[-10:]), "the caller does not receive it")
    await both_hear(bench, peer, billing.line)
    assert {frame.rate for frame in billing.line.frames} == {24000}
    last, first = line.frames[-1], billing.line.frames[0]
    assert abs(first.first_sample / 24000 - last.first_sample / 16000) < 0.1, "positions go on at the other rate"
    assert (len(line.frames), len(line.events)) == (frames, events)
    assert peer.texts == []
    kinds = {type(event) for event in billing.line.events}
    assert {messages.Connected, messages.ChannelOpened} <= kinds, "what it could not see is told"
    assert not of_type(billing.line, messages.TransferFailed)
    peer.send_text("hello billing")
    await bench.until(lambda: bool(billing.line.data), "the client's messages go to it")
    reply = await bench.client.request(subjects.call_attach(line.session_id), b"", timeout=5)
    assert decode(reply.data, messages.AttachReply).agent == "billing"
    assert decode(reply.data, messages.AttachReply).cluster == 0
    assert (await bench.control(billing.line, messages.HangUp())).ok
    await bench.until(lambda: billing.line.ended == "hang_up", "its end is told to the agent that has it")
    assert line.ended is None


@pytest.mark.parametrize("how", ["is not there", "declines", "is the same", "is asked already"])
async def test_where_no_agent_accepts_nothing_has_moved(bench: Bench, how: str) -> None:
    peer, line = await bench.call()
    asked, patient = asyncio.Event(), asyncio.Event()

    async def wait(session_id: str) -> None:
        asked.set()
        await patient.wait()

    if how == "declines":
        await NextAgent(bench, "closed").answers(accepted=False)
    if how == "is asked already":
        await NextAgent(bench, "closed").answers(wait, accepted=False)
    name = {"is the same": "echo", "is not there": "nobody"}.get(how, "closed")
    reply = await bench.control(line, messages.Transfer(agent=name))
    if how == "is the same":
        assert not reply.ok
        assert "agent echo has session" in reply.message
    else:
        assert reply.ok
        if how == "is asked already":
            await asked.wait()
            again = await bench.control(line, messages.Transfer(agent="closed"))
            assert not again.ok
            assert "is going on" in again.message
            patient.set()
        await bench.until(lambda: bool(of_type(line, messages.TransferFailed)), "it is told", 10)
        failed = of_type(line, messages.TransferFailed)
        assert len(failed) == 1
        assert {"is not there": "does not answer", "declines": "closed"}.get(how, "closed") in failed[0].message
    await both_hear(bench, peer, line)
    assert line.ended is None
    subject = subjects.session_control(name if name != "echo" else "nobody", line.session_id)
    with pytest.raises(NoRespondersError):
        await bench.client.request(subject, encode(messages.HangUp()), timeout=5)
    assert (await bench.control(line, messages.HangUp())).ok


async def test_what_the_next_agent_does_before_it_accepts_counts_from_its_acceptance_on(bench: Bench) -> None:
    peer, line = await bench.call()
    heard_early: list[bool] = []

    async def speaks_at_once(session_id: str) -> None:
        for frame in speech(1.0, generation=1):
            await bench.client.publish(subjects.audio_out("eager", session_id), pack_frame(frame))
        await connection.flush(bench.client)
        assert (await bench.control(eager.line, messages.Pause())).ok
        assert (await bench.control(eager.line, messages.Resume())).ok
        refused = await bench.control(eager.line, messages.Transfer(agent="echo"))
        assert not refused.ok, "it does not have the call yet"
        await bench.until(lambda: len(line.frames) > frames + 10, "the call goes on with the first agent")
        heard_early.append(loud(peer.frames[received:]))

    eager = NextAgent(bench, "eager")
    await eager.answers(speaks_at_once)
    frames, received = len(line.frames), len(peer.frames)
    await transferred(bench, line, "eager")
    assert heard_early == [False]
    await bench.until(lambda: loud(peer.frames[received:]), "then its first words are played")
    await bench.until(lambda: "ended" in eager.line.states(), "to their end")
    assert of_type(eager.line, messages.Playout)[-1].played_samples == 24000


async def test_a_session_that_was_transferred_can_be_transferred_back_and_on(bench: Bench) -> None:
    peer, line = await bench.call()
    one, two = await NextAgent(bench, "one").answers(), await NextAgent(bench, "two").answers()
    await transferred(bench, line, "one")
    await both_hear(bench, peer, one.line)
    first = one.line
    await transferred(bench, first, "two")
    await both_hear(bench, peer, two.line)
    await transferred(bench, two.line, "one")
    await both_hear(bench, peer, one.line)
    assert one.line is not first, "it was asked anew"
    for control in (messages.Flush(generation=9), messages.HangUp()):
        assert (await bench.control(one.line, control)).ok
    await bench.until(lambda: one.line.ended == "hang_up", "it ends")


async def test_a_call_that_ends_while_the_next_agent_is_asked_ends_for_both(bench: Bench) -> None:
    _, line = await bench.call()

    async def hang_up(session_id: str) -> None:
        request = encode(messages.HangUp(reason="client"))
        await bench.client.request(subjects.call_hang_up(session_id), request, timeout=5)

    late = await NextAgent(bench, "late").answers(hang_up)
    assert (await bench.control(line, messages.Transfer(agent="late"))).ok
    await bench.until(lambda: line.ended == "hang_up", "the agent that has it is told")
    await bench.until(lambda: late.line.ended == "hang_up", "so is the one that has accepted")
    assert not of_type(line, messages.Transferred)
    await bench.sessions(0)


async def test_a_request_under_another_agent_s_name_or_another_session_s_reaches_no_session(bench: Bench) -> None:
    """An agent's credential allows it any session id behind its own name."""
    peer, line = await bench.call()
    _, other = await bench.call()
    for subject in (
        subjects.session_control("evil", line.session_id),
        f"antiphon.v1.session.{line.session_id}.control",
        f"antiphon.v1.session.{line.agent}.control",
    ):
        with pytest.raises(NoRespondersError):
            await bench.client.request(subject, encode(messages.HangUp()), timeout=5)
    for frame in speech(0.5, generation=1):
        await bench.client.publish(subjects.audio_out("evil", line.session_id), pack_frame(frame))
    stale = encode(messages.DataMessage.of("oai-events", "injected"))
    await bench.client.publish(subjects.data_out("evil", line.session_id), stale)
    assert (await bench.control(other, messages.HangUp())).ok
    await bench.until(lambda: other.ended == "hang_up", "a request on its own subject is carried out")
    frames = len(line.frames)
    await bench.until(lambda: len(line.frames) > frames + 25, "the call goes on")
    assert line.ended is None
    assert not loud(peer.frames)
    assert peer.texts == []


# ---- several transceivers


@pytest.fixture
async def several(nats_url: str) -> AsyncIterator[Several]:
    async with several_transceivers(nats_url) as running:
        yield running


@pytest.mark.nightly
async def test_a_transferred_call_survives_its_transceiver_with_the_next_agent(several: Several) -> None:
    first = await several.spawn()
    await several.spawn()
    peer, line = await several.call_on(first.slot)
    billing = await NextAgent(several, "billing").answers()
    await transferred(several, line, "billing")
    several.processes[0].kill()  # at once: the checkpoint with the next agent was stored before the transfer was told
    await several.until(lambda: bool(of_type(billing.line, messages.TakenOver)), "the next agent is told")
    await both_hear(several, peer, billing.line, generation=2)
    assert not of_type(line, messages.TakenOver)
    assert (await several.control(billing.line, messages.HangUp())).ok
    await several.until(lambda: billing.line.ended == "hang_up", "it ends")


@pytest.mark.parametrize("how", ["kill", pytest.param("terminate", marks=pytest.mark.nightly)])
async def test_a_transfer_that_a_takeover_interrupts_leaves_the_call_where_it_was(several: Several, how: str) -> None:
    first = await several.spawn()
    await several.spawn()
    peer, line = await several.call_on(first.slot)

    async def interrupt(session_id: str) -> None:
        getattr(several.processes[0], how)()
        await several.until(lambda: bool(of_type(line, messages.TakenOver)), "another process has the call")

    billing = await NextAgent(several, "billing").answers(interrupt)
    assert (await several.control(line, messages.Transfer(agent="billing"))).ok
    await several.until(lambda: bool(of_type(line, messages.TakenOver)), "its agent has it still")
    await both_hear(several, peer, line)
    assert not of_type(line, messages.Transferred)
    # The agent asks again: the claim of before holds nothing.
    billing = await NextAgent(several, "second").answers()
    await transferred(several, line, "second")
    await both_hear(several, peer, billing.line)
