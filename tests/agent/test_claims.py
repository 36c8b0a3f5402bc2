"""Claims on a real transceiver while an agent process hangs: the next one is asked, and no slot leaks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.conditions import until
from support.processes.agents import agent_process, instances
from support.processes.transceiver_process import Bench, transceiver_process

from antiphon.agent import Agent, Session
from antiphon.runtime.agent_sessions import admission
from antiphon.runtime.nats import buckets, connection, service_discovery
from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process

PATIENT = """
from antiphon.agent import Agent, Session
agent = Agent("patient")
@agent.session
async def talk(session: Session) -> None:
    await session.over.wait()
agent.run()
"""
CALLS = 6


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "patient.py"
    path.write_text(PATIENT)
    return path


async def figures(client: Client, service: str) -> list[dict[str, Any]]:
    """What every instance of a service says of its claims."""
    found: list[dict[str, Any]] = []

    async def on_answer(message: Msg) -> None:
        said = json.loads(message.data)
        found.extend({**each["data"], **said["metadata"]} for each in said["endpoints"][:1])

    subscription = await client.subscribe(inbox := client.new_inbox(), cb=on_answer)
    await client.publish(f"$SRV.STATS.{service}", reply=inbox)
    await asyncio.sleep(0.3)
    await subscription.unsubscribe()
    return found


async def opened(bench: Bench, agent: str) -> messages.Opened:
    began = time.monotonic()
    reply = await bench.ask(bench.peer().offer(), agent=agent)
    assert isinstance(reply, messages.Opened), reply
    print(f"opened after {(time.monotonic() - began) * 1000:.0f} ms")
    return reply


async def test_every_call_is_answered_while_one_of_two_agents_hangs_and_no_slot_leaks(
    nats_url: str, script: Path
) -> None:
    beats: dict[str, int] = {}

    async def on_beat(message: Msg) -> None:
        beat = messages.decode(message.data, messages.AgentBeat)
        beats[beat.instance] = beat.sessions

    async with transceiver_process(nats_url) as bench:
        await bench.client.subscribe(subjects.agent_beat("patient"), cb=on_beat)
        with agent_process(nats_url, script) as frozen, agent_process(nats_url, script):
            await instances(bench.client, "patient", 2)
            os.kill(frozen.pid, signal.SIGSTOP)
            try:
                calls = [await opened(bench, "patient") for _ in range(CALLS)]
            finally:
                os.kill(frozen.pid, signal.SIGCONT)
            held = {pid_of(name): name for name in beats}
            await until(lambda: beats[held[frozen.pid]] == 0 and sum(beats.values()) == CALLS)
            said = await figures(bench.client, service_discovery.AGENT_SERVICE)
            assert {each["instance"]: each["claims"] for each in said} == beats, "each is counted once, where it is"
            ours = (await figures(bench.client, "antiphon-transceiver"))[0]
            assert (ours["claims"], ours["claims_refused"]) == (CALLS, 0)
            assert ours["claim_ms_p95"] > 0
            for call in calls:
                hang_up = messages.encode(messages.HangUp())
                await bench.client.request(subjects.session_control("patient", call.session_id), hang_up, timeout=5)
            await until(lambda: sum(beats.values()) == 0)


def pid_of(instance: str) -> int:
    return int(instance.split("-")[-2])


@pytest.mark.nightly
async def test_a_claim_that_none_answers_is_refused_before_signaling_gives_up_and_a_late_acceptance_holds_nothing(
    nats_url: str, script: Path
) -> None:
    beats: list[int] = []

    async def on_beat(message: Msg) -> None:
        beats.append(messages.decode(message.data, messages.AgentBeat).sessions)

    async with transceiver_process(nats_url) as bench:
        await bench.client.subscribe(subjects.agent_beat("patient"), cb=on_beat)
        with agent_process(nats_url, script) as frozen:
            await instances(bench.client, "patient", 1)
            os.kill(frozen.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                reply = await bench.ask(bench.peer().offer(), agent="patient")
                took_s = time.monotonic() - began
            finally:
                os.kill(frozen.pid, signal.SIGCONT)
            assert isinstance(reply, messages.Refused)
            assert reply.code == "no_agent"
            assert 2.4 < took_s < 6, "signaling waits 3 s for a machine that is idle"
            beats.clear()
            await until(lambda: len(beats) >= 8 and set(beats[-4:]) == {0})
            said = await figures(bench.client, service_discovery.AGENT_SERVICE)
            assert said[0]["sessions"] == 0


async def test_the_only_instance_is_asked_by_name_when_it_has_left_the_group_for_being_late(
    nats_url: str, tmp_path: Path
) -> None:
    """Late is better than not at all."""
    (script := tmp_path / "chewing.py").write_text(
        PATIENT.replace("patient", "chewing").replace(
            "    await session", "    import time; time.sleep(0.8)\n    await session"
        )
    )
    async with transceiver_process(nats_url) as bench:
        with agent_process(nats_url, script):
            await instances(bench.client, "chewing", 1)
            await opened(bench, "chewing")
            group = subjects.agent_claim("chewing")
            async with asyncio.timeout(15):
                with contextlib.suppress(nats.errors.NoRespondersError):
                    while True:  # an unreadable claim is refused, as long as an instance reads it
                        with contextlib.suppress(nats.errors.TimeoutError):
                            await bench.client.request(group, b"", timeout=0.5)
            await opened(bench, "chewing")


async def test_an_acceptance_after_its_time_is_answered_that_it_does_not_have_the_session(nats_url: str) -> None:
    """Two plain instances: one accepts a second late, the other in time."""
    claims: list[Msg] = []
    events: list[messages.Message] = []

    async with transceiver_process(nats_url) as bench:

        async def on_claim(message: Msg) -> None:
            claims.append(message)
            if len(claims) > 1:
                await message.respond(messages.encode(messages.ClaimReply(accepted=True, instance="prompt")))

        async def on_event(message: Msg) -> None:
            events.append(messages.decode_any(message.data, messages.SESSION_EVENT, "event"))

        await bench.client.subscribe(subjects.agent_claim("plain"), cb=on_claim)
        await connection.flush(bench.client)
        call = await opened(bench, "plain")
        claim = messages.decode(claims[0].data, messages.Claim)
        assert claim.session_id == call.session_id
        assert not admission.is_stale(claim, time.time())
        assert admission.is_stale(claim, time.time() + 4)
        await bench.client.subscribe(subjects.session_event("plain", call.session_id), cb=on_event)
        await connection.flush(bench.client)
        await claims[0].respond(messages.encode(messages.ClaimReply(accepted=True, instance="late")))
        await until(lambda: events)
        assert events == [messages.ClaimExpired(instance="late")]
        await claims[0].respond(messages.encode(messages.ClaimReply(accepted=True, instance="prompt")))
        await claims[0].respond(messages.encode(messages.ClaimReply(accepted=True, instance="later")))
        await until(lambda: len(events) > 1)
        assert events[1:] == [messages.ClaimExpired(instance="later")], "the holder that was asked twice keeps it"


async def test_an_instance_whose_claim_has_expired_drops_the_session_without_a_request(
    nats_url: str, bus_client: Client
) -> None:
    controls: list[Msg] = []

    async def on_control(message: Msg) -> None:
        controls.append(message)

    agent = Agent("expired")

    @agent.session
    async def talk(session: Session) -> None:
        await session.over.wait()

    async with agent.serving(nats_url):
        await bus_client.subscribe(subjects.session_control("expired", "rtc_1"), cb=on_control)
        claim = messages.Claim(session_id="rtc_1", agent="expired", expires_at=time.time() - 10)
        answer = await bus_client.request(subjects.agent_claim("expired"), messages.encode(claim), timeout=5)
        assert "too old" in messages.decode(answer.data, messages.ClaimReply).message
        claim = claim.model_copy(update={"expires_at": time.time() + 1})
        answer = await bus_client.request(subjects.agent_claim("expired"), messages.encode(claim), timeout=5)
        reply = messages.decode(answer.data, messages.ClaimReply)
        assert reply.accepted
        expired = messages.encode(messages.ClaimExpired(instance="another"))
        await bus_client.publish(subjects.session_event("expired", "rtc_1"), expired)
        await connection.flush(bus_client)
        assert "rtc_1" in agent.sessions
        expired = messages.encode(messages.ClaimExpired(instance=reply.instance))
        await bus_client.publish(subjects.session_event("expired", "rtc_1"), expired)
        await until(lambda: not agent.sessions)
        assert not controls


async def test_a_session_that_another_instance_holds_is_not_accepted(nats_url: str, bus_client: Client) -> None:
    agent = Agent("second")

    @agent.session
    async def talk(session: Session) -> None:
        await session.over.wait()

    bucket = await buckets.bucket(bus_client.jetstream(), subjects.BUCKET_LEASES)
    async with agent.serving(nats_url):
        held = messages.Lease(session_id="rtc_1", agent="second", instance="faster")
        await bucket.create(subjects.lease_key("second", "rtc_1"), messages.encode(held))
        claim = messages.encode(messages.Claim(session_id="rtc_1", agent="second"))
        answer = await bus_client.request(subjects.agent_claim("second"), claim, timeout=5)
        assert not messages.decode(answer.data, messages.ClaimReply).accepted
        assert not agent.sessions
