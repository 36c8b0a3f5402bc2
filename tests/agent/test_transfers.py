"""An agent of the SDK gives its call to another one, on a real transceiver."""

from __future__ import annotations

import asyncio

import pytest
from support.models.sounds import tone
from support.processes.agents import instances
from support.processes.relay_process import PATIENCE
from support.processes.transceiver_observed import loud
from support.processes.transceiver_process import transceiver_process

from antiphon.agent import Agent, Session, ShadowSession, TransferFailed
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
