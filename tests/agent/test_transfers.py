"""An agent of the SDK gives its call to another one, on a real transceiver."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.msg import Msg
from support.models.sounds import tone
from support.processes.agents import instances
from support.processes.relay_process import PATIENCE
from support.processes.transceiver_observed import loud
from support.processes.transceiver_process import transceiver_process

from antiphon.agent import Agent, Session, ShadowSession, TransferFailed
from antiphon.runtime.agent_sessions.handed_call import words_of
from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process


async def test_the_sdk_gives_a_call_away_and_keeps_it_where_no_agent_takes_it(nats_url: str) -> None:
    front, billing = Agent("front"), Agent("billing")
    listener = Agent("listener", shadow_of="front")
    outcomes: list[bool] = []
    failures: list[str] = []
    sessions: dict[str, Session | ShadowSession] = {}

    @front.session
    async def greet(session: Session) -> None:
        sessions["front"] = session

        async def note() -> None:
            failures.extend([event.message async for event in session.events() if isinstance(event, TransferFailed)])

        session.start(note())
        await session.say(tone(0.3, rate=24000))
        outcomes.append(await session.transfer("nobody"))
        outcomes.append(await session.transfer("front"))
        await session.say(tone(0.3, rate=24000))
        outcomes.append(await session.transfer("billing"))

    @billing.session
    async def bill(session: Session) -> None:
        sessions["billing"] = session
        async with session.speak() as speech:
            while not session.over.is_set():
                await speech.write(tone(0.5, rate=24000))

    @listener.session
    async def listen(session: ShadowSession) -> None:
        sessions["listener"] = session
        await session.over.wait()

    async with (
        transceiver_process(nats_url) as bench,
        front.serving(nats_url),
        billing.serving(nats_url),
        listener.serving(nats_url),
    ):
        for name in ("front", "billing"):
            await instances(bench.client, name, 1)
        peer = bench.peer()
        opened = await bench.ask(peer.offer(), agent="front")
        assert isinstance(opened, messages.Opened), opened
        peer.begin(opened.answer)
        async with asyncio.timeout(PATIENCE):
            await peer.channel_open.wait()
        await bench.until(lambda: "billing" in sessions, "it is with the next agent")
        heard = len(peer.frames)
        await bench.until(lambda: loud(peer.frames[heard:]), "the caller receives the next agent")
        await bench.until(lambda: not front.sessions and not listener.sessions, "the first agent and its shadow let go")
        assert outcomes == [False, False, True]
        assert len(failures) == 1
        assert "does not answer" in failures[0]
        assert (sessions["front"].why, sessions["listener"].why) == ("transferred", "transferred")
        assert sessions["billing"].why is None
        bucket = await bench.client.jetstream().key_value(subjects.BUCKET_LEASES)
        mine = [key for key in await bucket.keys() if key.endswith(opened.session_id)]
        assert mine == [subjects.lease_key("billing", opened.session_id)]
        billing_session = sessions["billing"]
        assert isinstance(billing_session, Session)
        await billing_session.hang_up("done")
        await bench.until(lambda: not billing.sessions, "the call is over")
        assert await bucket.keys() == [subjects.LEASE_STORAGE_KEY]


async def test_the_conversation_and_a_summary_go_along_with_a_call(nats_url: str) -> None:
    front, billing = Agent("front"), Agent("billing")
    taken: list[Session] = []

    @front.session
    async def greet(session: Session) -> None:
        await session.caption("I want an invoice.")
        await session.say(tone(0.2, rate=24000), "One moment, please.")
        await session.transfer("billing", summary="wants an invoice", silent=True)

    @billing.session
    async def bill(session: Session) -> None:
        taken.append(session)
        await session.over.wait()

    async with transceiver_process(nats_url) as bench, front.serving(nats_url), billing.serving(nats_url):
        for name in ("front", "billing"):
            await instances(bench.client, name, 1)
        peer = bench.peer()
        opened = await bench.ask(peer.offer(), agent="front")
        assert isinstance(opened, messages.Opened), opened
        peer.begin(opened.answer)
        await bench.until(lambda: bool(taken), "it is with the next agent")
        handed = taken[0].handed
        assert handed is not None
        assert (handed.agent, handed.summary, handed.silent) == ("front", "wants an invoice", True)
        assert words_of(handed.items) == [("user", "I want an invoice."), ("assistant", "One moment, please.")]


async def test_an_agent_that_asks_for_a_person_learns_that_nobody_is_there(nats_url: str) -> None:
    front = Agent("front")
    learned: list[str] = []
    front_session: list[Session] = []

    @front.session
    async def greet(session: Session) -> None:
        front_session.append(session)
        await session.ask_person("is angry")
        learned.extend([event.message async for event in session.events() if isinstance(event, TransferFailed)])

    async with transceiver_process(nats_url) as bench, front.serving(nats_url):
        notices: list[messages.Webhook] = []

        async def noticed(message: Msg) -> None:
            notices.append(messages.decode(message.data, messages.Webhook))

        await bench.client.subscribe(subjects.ANY_WEBHOOK, cb=noticed)
        await instances(bench.client, "front", 1)
        peer = bench.peer()
        opened = await bench.ask(peer.offer(), agent="front")
        assert isinstance(opened, messages.Opened), opened
        peer.begin(opened.answer)
        asked = "call.person_asked"
        await bench.until(lambda: any(each.type == asked for each in notices), "the operator's system is told")
        assert [each.summary for each in notices if each.type == asked] == ["is angry"]
        refusal = messages.TransferCall(refusal="the office is closed")
        subject = subjects.call_transfer(opened.session_id)
        answer = await bench.client.request(subject, messages.encode(refusal), timeout=PATIENCE)
        assert messages.decode(answer.data, messages.ControlReply).ok
        await front_session[0].hang_up()
        await bench.until(lambda: learned == ["the office is closed"], "its agent was told")


async def test_an_operator_gives_a_call_to_an_agent_and_learns_when_none_takes_it(nats_url: str) -> None:
    front, desk = Agent("front"), Agent("desk")
    taken: list[Session] = []

    @front.session
    async def greet(session: Session) -> None:
        await session.over.wait()

    @desk.session
    async def sit(session: Session) -> None:
        taken.append(session)
        await session.over.wait()

    async with transceiver_process(nats_url) as bench, front.serving(nats_url), desk.serving(nats_url):
        for name in ("front", "desk"):
            await instances(bench.client, name, 1)
        peer = bench.peer()
        opened = await bench.ask(peer.offer(), agent="front")
        assert isinstance(opened, messages.Opened), opened
        peer.begin(opened.answer)
        async with asyncio.timeout(PATIENCE):
            await peer.channel_open.wait()

        async def transfer(agent: str, creator: str = messages.ANY_CREATOR) -> messages.ControlReply:
            wanted = messages.TransferCall(agent=agent, summary="Anna is on the line", creator=creator)
            subject = subjects.call_transfer(opened.session_id)
            answer = await bench.client.request(subject, messages.encode(wanted), timeout=PATIENCE)
            return messages.decode(answer.data, messages.ControlReply)

        failed = await transfer("nobody")
        assert not failed.ok
        assert "does not answer" in failed.message
        assert (await transfer("desk")).ok
        await bench.until(lambda: bool(taken), "it is with the agent that was named")
        assert taken[0].handed is not None
        assert taken[0].handed.summary == "Anna is on the line"
