"""Speech to text and speech by worker processes on NATS: one dies, none is there, and what the caller hears."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.processes.bridge import Speak, StartBridge, Understand, agent_is_there

from antiphon.inference_bridge.conversation.response_playback import NO_VOICE
from antiphon.inference_bridge.models.remote import pool, wire
from antiphon.inference_bridge.models.remote.pool import RemoteModels, WorkerError
from antiphon.inference_bridge.models.remote.worker import Worker
from antiphon.inference_bridge.models.threads import BusyError, Urgency
from antiphon.inference_bridge.stt.transcriber import UnknownLanguageError
from antiphon.runtime.nats import connection, service_discovery
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError
from antiphon.testing.fake_transceiver import FakeTransceiver


@contextmanager
def worker(nats_url: str, kind: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "antiphon.inference_bridge", "--worker", kind]
    process = subprocess.Popen(command, env={**os.environ, "ANTIPHON_NATS_URL": nats_url})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.nightly
@pytest.mark.process
@pytest.mark.models
async def test_a_voice_killed_in_mid_sentence_is_replaced_by_another_one_and_without_any_a_phrase_says_so(
    start_bridge: StartBridge, bus_client: Client, nats_url: str, speak: Speak, understand: Understand
) -> None:
    with ExitStack() as stack:
        stack.enter_context(worker(nats_url, "stt"))
        voices = [stack.enter_context(worker(nats_url, "tts")) for _ in range(2)]
        while len(await service_discovery.instances(bus_client, wire.SERVICE, 0.2)) < 3:
            pass
        start_bridge(greeting="none", stt="remote", tts="remote")
        await agent_is_there(bus_client, "concierge")
        async with FakeTransceiver(bus_client, "concierge") as call:
            await call.say(await asyncio.to_thread(speak, "What time is it?"))
            await call.wait_for("response.done", timeout=60)
            assert "it is" in understand(bytes(call.played)).lower()
            await call.say(await asyncio.to_thread(speak, "Help! What can you do?"))
            await call.wait_for("output_audio_buffer.started", 2, timeout=60)
            voices[0].kill()
            done = await call.wait_for("response.done", 2, timeout=60)
            assert "the time or the date" in done["response"]["output"][0]["content"][0]["transcript"], "to its end"
            voices[1].kill()
            voices[1].wait()
            played = len(call.played)
            await call.say(await asyncio.to_thread(speak, "What have I booked?"))
            done = await call.wait_for("response.done", 3, timeout=60)
            assert done["response"]["output"][0]["content"][0]["transcript"] == NO_VOICE
            assert "words" in understand(bytes(call.played[played:])).lower()


async def answering(client: Client, kind: str, *answers: list[Any] | None) -> list[int]:
    """A worker that the test plays: one answer per request, None for silence. Returns a counter of requests."""
    asked: list[int] = []

    async def on_request(message: Msg) -> None:
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append(1)
        for fields in answer or ():
            await message.respond(wire.pack(*fields))
            await connection.flush(client)  # 20 MB in one go are more than a connection takes while its reader waits

    await client.subscribe(subjects.worker(kind), cb=on_request)
    await connection.flush(client)
    return asked


@pytest.mark.process
async def test_a_busy_worker_is_no_end_another_one_is_asked(bus_client: Client) -> None:
    asked = await answering(bus_client, "stt", [["error", "full", True]], [["text", "hello", 12.0]])
    job = RemoteModels(bus_client).transcribe(b"\0\0", "", Urgency.NOW)
    assert await job == "hello"
    assert job.work_ms == 12.0
    assert len(asked) == 2


@pytest.mark.process
async def test_a_worker_that_falls_silent_in_mid_speech_is_left_and_nothing_is_heard_twice(
    bus_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "TTS_TIMEOUT", 1.0)
    half, whole = np.full(4, 7, dtype="<i2").tobytes(), np.full(8, 9, dtype="<i2").tobytes()
    asked = await answering(
        bus_client, "tts", [["pcm", half, 1.0, False]], [["pcm", whole, 1.0, False], ["pcm", whole, 1.0, True]]
    )
    samples = await RemoteModels(bus_client).synthesize("Hello.", 1.0, Urgency.NOW)
    assert samples.tolist() == [9] * 16
    assert len(asked) == 2


@pytest.mark.process
async def test_a_voice_is_sent_to_workers_only_where_a_call_has_chosen_one(bus_client: Client) -> None:
    """So that older workers, which know three fields, go on for all other calls."""
    got: list[list[Any]] = []

    async def on_request(message: Msg) -> None:
        got.append(wire.unpack(message.data))
        await message.respond(wire.pack("pcm", b"\0\0", 1.0, True))

    await bus_client.subscribe(subjects.worker("tts"), cb=on_request)
    models = RemoteModels(bus_client)
    await models.synthesize("Hello.", 1.0, Urgency.NOW)
    await models.synthesize("Hola.", 1.0, Urgency.NOW, "call", "ef_dora", "es")
    assert got == [["Hello.", 1.0], ["Hola.", 1.0, "ef_dora", "es"]]


class Named:
    """A voice that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    def synthesize(self, clause: str, speed: float = 1.0, voice: str = "", language: str = "") -> Any:
        self.asked.append((clause, voice, language))
        return np.zeros(4, dtype=np.int16)


@pytest.mark.process
async def test_a_worker_takes_requests_with_and_without_a_voice(bus_client: Client) -> None:
    voice = Named()
    worker = Worker(1, None, voice)
    service = await service_discovery.register(bus_client, wire.SERVICE, {"kind": "tts"})
    await service.add_endpoint(name="tts", subject=subjects.worker("tts"), handler=worker.on_request)

    async def ask(*fields: object) -> str:
        kind: str = wire.unpack((await bus_client.request(subjects.worker("tts"), wire.pack(*fields))).data, str)[0]
        return kind

    try:
        assert await ask("Hello.", 1.0) == "pcm"
        assert await ask("Hola.", 1.0, "ef_dora", "es") == "pcm"
        assert await ask("Hola.", 1.0, "ef_dora") == "error"
        assert await ask("Hola.", 1.0, 7, "es") == "error"
    finally:
        await service.stop()
        await worker.close()
    assert voice.asked == [("Hello.", "", ""), ("Hola.", "ef_dora", "es")]


@pytest.mark.process
async def test_when_nobody_can_that_is_said_in_time(bus_client: Client) -> None:
    models = RemoteModels(bus_client)
    async with asyncio.timeout(10):
        with pytest.raises(WorkerError, match="no worker for stt"):
            await models.transcribe(b"\0\0", "", Urgency.NOW)
        await answering(bus_client, "stt", [["error", "full", True]])
        with pytest.raises(BusyError):
            await models.transcribe(b"\0\0", "", Urgency.NOW)


@pytest.mark.process
async def test_a_worker_that_sends_speech_without_an_end_is_left(bus_client: Client) -> None:
    flood = [["pcm", bytes(500_000), 1.0, False]] * 40
    whole = np.full(8, 9, dtype="<i2").tobytes()
    asked = await answering(bus_client, "tts", flood, [["pcm", whole, 1.0, True]])
    with pytest.raises(WorkerError, match="more than"):
        await RemoteModels(bus_client).synthesize("Hello.", 1.0, Urgency.NOW)
    assert len(asked) == 1
    assert (await RemoteModels(bus_client).synthesize("Hello.", 1.0, Urgency.NOW)).tolist() == [9] * 8


@pytest.mark.process
@pytest.mark.parametrize("answer", [["text", "hello"], ["text", "hello", "soon"], ["text", "hello", None]])
async def test_a_worker_that_does_not_say_what_its_work_took_is_believed_all_the_same(
    bus_client: Client, answer: list[Any]
) -> None:
    await answering(bus_client, "stt", [answer])
    job = RemoteModels(bus_client).transcribe(b"\0\0", "", Urgency.NOW)
    assert await job == "hello"
    assert job.work_ms == 0.0


@pytest.mark.process
async def test_a_call_has_no_more_than_four_requests_with_the_workers(
    bus_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "TTS_TIMEOUT", 0.2)
    asked = await answering(bus_client, "tts", None)
    models = RemoteModels(bus_client)
    jobs = [models.synthesize("Hello.", 1.0, Urgency.NOW, "flood") for _ in range(50)]
    for job in jobs:
        job.cancel()  # a worker does not learn of it
    with pytest.raises(BusyError, match="of this call"):
        await jobs[-1]
    with pytest.raises(WorkerError):
        await models.synthesize("Hello.", 1.0, Urgency.NOW, "other")
    assert len(asked) == 4 + 3, "no other worker is asked for what is not wanted any more"
    assert not models._outstanding


@pytest.mark.pure
@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x02", b"\x90", b"\x92\x01\x03"])
def test_garbage_of_a_worker_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        wire.unpack(data, str)


@pytest.mark.process
async def test_a_language_goes_to_a_worker_only_where_one_is_asked_for(bus_client: Client) -> None:
    """So that workers of an older version go on working."""
    requests: list[list[Any]] = []

    async def on_request(message: Msg) -> None:
        requests.append(wire.unpack(message.data, str, bytes))
        await message.respond(wire.pack("text", "hola", 1.0))

    await bus_client.subscribe(subjects.worker("stt"), cb=on_request)
    await RemoteModels(bus_client).transcribe(b"\0\0", "Anna", Urgency.NOW)
    await RemoteModels(bus_client).transcribe(b"\0\0", "Anna", Urgency.NOW, "call", "es-MX")
    await RemoteModels(bus_client, "fr").transcribe(b"\0\0", "Anna", Urgency.NOW)
    assert requests == [["Anna", b"\0\0"], ["Anna", b"\0\0", "es-MX"], ["Anna", b"\0\0", "fr"]]


class Linguist:
    """A `Transcriber` that says in which language it was asked."""

    languages = frozenset({"en", "es"})

    def transcribe(self, pcm: bytes, prompt: str = "", language: str = "") -> str:
        if language == "tlh":
            raise UnknownLanguageError("no 'tlh' here")
        return f"{prompt}/{language}"


@pytest.mark.process
async def test_a_worker_transcribes_in_the_language_of_the_request_and_without_one_in_its_own(
    bus_client: Client,
) -> None:
    worker = Worker(1, Linguist(), None)
    service = await service_discovery.register(bus_client, wire.SERVICE, {"kind": "stt"})
    await service.add_endpoint(name="stt", subject=subjects.worker("stt"), handler=worker.on_request)

    async def ask(*fields: object) -> list[Any]:
        return wire.unpack((await bus_client.request(subjects.worker("stt"), wire.pack(*fields))).data, str)

    try:
        assert (await ask("Anna", b"\0\0"))[:2] == ["text", "Anna/"]
        assert (await ask("Anna", b"\0\0", "es"))[:2] == ["text", "Anna/es"]
        assert await ask("Anna", b"\0\0", "tlh") == ["error", "no 'tlh' here", False]
        assert (await ask("Anna", b"\0\0", 7))[0] == "error"
        assert (await ask("Anna", b"\0\0", "x" * 99))[0] == "error"
    finally:
        await service.stop()
        await worker.close()
