"""A bridge dies or leaves in mid-call and another one goes on: real processes, killed for real."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import pytest
from nats.aio.client import Client
from support.processes.bridge import Speak, StartBridge, Understand, agent_is_there

from antiphon.inference_bridge.dispatch.call_sessions import HOPELESS
from antiphon.runtime.nats import buckets, service_discovery
from antiphon.schemas import messages, subjects
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = [pytest.mark.process, pytest.mark.models]
"""Two processes load their models in each, on a machine that may do other things."""


def transcript(done: dict[str, Any]) -> str:
    return str(done["response"]["output"][0]["content"][0]["transcript"])


async def two_bridges(start_bridge: StartBridge, client: Client, **settings: str) -> dict[int, Any]:
    """By process id."""
    started = [start_bridge(greeting="none", **settings) for _ in range(2)]
    async with asyncio.timeout(150):
        while len(await service_discovery.instances(client, service_discovery.AGENT_SERVICE, 0.2)) < 2:
            pass
    return {process.pid: process for process in started}


def holder(call: FakeTransceiver) -> int:
    """The process that has the call: its instance is named `host-pid-chance`."""
    return int(call.instance.split("-")[-2])


async def test_a_bridge_killed_in_mid_sentence_is_replaced_and_the_appointment_is_still_known(
    start_bridge: StartBridge, bus_client: Client, speak: Speak
) -> None:
    bridges = await two_bridges(start_bridge, bus_client)
    async with FakeTransceiver(bus_client, "concierge") as call:
        await call.say(
            await asyncio.to_thread(speak, "I would like to book an appointment for next Tuesday at ten thirty.")
        )
        await call.wait_for("response.done", timeout=40)
        await call.say(await asyncio.to_thread(speak, "Help! What can you do?"))
        await call.until(lambda: call.of_type("output_audio_buffer.started")[1:] != [], timeout=40)
        frames = len(call.frames)
        killed = time.monotonic()
        bridges[holder(call)].kill()
        await call.until(lambda: bool(call.flushes), timeout=30)
        await call.until(lambda: len(call.frames) > frames + 5, timeout=30)
        assert time.monotonic() - killed < 15, "2 s on an idle machine"
        done = await call.wait_for("response.done", 2, timeout=60)
        assert transcript(done).startswith("Sorry, I was gone for a moment."), "and it answers what was asked"
        assert "book" in transcript(done)
        await call.say(await asyncio.to_thread(speak, "What have I booked?"))
        assert "10:30 AM" in transcript(await call.wait_for("response.done", 3, timeout=60))
        ids = [event["event_id"] for event in call.events]
        assert len(ids) == len(set(ids))


async def test_what_the_caller_said_during_the_takeover_is_answered(
    start_bridge: StartBridge, bus_client: Client, speak: Speak
) -> None:
    bridges = await two_bridges(start_bridge, bus_client)
    async with FakeTransceiver(bus_client, "concierge") as call:
        await call.quiet(0.5)
        bridges[holder(call)].kill()
        await call.say(await asyncio.to_thread(speak, "What time is it?"))
        assert "it is" in transcript(await call.wait_for("response.done", timeout=60)).lower()


@pytest.mark.nightly
async def test_a_bridge_that_is_stopped_hands_its_calls_over(
    start_bridge: StartBridge, bus_client: Client, speak: Speak
) -> None:
    bridges = await two_bridges(start_bridge, bus_client)
    async with FakeTransceiver(bus_client, "concierge") as call:
        await call.say(await asyncio.to_thread(speak, "Please book an appointment for next Tuesday at eleven."))
        await call.wait_for("response.done", timeout=40)
        leaving = bridges[holder(call)]
        leaving.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(leaving.wait, 10) == 0
        await call.until(lambda: bool(call.flushes), timeout=30)
        await call.say(await asyncio.to_thread(speak, "What have I booked?"))
        assert "11 AM" in transcript(await call.wait_for("response.done", 2, timeout=60))


@pytest.mark.nightly
async def test_the_only_bridge_dies_and_the_one_started_in_its_place_goes_on(
    start_bridge: StartBridge, bus_client: Client, speak: Speak
) -> None:
    first = start_bridge(greeting="none")
    await agent_is_there(bus_client, "concierge")
    async with FakeTransceiver(bus_client, "concierge") as call:
        await call.say(await asyncio.to_thread(speak, "Please book an appointment for next Tuesday at eleven."))
        await call.wait_for("response.done", timeout=40)
        first.kill()
        start_bridge(greeting="none")
        await call.until(lambda: bool(call.flushes), timeout=60)
        await call.say(await asyncio.to_thread(speak, "What have I booked?"))
        assert "11 AM" in transcript(await call.wait_for("response.done", 2, timeout=60))


@pytest.mark.nightly
async def test_a_call_that_costs_one_bridge_after_the_other_ends_with_an_apology(
    start_bridge: StartBridge, bus_client: Client, understand: Understand
) -> None:
    async with FakeTransceiver(bus_client, "concierge", claimed=True) as call:
        lease = messages.Lease(
            session_id=call.id,
            agent="concierge",
            instance="",
            takeovers=HOPELESS,
            deaths=HOPELESS,
            input_rate=16000,
            started_at=time.time(),
            state={"answering": "What time is it?", "met": True},
        )
        bucket = await buckets.bucket(bus_client.jetstream(), subjects.BUCKET_LEASES)
        await bucket.put(subjects.lease_key("concierge", call.id), messages.encode(lease))
        start_bridge(greeting="none")
        async with asyncio.timeout(150):
            await call.hung_up.wait()
        assert "sorry" in understand(bytes(call.played)).lower()
        assert len(call.of_type("response.created")) == 1
