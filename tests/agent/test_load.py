"""Many sessions in one agent process, and agents that misbehave beside well-behaved ones."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.conditions import until
from support.models.sounds import tone
from support.processes.agents import EXAMPLES, agent_process, instances, loudest

from antiphon.agent import Agent, Session
from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import leases
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame, unpack_frame

pytestmark = pytest.mark.process

CALLS = 30
FRAMES = 150


async def test_thirty_concurrent_sessions_of_one_echo_agent_get_every_frame_back(
    nats_url: str, bus_client: Client
) -> None:
    pcm = tone(0.02, rate=24000)
    echoed: dict[str, list[AudioFrame]] = {f"rtc_load{number}": [] for number in range(CALLS)}
    with agent_process(nats_url, EXAMPLES / "echo_agent.py"):
        await instances(bus_client, "echo", 1)
        async with AsyncExitStack() as calls:
            for session_id, frames in echoed.items():
                await calls.enter_async_context(_line(bus_client, session_id, frames))
            began = asyncio.get_running_loop().time()
            for number in range(FRAMES):
                for session_id in echoed:
                    frame = AudioFrame(number, number * 480, 1, 24000, 0, 0, pcm)
                    await bus_client.publish(subjects.audio_in("echo", session_id), pack_frame(frame))
                await asyncio.sleep(max(0.0, began + number * 0.02 - asyncio.get_running_loop().time()))

            def loud(frames: list[AudioFrame]) -> int:
                return sum(loudest(frame.pcm) > 1000 for frame in frames)

            # all but the one that a speech keeps back because it may be its last
            await until(lambda: all(loud(frames) >= FRAMES - 1 for frames in echoed.values()), 60)


@contextlib.asynccontextmanager
async def _line(client: Client, session_id: str, frames: list[AudioFrame]) -> AsyncIterator[None]:
    """A transceiver's side of a call, as little as an agent can live with."""

    async def on_audio(message: Msg) -> None:
        frames.append(unpack_frame(message.data))

    async def on_control(message: Msg) -> None:
        await message.respond(messages.encode(messages.ControlReply(ok=True)))

    subscriptions = [
        await client.subscribe(subjects.audio_out("echo", session_id), cb=on_audio),
        await client.subscribe(subjects.session_control("echo", session_id), cb=on_control),
    ]
    claim = messages.Claim(session_id=session_id, agent="echo")
    answer = await client.request(subjects.agent_claim("echo"), messages.encode(claim), timeout=5)
    assert messages.decode(answer.data, messages.ClaimReply).accepted
    playing = messages.Playout(generation=1, played_samples=480, rate=24000, queued_ms=500, state="playing")
    reporting = asyncio.create_task(_report(client, session_id, playing))
    try:
        yield
    finally:
        await tasks.end(reporting)
        await client.publish(
            subjects.session_event("echo", session_id), messages.encode(messages.Ended(reason="hang_up"))
        )
        for subscription in subscriptions:
            await subscription.unsubscribe()


async def _report(client: Client, session_id: str, playing: messages.Playout) -> None:
    while True:
        await client.publish(subjects.session_event("echo", session_id), messages.encode(playing))
        await asyncio.sleep(0.2)


async def test_sessions_leave_nothing_behind(nats_url: str, bus_client: Client) -> None:
    agent = Agent("tidy")

    @agent.session
    async def talk(session: Session) -> None:
        async def chatter() -> None:
            async with session.speak() as speech:
                while True:
                    await speech.write(tone(0.1))

        session.start(chatter())
        async for _ in session.events():
            pass

    async def one(number: int) -> None:
        session_id = f"rtc_tidy{number}"
        claim = messages.Claim(session_id=session_id, agent="tidy")
        await bus_client.request(subjects.agent_claim("tidy"), messages.encode(claim), timeout=5)
        await bus_client.publish(
            subjects.session_event("tidy", session_id), messages.encode(messages.Ended(reason="hang_up"))
        )
        await until(lambda: not agent.sessions)

    async with agent.serving(nats_url):
        await one(0)
        running, subscriptions = len(asyncio.all_tasks()), len(agent._client._subs)
        for number in range(1, 31):
            await one(number)
        await until(lambda: len(asyncio.all_tasks()) <= running)
        assert len(agent._client._subs) <= subscriptions
        gc.collect()
        assert sum(isinstance(each, Session) for each in gc.get_objects()) <= 1
        assert not agent._keeper.table


async def test_all_sessions_of_a_killed_process_go_on_in_another(nats_url: str, bus_client: Client) -> None:
    echoed: dict[str, list[AudioFrame]] = {f"rtc_kill{number}": [] for number in range(CALLS)}
    pcm = tone(0.02, rate=24000)

    async def talk_forever() -> None:
        for number in range(10**6):
            for session_id in echoed:
                frame = AudioFrame(number, number * 480, 1, 24000, 0, 0, pcm)
                await bus_client.publish(subjects.audio_in("echo", session_id), pack_frame(frame))
            await asyncio.sleep(0.1)  # a fifth of the real rate is enough to see who answers

    async with AsyncExitStack() as calls:
        with agent_process(nats_url, EXAMPLES / "echo_agent.py") as doomed:
            await instances(bus_client, "echo", 1)
            for session_id, frames in echoed.items():
                await calls.enter_async_context(_line(bus_client, session_id, frames))
            talking = asyncio.create_task(talk_forever())
            calls.push_async_callback(tasks.end, talking)
            await until(lambda: all(any(loudest(frame.pcm) for frame in frames) for frames in echoed.values()), 60)
            with agent_process(nats_url, EXAMPLES / "echo_agent.py"):
                await instances(bus_client, "echo", 2)
                doomed.kill()
                fence = leases.first_generation(1)
                await until(lambda: all(frames[-1].generation > fence for frames in echoed.values()), 60)
