"""An agent dies without a successor: the caller learns of it, and does not listen to silence for ever."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from support.conditions import until
from support.peers.transceiver_peer import CarriedPeer
from support.processes.agents import EXAMPLES, agent_process, instances
from support.processes.bridge import agent_is_there, running_bridge
from support.processes.nats import nats_server
from support.processes.transceiver_process import Bench, transceiver_process

from antiphon.runtime.owned_calls.agent_liveness import ROUNDS, LivenessTable, Served
from antiphon.schemas import messages, subjects

SILENT = """
import os
from antiphon.agent import Agent, Session
agent = Agent("silent")
@agent.session
async def talk(session: Session) -> None:
    await session.over.wait()
agent.run()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "silent.py"
    path.write_text(SILENT)
    return path


class Call:
    """A connected call and what is published of it."""

    def __init__(self, peer: CarriedPeer, session_id: str) -> None:
        self.peer, self.id = peer, session_id
        self.ended: list[str] = []


async def call(bench: Bench, agent: str) -> Call:
    peer = bench.peer()
    opened = await bench.ask(peer.offer(), agent=agent)
    assert isinstance(opened, messages.Opened), opened
    line = Call(peer, opened.session_id)

    async def on_event(message: object) -> None:
        event = messages.decode_any(message.data, messages.SESSION_EVENT, "event")  # type: ignore[attr-defined]
        if isinstance(event, messages.Ended):
            line.ended.append(event.reason)

    await bench.client.subscribe(subjects.session_event(agent, line.id), cb=on_event)
    peer.begin(opened.answer)
    await bench.until(lambda: peer.channel_open.is_set(), "the data channel")
    return line


# ---- by the transceiver ------------------------------------------------------------------------------


def roll(*rounds: list[dict[str, str]]) -> LivenessTable:
    called = LivenessTable()
    for answers in rounds:
        called.called(answers)
    return called


@pytest.mark.pure
def test_an_agent_is_gone_when_it_has_answered_once_and_missed_all_the_last_rounds() -> None:
    one, other = {"agent": "plain", "instance": "one"}, {"agent": "plain", "instance": "other"}
    by_instance, by_name = Served("plain", "one"), Served("plain", "")
    gone = roll([one, other], *[[other]] * ROUNDS)
    assert gone.is_gone(by_instance)
    assert not gone.is_gone(by_name), "an instance of that name answers"
    assert not roll([one, other], *[[other]] * (ROUNDS - 1)).is_gone(by_instance)
    assert not roll([one], *[[]] * (ROUNDS - 1), [one], [], []).is_gone(by_instance), "it hung, and is back"
    assert roll([one], *[[]] * ROUNDS).is_gone(by_name)
    assert not roll(*[[]] * 100).is_gone(Served("unregistered", "x")), "never seen: not watched"
    assert not roll([{"agent": "plain"}], *[[{"agent": "plain"}]] * 100).is_gone(by_instance), "shows no instance"


@pytest.mark.nightly
@pytest.mark.process
async def test_the_call_of_a_plain_agent_that_dies_is_ended_with_its_reason(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_AGENT_LOST_SECONDS="2") as bench:
        with agent_process(nats_url, EXAMPLES / "plain_nats_agent.py") as agent:
            await instances(bench.client, "plain", 1)
            line = await call(bench, "plain")
            await bench.until(lambda: bool(line.peer.frames), "the echo")
            await until_rounds(bench, 2)
            os.kill(agent.pid, signal.SIGKILL)
            await until(lambda: line.ended == ["agent_lost"], 30)
            await bench.until(lambda: line.peer.closed.is_set(), "the client learns of it")
            received = [json.loads(text) for text in line.peer.texts]
            assert [each["error"]["code"] for each in received if each["type"] == "error"] == ["agent_lost"]


@pytest.mark.process
async def test_one_of_two_plain_agents_dies_and_only_its_call_ends(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_AGENT_LOST_SECONDS="3") as bench:
        script = EXAMPLES / "plain_nats_agent.py"
        with agent_process(nats_url, script) as one:
            await instances(bench.client, "plain", 1)
            doomed = await call(bench, "plain")
            with agent_process(nats_url, script):
                await instances(bench.client, "plain", 2)
                await until_rounds(bench, 2)
                os.kill(one.pid, signal.SIGKILL)
                one.wait()
                line = await call(bench, "plain")
                await until(lambda: doomed.ended == ["agent_lost"], 30)
                heard = len(line.peer.frames)
                await until(lambda: len(line.peer.frames) > heard + 200, 60)
                assert not line.ended


@pytest.mark.process
@pytest.mark.nightly
async def test_an_agent_that_only_listens_keeps_its_call_though_it_hung_and_nats_was_away(
    tmp_path: Path, script: Path
) -> None:
    with nats_server(tmp_path / "nats") as url:
        port = int(url.rsplit(":", 1)[1])
        running = transceiver_process(url, ANTIPHON_AGENT_LOST_SECONDS="4")
        bench = await running.__aenter__()
        agent = agent_process(url, script)
        process = agent.__enter__()
        await instances(bench.client, "silent", 1)
        line = await call(bench, "silent")
        os.kill(process.pid, signal.SIGSTOP)
        await until_rounds(bench, 3)
        os.kill(process.pid, signal.SIGCONT)
        await until_rounds(bench, 8)
        assert not line.ended
    with nats_server(tmp_path / "nats", port):
        await bench.until(lambda: bench.client.is_connected, "NATS is back", 30)
        await instances(bench.client, "silent", 1)
        await until_rounds(bench, 8)
        assert not line.ended
        assert not line.peer.closed.is_set()
        agent.__exit__(None, None, None)
        await running.__aexit__(None, None, None)


async def until_rounds(bench: Bench, count: int) -> None:
    """So many calls of the roll."""
    called: list[object] = []

    async def on_call(message: object) -> None:
        called.append(message)

    subscription = await bench.client.subscribe("$SRV.PING.antiphon-agent", cb=on_call)
    await until(lambda: len(called) >= count, 60)
    await subscription.unsubscribe()


# ---- by a bridge -------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.nightly
async def test_a_bridge_apologises_for_an_agent_that_died_without_a_successor_and_hangs_up(
    nats_url: str, script: Path
) -> None:
    async with transceiver_process(nats_url, ANTIPHON_AGENT_LOST_SECONDS="120") as bench:
        with running_bridge(nats_url, greeting="none", orphan_seconds="1"):
            await agent_is_there(bench.client, "concierge")
            with agent_process(nats_url, script) as agent:
                await instances(bench.client, "silent", 1)
                line = await call(bench, "silent")
                os.kill(agent.pid, signal.SIGKILL)
                await until(lambda: line.ended == ["hang_up"], 60)
            spoken = sum(max(map(abs, memoryview(frame.pcm).cast("h"))) > 1000 for frame in line.peer.frames)
            assert spoken > 100, "two seconds of speech"
            await until(lambda: any("sorry" in json.loads(text).get("transcript", "") for text in line.peer.texts), 10)
            bucket = await bench.client.jetstream().key_value(subjects.BUCKET_LEASES)
            with pytest.raises(Exception, match="not found"):
                await bucket.get(subjects.lease_key("silent", line.id))
