"""Instances of a text agent on NATS: announcements, streams, interruption, a full one, a killed one, an orderly end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from opentelemetry import trace
from support.conditions import until
from support.processes.agents import agent_process
from support.processes.nats import nats_server, stopped
from support.processes.nats_roles import guarded_nats
from support.text_agents import CALL, bridge_of, request

from antiphon.agent import Say, TextAgent, Turn
from antiphon.agent.text import instance
from antiphon.runtime.nats.access import AccessError
from antiphon.runtime.nats.connection import RefusedError
from antiphon.runtime.nats.permissions import User
from antiphon.schemas.messages import ReplyAlive, ReplyEnd, ReplyError

pytestmark = pytest.mark.process

DESK = """
import asyncio, os
from collections.abc import AsyncIterator
from antiphon.agent import TextAgent, Turn
agent = TextAgent("desk", greeting="Hello.")

@agent.reply
async def reply(turn: Turn) -> AsyncIterator[str]:
    yield "We have tables "
    if turn.text == "slow":
        await asyncio.sleep(float(os.environ.get("SECONDS", "0")))
    yield "at six."

agent.run()
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The agent above as a file."""
    file = tmp_path / "desk.py"
    file.write_text(DESK)
    return file


async def test_an_instance_announces_itself_answers_and_leaves(nats_url: str, desk: Path) -> None:
    async with bridge_of(nats_url, "desk") as bridge:
        with agent_process(nats_url, desk) as process:
            await bridge.there()
            said = bridge.announced[0]
            assert (said.agent, said.greeting, said.capacity, said.answering, said.leaving) == (
                "desk",
                "Hello.",
                100,
                0,
                False,
            )
            answer = await bridge.whole(request("Hi."))
            assert answer.words == "We have tables at six."
            assert [part.type for part in answer.parts] == ["alive", "text", "text", "end"]
            count = len(bridge.announced)
            await until(lambda: len(bridge.announced) > count)  # each second
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 10) == 0
            await until(lambda: not bridge.instances())
            assert not await bridge.is_answered()


def waiting_desk(hold: asyncio.Event) -> TextAgent:
    """An agent that waits in the middle of its answers."""
    agent = TextAgent("desk")

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        yield "We have tables "
        await hold.wait()
        yield "at six."

    return agent


async def test_an_answer_under_way_is_finished_by_an_instance_that_is_stopped(nats_url: str) -> None:
    hold = asyncio.Event()
    async with bridge_of(nats_url, "desk") as bridge:
        async with waiting_desk(hold).serving(nats_url):
            answer = await bridge.ask(request("Hi."))
            await until(lambda: answer.words)
            asyncio.get_running_loop().call_later(0.3, hold.set)
        await until(lambda: answer.over)
    assert answer.words == "We have tables at six."
    assert isinstance(answer.parts[-1], ReplyEnd)


async def test_one_that_does_not_end_in_time_is_left_to_another_instance(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "STOP_SECONDS", 0.3)
    async with bridge_of(nats_url, "desk") as bridge:
        async with waiting_desk(asyncio.Event()).serving(nats_url):
            answer = await bridge.ask(request("Hi."))
            await until(lambda: answer.words)
        await until(lambda: answer.over)
    last = answer.parts[-1]
    assert isinstance(last, ReplyError)
    assert last.busy


async def test_another_instance_goes_on_behind_what_a_killed_one_has_said(nats_url: str, desk: Path) -> None:
    async with bridge_of(nats_url, "desk") as bridge:
        with agent_process(nats_url, desk, SECONDS="1000") as first:
            await bridge.there()
            begun = await bridge.ask(request("slow", turn=4))
            await until(lambda: begun.words == "We have tables ")
            with agent_process(nats_url, desk):
                await bridge.there(2)
                first.kill()
                await asyncio.to_thread(first.wait)
                async with asyncio.timeout(30):
                    while True:
                        rest = await bridge.whole(request("slow", turn=4, said="We have tables"))
                        if rest.words:
                            break
                assert rest.words == " at six."


async def test_an_interruption_cancels_the_function_and_signs_of_life_end(nats_url: str) -> None:
    agent = TextAgent("desk")
    began, ended = asyncio.Event(), asyncio.Event()

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        yield "One."
        began.set()
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    async with agent.serving(nats_url), bridge_of(nats_url, "desk") as bridge:
        answer = await bridge.ask(request("Hi."))
        await began.wait()
        await until(lambda: len([each for each in answer.parts if isinstance(each, ReplyAlive)]) > 2)
        assert agent.figures()["answering"] == 1
        await answer.no_more()
        async with asyncio.timeout(2):  # the next sign of life finds nobody
            await ended.wait()
        await until(lambda: agent.figures()["answering"] == 0)
        assert agent.figures()["cancelled"] == 1


async def test_a_full_instance_says_that_it_is_busy(nats_url: str) -> None:
    agent, hold = TextAgent("desk", capacity=1), asyncio.Event()

    @agent.reply
    async def reply(turn: Turn) -> str:
        await hold.wait()
        return "Yes."

    async with agent.serving(nats_url), bridge_of(nats_url, "desk") as bridge:
        first = await bridge.ask(request("Hi."))
        await until(lambda: first.parts)
        await until(lambda: bridge.announced and bridge.announced[-1].answering == 1)
        refused = await bridge.whole(request("Hi."))
        last = refused.parts[-1]
        assert isinstance(last, ReplyError)
        assert last.busy
        hold.set()
        await until(lambda: first.over)
        assert first.words == "Yes."
        await until(lambda: bridge.announced[-1].answering == 0)
        assert (await bridge.whole(request("Hi."))).words == "Yes."


async def test_an_instance_that_stood_still_begins_nothing_that_nobody_waits_for(nats_url: str, tmp_path: Path) -> None:
    file, log = tmp_path / "desk.py", tmp_path / "log"
    file.write_text(
        "from antiphon.agent import TextAgent, Turn\nagent = TextAgent('desk')\n"
        f"@agent.reply\nasync def reply(turn: Turn) -> str:\n    open({str(log)!r}, 'a').write(turn.text)\n"
        "    return 'Yes.'\nagent.run()\n"
    )
    async with bridge_of(nats_url, "desk") as bridge:
        with agent_process(nats_url, file) as process:
            await bridge.there()
            with stopped(process.pid):
                asked = await bridge.ask(request("old", now="2026-01-01T12:00:00+00:00"))
                await asked.no_more()
                await bridge.flush()
            assert (await bridge.whole(request("new"))).words == "Yes."
    assert log.read_text() == "new"


async def test_the_end_of_a_call_comes_without_a_reply_subject(nats_url: str) -> None:
    agent, ended = TextAgent("desk"), asyncio.Event()

    @agent.reply
    async def reply(turn: Turn) -> str:
        return "Yes."

    @agent.call_ended
    async def over(turn: Turn) -> None:
        assert turn.call_id == CALL
        ended.set()

    async with agent.serving(nats_url), bridge_of(nats_url, "desk") as bridge:
        await bridge.tell(request(event="call_ended"))
        async with asyncio.timeout(10):
            await ended.wait()


async def test_rubbish_and_other_agents_requests_are_refused(nats_url: str) -> None:
    agent = TextAgent("desk")

    @agent.reply
    async def reply(turn: Turn) -> str:
        return "Yes."

    async with agent.serving(nats_url), bridge_of(nats_url, "desk") as bridge:
        for data in (
            b"",
            b"{",
            b'{"version": 9, "call_id": "x"}',
            b"[" * 100_000,
            b'{"call_id": "x", "agent": "other"}',
        ):
            answer = await bridge.send(data)
            await until(lambda answer=answer: answer.over)  # type: ignore[misc]
            assert isinstance(answer.parts[-1], ReplyError)
        assert (await bridge.whole(request("Hi."))).words == "Yes."


async def test_long_texts_and_audio_arrive_whole(nats_url: str) -> None:
    agent = TextAgent("desk")

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Say]:
        yield "é" * 100_000
        yield Say(bytes(24000 * 2 * 10), "ten seconds")

    async with agent.serving(nats_url), bridge_of(nats_url, "desk") as bridge:
        answer = await bridge.whole(request("Hi."))
    assert answer.words == "é" * 100_000
    numbers = [getattr(part, "number", None) for part in answer.without_alive()]
    assert numbers == list(range(len(numbers)))


async def test_the_trace_of_the_bridge_is_current_in_the_function(nats_url: str) -> None:
    agent, seen = TextAgent("desk"), []

    @agent.reply
    async def reply(turn: Turn) -> str:
        seen.append(trace.get_current_span().get_span_context().trace_id)
        return "Yes."

    async with agent.serving(nats_url), bridge_of(nats_url, "desk") as bridge:
        answer = await bridge.ask(request("Hi."), traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")
        await until(lambda: answer.over)
    assert seen == [int("ab" * 16, 16)]


async def test_a_credential_binds_an_agent_to_its_own_name(tmp_path: Path) -> None:
    """It answers and announces under its name; with another's credential it says so and ends."""

    def agent(name: str) -> TextAgent:
        made = TextAgent(name)

        @made.reply
        async def reply(turn: Turn) -> AsyncIterator[str]:
            yield "One."
            await asyncio.sleep(1000)

        return made

    users = [User("text_agent", "desk"), User("text_agent", "other"), User("bridge", "concierge")]
    with guarded_nats(tmp_path, users) as nats:
        own, other = (nats.users.seed_file(user) for user in users[:2])
        with pytest.raises(RefusedError):
            async with agent("desk").serving(nats.url, other):
                pass
        with pytest.raises(AccessError):
            async with agent("desk").serving(nats.url, tmp_path / "none"):
                pass
        desk = agent("desk")
        async with desk.serving(nats.url, own), bridge_of(nats.url, "desk", nats.access(users[2])) as bridge:
            await bridge.there()
            answer = await bridge.ask(request("Hi."))
            await until(lambda: answer.words == "One.")
            await answer.no_more()  # NATS may tell it so
            await until(lambda: desk.figures()["answering"] == 0)


@pytest.mark.nightly
def test_another_s_credential_ends_the_process_with_status_2(tmp_path: Path, desk: Path) -> None:
    user = User("agent", "desk")
    (tmp_path / "nats").mkdir()
    with (
        guarded_nats(tmp_path / "nats", [user]) as nats,
        agent_process(nats.url, desk, **nats.environment(user)) as process,
    ):
        assert process.wait(30) == 2


async def test_a_function_that_blocks_all_answers_is_named(nats_url: str, caplog: pytest.LogCaptureFixture) -> None:
    agent = TextAgent("desk")

    def chew() -> None:
        time.sleep(0.6)  # what an author must not do

    @agent.reply
    async def reply(turn: Turn) -> str:
        chew()
        return "Yes."

    async with agent.serving(nats_url), bridge_of(nats_url, "desk") as bridge:
        assert (await bridge.whole(request("Hi."))).words == "Yes."
        await until(lambda: "the event loop was blocked" in caplog.text)
    assert "chew" in caplog.text
    assert f"in {CALL}" in caplog.text


async def test_an_instance_is_there_again_when_nats_is(tmp_path: Path) -> None:
    agent, begun, ended = TextAgent("desk"), asyncio.Event(), asyncio.Event()

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        if turn.text == "slow":
            begun.set()
            try:
                while True:
                    yield "On and on. "
                    await asyncio.sleep(0.05)
            finally:
                ended.set()
        yield "Yes."

    async with AsyncExitStack() as stack:
        with nats_server(tmp_path, stores=False) as url:
            port = int(url.rsplit(":", 1)[1])
            await stack.enter_async_context(agent.serving(url))
            bridge = await stack.enter_async_context(bridge_of(url, "desk"))
            await bridge.ask(request("slow"))
            await begun.wait()
        await until(ended.is_set)  # its parts are lost, so that the answer is another instance's
        count = len(bridge.announced)
        with nats_server(tmp_path, port, stores=False):
            await until(lambda: len(bridge.announced) > count)
            assert (await bridge.whole(request("Hi."))).words == "Yes."
            await stack.aclose()
