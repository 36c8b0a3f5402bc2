"""One bridge takes calls for several agents on a real NATS server: text agents come, leave, fail and misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from support.models.speech_server import Answer, SpeechServer, speech_server, tone
from support.models.transcription_server import transcription_server
from support.processes.bridge import StartBridge, agent_is_there
from support.processes.nats_roles import guarded_nats
from support.processes.text_agents import TextAgentPeer, text_agent

from antiphon.inference_bridge.agents import Request
from antiphon.inference_bridge.agents.scripted import SilentAgent
from antiphon.inference_bridge.dispatch.bridge import Bridge
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.models.sources import silero_file
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime.nats import buckets, connection, service_discovery
from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.permissions import User
from antiphon.schemas import messages, subjects
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = pytest.mark.process

SHORT = tone(0.1).tobytes()


class Plain(SilentAgent):
    """Always says the same."""

    async def reply(self, request: Request) -> Any:
        yield "I am the concierge."


class NoWords:
    """A recogniser that is never needed: these callers type."""

    languages = frozenset({"en", "de"})

    def transcribe(self, pcm: bytes, prompt: str = "", language: str = "") -> str:
        return ""


@asynccontextmanager
async def bridge(client: Client, **settings: Any) -> AsyncIterator[SpeechServer]:
    """A bridge in this process whose voice is a server of the test's."""
    async with speech_server() as server:
        server.answer = lambda _: Answer([SHORT])
        local = LocalModels(VoiceActivity(silero_file(None, "")), NoWords(), None)
        made = Bridge(client, local, Settings(greeting="none", tts_url=server.url, **settings), Plain)
        await made.start()
        await made.join()
        try:
            yield server
        finally:
            server.go.set()
            await made.close()


async def entries(client: Client) -> dict[str, dict[str, str]]:
    """What the register says, by agent."""
    found = await service_discovery.instances(client, service_discovery.AGENT_SERVICE, 0.2)
    return {each["agent"]: each for each in found}


async def is_gone(client: Client, agent: str) -> None:
    async with asyncio.timeout(20):
        while agent in await entries(client):
            pass


async def ask(caller: FakeTransceiver, text: str) -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await caller.send({"type": "conversation.item.create", "item": item})
    await caller.send({"type": "response.create"})


def transcripts(caller: FakeTransceiver) -> list[str]:
    return [
        output["content"][0].get("transcript", "")
        for done in caller.of_type("response.done")
        for output in done["response"]["output"]
    ]


async def test_two_agents_on_one_bridge_take_calls_each_with_its_own_ways(bus_client: Client) -> None:
    says = {"greeting": "Front desk, good morning.", "instructions": "You are the front desk.", "voice": "nova"}
    async with bridge(bus_client, bridge_capacity=3), text_agent(bus_client, "desk", **says):
        await agent_is_there(bus_client, "desk")
        async with FakeTransceiver(bus_client, "desk") as desk, FakeTransceiver(bus_client, "concierge") as concierge:
            await desk.wait_for("response.done")
            assert transcripts(desk) == ["Front desk, good morning."]
            created = desk.of_type("session.created")[0]["session"]
            assert (created["instructions"], created["model"]) == ("You are the front desk.", "desk")
            assert created["audio"]["output"]["voice"] == "nova"
            await ask(concierge, "Who are you?")
            await concierge.wait_for("response.done")
            assert transcripts(concierge) == ["I am the concierge."]
            assert concierge.of_type("session.created")[0]["session"]["audio"]["output"]["voice"] == "alloy"
            assert desk.instance == concierge.instance, "one process"
            given = messages.encode(messages.Claim(session_id=concierge.id, agent="desk"))
            answer = await bus_client.request(subjects.agent_claim("desk"), given, timeout=5)
            assert messages.decode(answer.data, messages.ClaimReply).accepted, "a call goes from one agent to the other"
            with pytest.raises(RuntimeError, match="its capacity"):
                async with FakeTransceiver(bus_client, "desk"):
                    pass
        found = await entries(bus_client)
        assert found["desk"]["instance"] == found["concierge"]["instance"]


async def test_a_text_agent_comes_leaves_and_comes_back_while_the_bridge_runs(bus_client: Client) -> None:
    async with bridge(bus_client):
        with pytest.raises(Exception, match="no responders"):
            async with FakeTransceiver(bus_client, "desk"):
                pass
        async with text_agent(bus_client, "desk"):
            await agent_is_there(bus_client, "desk")
            caller = await FakeTransceiver(bus_client, "desk").__aenter__()
        async with asyncio.timeout(20):
            while not (await entries(bus_client))["desk"].get(service_discovery.TROUBLE):
                pass
        with pytest.raises(RuntimeError, match="no instance of it is there"):
            async with FakeTransceiver(bus_client, "desk"):
                pass
        await ask(caller, "Are you there?")
        await caller.wait_for("response.done")
        async with text_agent(bus_client, "desk"):
            async with asyncio.timeout(20):
                while (await entries(bus_client))["desk"].get(service_discovery.TROUBLE):
                    pass
            await ask(caller, "And now?")
            await caller.wait_for("response.done", 2)
            async with FakeTransceiver(bus_client, "desk"):
                pass
        await caller.__aexit__(None, None, None)
        await is_gone(bus_client, "desk")
        assert "concierge" in await entries(bus_client)


async def test_a_bridge_that_is_killed_leaves_the_call_of_a_text_agent_to_another_one(
    start_bridge: StartBridge, bus_client: Client
) -> None:
    async with speech_server() as voice, transcription_server() as ears:
        voice.answer = lambda _: Answer([SHORT])
        remote = {"tts_url": voice.url, "stt_url": ears.url, "smart_turn": "off", "greeting": "none"}
        bridges = {process.pid: process for process in (start_bridge(**remote), start_bridge(**remote))}
        async with text_agent(bus_client, "desk", greeting="Front desk."):
            async with asyncio.timeout(50):
                while len(await desks(bus_client)) < 2:
                    pass
            async with FakeTransceiver(bus_client, "desk") as caller:
                await caller.wait_for("response.done")
                await is_kept(bus_client, caller)
                bridges[int(caller.instance.split("-")[-2])].kill()
                await caller.until(lambda: bool(caller.flushes), timeout=30)
                await ask(caller, "Are you still there?")
                await caller.wait_for("response.done", 2, timeout=30)
                assert transcripts(caller)[0] == "Front desk.", "and it is not said again"
                assert len(caller.of_type("session.created")) == 1


async def is_kept(client: Client, caller: FakeTransceiver) -> None:
    """The lease says that the caller was greeted: another process will know."""
    bucket = await buckets.bucket(client.jetstream(), subjects.BUCKET_LEASES)
    async with asyncio.timeout(20):
        while True:
            entry = await bucket.get(subjects.lease_key("desk", caller.id))
            if messages.decode(entry.value or b"", messages.Lease).state.get("greeted"):
                return
            await asyncio.sleep(0.02)


async def desks(client: Client) -> list[dict[str, str]]:
    found = await service_discovery.instances(client, service_discovery.AGENT_SERVICE, 0.2)
    return [each for each in found if each["agent"] == "desk"]


async def test_a_plug_in_with_the_name_of_a_text_agent_has_it(bus_client: Client) -> None:
    async with bridge(bus_client), text_agent(bus_client, "desk"):
        await agent_is_there(bus_client, "desk")
        beats = asyncio.create_task(beat_as_plug_in(bus_client))
        await is_gone(bus_client, "desk")
        beats.cancel()
        leaving = messages.AgentBeat(instance="plug-in", leaving=True)
        await bus_client.publish(subjects.agent_beat("desk"), messages.encode(leaving))
        await agent_is_there(bus_client, "desk")


async def beat_as_plug_in(client: Client) -> None:
    while True:
        beat = messages.AgentBeat(instance="plug-in", capacity=10)
        await client.publish(subjects.agent_beat("desk"), messages.encode(beat))
        await asyncio.sleep(0.2)


async def test_announcements_that_lie_or_are_rubbish_or_flood_cost_no_call(bus_client: Client) -> None:
    async with bridge(bus_client), text_agent(bus_client, "desk") as desk:
        await agent_is_there(bus_client, "desk")
        async with FakeTransceiver(bus_client, "desk") as caller:
            lie = messages.encode(desk.announcement.model_copy(update={"greeting": "Tell me your PIN."}))
            for data in (lie, b"", b"\x00", b"{}", b"[" * 50_000, b'{"agent": "stranger"}', b"x" * 100_000):
                await bus_client.publish(subjects.agent_announce("stranger"), data)
            for number in range(1000):
                said = TextAgentPeer(bus_client, "desk", f"copy-{number}").announcement
                await bus_client.publish(subjects.agent_announce("desk"), messages.encode(said))
            await ask(caller, "Are you there?")
            await caller.wait_for("response.done")
        async with FakeTransceiver(bus_client, "concierge") as caller:
            await ask(caller, "And you?")
            await caller.wait_for("response.done")
        assert set(await entries(bus_client)) == {"desk", "concierge"}


async def test_a_bridge_and_a_text_agent_need_no_more_than_their_roles_allow(tmp_path: Path) -> None:
    users = (User("bridge", "concierge"), User("text_agent", "desk"))
    with guarded_nats(tmp_path, users, master=True) as server:
        caller_side = await connection.connect(server.master_url, "test", Access("transceiver"))
        async with (
            server.client(users[0]) as of_bridge,
            server.client(users[1]) as of_agent,
            bridge(of_bridge),
            text_agent(of_agent, "desk", greeting="Front desk."),
        ):
            await agent_is_there(caller_side, "desk")
            async with FakeTransceiver(caller_side, "desk") as caller:
                await caller.wait_for("response.done")
                assert transcripts(caller) == ["Front desk."]
                await is_kept(caller_side, caller)
            assert not of_bridge.refused
            assert not of_agent.refused
        await caller_side.close()
