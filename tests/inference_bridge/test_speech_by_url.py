"""A call whose voice is a service by URL: it begins at the first piece, and a failure costs a clause and no call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from nats.aio.client import Client
from support.conditions import until
from support.models.speech_server import Answer, SpeechServer, speech_server, tone

from antiphon.inference_bridge.agents import ReplyPart, Request
from antiphon.inference_bridge.agents.scripted import SilentAgent
from antiphon.inference_bridge.dispatch.bridge import Bridge
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.models.sources import ModelError, silero_file
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime.nats import service_discovery
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = pytest.mark.process

NO_VOICE = phrase("no_voice")
SHORT = tone(0.1).tobytes()
LONG = "I have booked you for tomorrow at half past ten in the morning."


class Saying(SilentAgent):
    """Says the caller's text back, word by word as a language model does."""

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        content = request.items[-1]["content"][0]
        for word in content["text"].split():
            yield f"{word} "


class NoWords:
    """A recogniser that is never needed: these callers type."""

    languages = frozenset({"en", "de", "es", "fr", "it"})

    def transcribe(self, pcm: bytes, prompt: str = "", language: str = "") -> str:
        return ""


def bridge_of(client: Client, server: SpeechServer, **settings: Any) -> Bridge:
    local = LocalModels(VoiceActivity(silero_file(None, "")), NoWords(), None)
    return Bridge(client, local, Settings(greeting="none", tts_url=server.url, **settings), Saying)


@asynccontextmanager
async def call(
    client: Client, session: dict[str, Any] | None = None
) -> AsyncIterator[tuple[FakeTransceiver, SpeechServer]]:
    """One call at a bridge whose voice is a server of the test's."""
    async with speech_server() as server:
        bridge = bridge_of(client, server)
        server.answer = lambda _: Answer([SHORT])
        await bridge.start()
        await bridge.join()
        server.requests.clear()
        server.arrived.clear()
        try:
            async with FakeTransceiver(client, "concierge", session) as caller:
                yield caller, server
        finally:
            server.go.set()
            await bridge.close()


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


async def test_the_first_piece_is_played_before_the_service_has_made_the_rest(bus_client: Client) -> None:
    async with call(bus_client) as (caller, server):
        server.answers = [Answer([tone(0.3).tobytes(), None, tone(0.5).tobytes()])]
        await ask(caller, LONG)
        await caller.until(lambda: len(caller.frames) >= 10)
        assert not server.go.is_set()
        server.go.set()
        done = await caller.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        assert transcripts(caller) == [LONG]
        assert 0.75 < len(caller.played) / 48000 < 1.0


async def test_the_next_clause_is_asked_for_while_the_first_one_plays(bus_client: Client) -> None:
    async with call(bus_client) as (caller, server):
        server.answer = lambda _: Answer([tone(0.7).tobytes()])
        await ask(caller, "Of course, I can do that for you today.")
        await until(lambda: len(server.requests) == 2)
        assert len(caller.played) / 48000 < 0.65
        await caller.wait_for("response.done")
        assert transcripts(caller) == ["Of course, I can do that for you today."]
    assert [request["input"] for request in server.requests] == ["Of course,", "I can do that for you today."]


async def test_a_clause_that_fails_is_left_out_and_an_answer_without_any_says_so(bus_client: Client) -> None:
    async with call(bus_client) as (caller, server):
        server.answer = lambda request: Answer(status=503) if "Lost" in request["input"] else Answer([SHORT])
        await ask(caller, "It is here. Lost are these words. It goes on.")
        await caller.wait_for("response.done")
        await ask(caller, "Lost is all of this.")
        await caller.wait_for("response.done", 2)
        await ask(caller, "It works again.")
        await caller.wait_for("response.done", 3)
        assert transcripts(caller) == ["It is here. It goes on.", NO_VOICE, "It works again."]


async def test_an_answer_that_is_cut_off_keeps_the_words_that_were_played(bus_client: Client) -> None:
    async with call(bus_client) as (caller, server):
        server.answers = [Answer([tone(0.6).tobytes()], cut=True)]
        await ask(caller, LONG)
        await caller.wait_for("response.done")
        (said,) = transcripts(caller)
        assert LONG.startswith(said)
        assert 1 <= len(said.split()) < len(LONG.split())


async def test_an_interruption_closes_the_request(bus_client: Client) -> None:
    async with call(bus_client) as (caller, server):
        server.answers = [Answer([tone(0.5).tobytes(), None])]
        await ask(caller, LONG)
        await caller.until(lambda: len(caller.frames) >= 10)
        await caller.send({"type": "response.cancel"})
        async with asyncio.timeout(10):
            await server.closed_early.wait()
        await caller.wait_for("response.done")


async def test_the_voice_and_the_language_of_a_session_reach_the_service(bus_client: Client) -> None:
    audio = {"input": {"transcription": {"language": "es"}}, "output": {"voice": "lola", "speed": 1.2}}
    async with call(bus_client, {"audio": audio}) as (caller, server):
        await ask(caller, "Hola.")
        await caller.wait_for("response.done")
        await caller.send({"type": "session.update", "session": {"audio": {"output": {"voice": "pepe"}}}})
        await caller.wait_for("session.updated")
        await ask(caller, "Hola.")
        await caller.wait_for("response.done", 2)
    chosen = [(request["voice"], request.get("language"), request.get("speed")) for request in server.requests]
    assert chosen == [("lola", "es", 1.2), ("pepe", "es", 1.2)], "and a phrase of one voice is not played for another"


async def test_the_start_waits_for_a_service_that_comes_up_and_gives_up_on_a_wrong_key(
    bus_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.inference_bridge.dispatch.model_clients._FIRST_PAUSE", 0.01)
    async with speech_server() as server:
        server.answers = [Answer(status=503)] * 4
        bridge = bridge_of(bus_client, server)
        await bridge.start()
        assert len(server.requests) >= 6
        await bridge.close()
        server.answer = lambda _: Answer(status=401, error="who are you?")
        with pytest.raises(ModelError, match="ANTIPHON_TTS_API_KEY"):
            await bridge_of(bus_client, server, agent_name="other").start()


async def test_the_register_shows_that_the_service_fails_until_it_speaks_again(bus_client: Client) -> None:
    async def trouble() -> str:
        (found,) = await service_discovery.instances(bus_client, service_discovery.AGENT_SERVICE, 0.2)
        return found.get(service_discovery.TROUBLE, "")

    async with call(bus_client) as (caller, server):
        assert await trouble() == ""
        server.answer = lambda _: Answer(status=401)
        await ask(caller, "Hello there.")
        await caller.wait_for("response.done")
        assert "its speech service (ANTIPHON_TTS_URL) does not speak" in await trouble()
        server.answer = lambda _: Answer([SHORT])
        await ask(caller, "Hello again.")
        await caller.wait_for("response.done", 2)
        assert await trouble() == ""
    assert np.any(np.frombuffer(bytes(caller.played), dtype="<i2"))
