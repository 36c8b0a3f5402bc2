"""Agents that hang up at once, on a real transceiver: nothing of their calls is left, and clients learn why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from nats.js.errors import KeyNotFoundError
from support.conditions import until
from support.processes.agents import agent_process, instances
from support.processes.transceiver_process import Bench, transceiver_process

from antiphon.runtime.nats import buckets
from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process

CALLS = 200
AT_ONCE = 20
HASTY = """
import asyncio
from antiphon.agent import Agent, Session
agent = Agent("hasty")
calls = 0
@agent.session
async def talk(session: Session) -> None:
    global calls
    calls += 1
    match calls % 4:
        case 0:
            return
        case 1:
            raise RuntimeError("at once")
        case 2:
            await session.hang_up("busy")
            await session.over.wait()
        case 3:
            await asyncio.sleep(0.003 * (calls % 20))  # until about when the session is made
agent.run()
"""


async def status(bench: Bench, session_id: str) -> messages.CallStatus:
    reply = await bench.client.request(subjects.call_status(session_id), b"", timeout=5)
    return messages.decode(reply.data, messages.CallStatus)


async def test_200_calls_of_an_agent_that_hangs_up_at_once_leave_nothing(nats_url: str, tmp_path: Path) -> None:
    script = tmp_path / "hasty.py"
    script.write_text(HASTY)
    beats: dict[str, int] = {}
    ended: dict[str, str] = {}

    async def on_beat(message: Msg) -> None:
        beat = messages.decode(message.data, messages.AgentBeat)
        beats[beat.instance] = beat.sessions

    async def on_event(message: Msg) -> None:
        session_id = subjects.parse_session_subject(message.subject).session_id
        event = messages.decode_any(message.data, messages.SESSION_EVENT, "event")
        if isinstance(event, messages.Ended):
            assert ended.setdefault(session_id, event.reason) == event.reason

    async with transceiver_process(nats_url, ANTIPHON_CAPACITY=str(2 * AT_ONCE)) as bench:
        await bench.client.subscribe(subjects.agent_beat("hasty"), cb=on_beat)
        await bench.client.subscribe("antiphon.v1.session.hasty.*.event", cb=on_event)
        with agent_process(nats_url, script):
            await instances(bench.client, "hasty", 1)
            room = asyncio.Semaphore(AT_ONCE)

            async def call() -> messages.Opened | messages.Refused:
                async with room:
                    return await bench.ask(bench.peer().offer(), agent="hasty")

            replies = await asyncio.gather(*(call() for _ in range(CALLS)))
            codes = [reply.code for reply in replies if isinstance(reply, messages.Refused)]
            assert set(codes) <= {"agent_ended"}, codes
            print(f"{len(codes)} ended before their answer, {CALLS - len(codes)} after it")
            assert codes, "none was hung up before its session was there"
            await bench.sessions(0)
            await until(lambda: len(ended) == CALLS and set(beats.values()) == {0})
            assert set(ended.values()) == {"hang_up"}
            js = bench.client.jetstream()
            leases = await js.key_value(subjects.BUCKET_LEASES)
            for key in await buckets.keys(js, subjects.BUCKET_LEASES, "*.*"):
                with pytest.raises(KeyNotFoundError):
                    await leases.get(key)
            for reply in replies:
                if isinstance(reply, messages.Opened):
                    seen = await status(bench, reply.session_id)
                    assert (seen.state, seen.reason, seen.connected, seen.spoke) == ("ended", "hang_up", False, False)
