"""The real models, loaded once per run, and a real bridge process on a NATS server of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import numpy as np
import pytest
import soxr
from nats.aio.client import Client
from support.models.voice import Models
from support.models.voice import models as loaded_models
from support.processes.bridge import Samples, Speak, StartBridge, Understand, agent_is_there, running_bridge
from support.processes.nats import nats_server

from antiphon.inference_bridge.models.sources import lexicon_files, voice_file
from antiphon.inference_bridge.tts.g2p import Lexicon, Phonemizer
from antiphon.inference_bridge.tts.synthesizer import PiperVoice
from antiphon.runtime.nats import connection


@pytest.fixture(scope="session")
def models() -> Models:
    return loaded_models()


@pytest.fixture(scope="session")
def speak() -> Speak:
    """Text as the caller's speech: mono, 16 kHz, the same every time."""
    voice = PiperVoice(voice_file(None, ""), Phonemizer(Lexicon.read(lexicon_files())), variation=0)

    def speech(text: str) -> Samples:
        samples = soxr.resample(voice.synthesize(text), 24000, 16000)
        return np.asarray(samples, dtype=np.int16)

    return speech


@pytest.fixture
def understand(models: Models) -> Understand:
    """The agent's speech (s16le, 24 kHz) as text."""

    def text(pcm: bytes) -> str:
        samples = soxr.resample(np.frombuffer(pcm, dtype="<i2"), 24000, 16000)
        return models.transcriber.transcribe(np.asarray(samples, dtype="<i2").tobytes())

    return text


@pytest.fixture
def start_bridge(nats_url: str) -> Iterator[StartBridge]:
    """Start a bridge on this test's own NATS server."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running_bridge(nats_url, **settings))


@pytest.fixture
async def bus_client(nats_url: str) -> AsyncIterator[Client]:
    client = await connection.connect(nats_url, "test")
    yield client
    await client.close()


@pytest.fixture(scope="session")
def quiet_bridge_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The NATS server of a bridge that greets nobody, shared by the tests that only talk to it."""
    with nats_server(tmp_path_factory.mktemp("nats")) as url, running_bridge(url, greeting="none"):
        yield url


@pytest.fixture
async def quiet_bridge(quiet_bridge_url: str) -> AsyncIterator[Client]:
    """A connection to the shared bridge's NATS server; the agent is there."""
    client = await connection.connect(quiet_bridge_url, "test")
    await agent_is_there(client, "concierge")
    yield client
    await client.close()
