"""The optional end-of-turn model itself, on read speech and in a call. `make smart-turn-test` fetches it."""

from __future__ import annotations

import importlib.util
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soxr
from support.processes.bridge import Samples, agent_is_there, running_bridge
from support.processes.nats import nats_server

from antiphon.inference_bridge.models.smart_turn import RATE, SmartTurn
from antiphon.inference_bridge.models.sources import lexicon_files, smart_turn_file, voice_file
from antiphon.inference_bridge.tts.g2p import Lexicon, Phonemizer
from antiphon.inference_bridge.tts.synthesizer import PiperVoice
from antiphon.runtime.nats import connection
from antiphon.testing.fake_transceiver import FakeTransceiver

if importlib.util.find_spec("pipecat") is None:
    pytest.skip("the model is not installed: make smart-turn-test", allow_module_level=True)

READ_SPEECH = Path("/usr/share/pocketsphinx/test/data/librivox")


@pytest.fixture(scope="module")
def model() -> SmartTurn:
    return SmartTurn(smart_turn_file(None, ""))


@pytest.fixture(scope="module")
def bridge_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {"greeting": "none", "smart_turn": "on", "turn_silence_ms": "1000"}
    with nats_server(tmp_path_factory.mktemp("nats")) as url, running_bridge(url, **settings):
        yield url


def spoken(text: str) -> Samples:
    voice = PiperVoice(voice_file(None, ""), Phonemizer(Lexicon.read(lexicon_files())), variation=0)
    return np.asarray(soxr.resample(voice.synthesize(text), 24000, RATE), dtype=np.int16)


def up_to_its_last_word(speech: Samples) -> bytes:
    loud = np.flatnonzero(np.abs(speech.astype(np.int32)) > 600)
    room = np.random.default_rng(1).normal(0, 8, int(0.16 * RATE)).astype(np.int16)
    return np.concatenate((speech[: int(loud[-1]) + 1], room)).tobytes()


def cut_off(speech: Samples, share: float) -> Samples:
    """Its beginning, up to the softest place near `share` of it."""
    energy = np.convolve(speech.astype(float) ** 2, np.ones(RATE // 20), "same")
    begin, end = int((share - 0.07) * speech.size), int((share + 0.07) * speech.size)
    return speech[: begin + int(np.argmin(energy[begin:end]))]


@pytest.mark.skipif(not READ_SPEECH.is_dir(), reason="apt install pocketsphinx-testdata")
def test_most_read_sentences_sound_done_and_most_of_their_beginnings_do_not(model: SmartTurn) -> None:
    whole, cut = [], []
    for path in READ_SPEECH.glob("*.wav"):
        with wave.open(str(path)) as file:
            speech = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        whole.append(model.judge(up_to_its_last_word(speech)))
        cut += [model.judge(up_to_its_last_word(cut_off(speech, share))) for share in (0.3, 0.45, 0.6, 0.75)]
    assert np.median(whole) > 0.7
    assert np.median(cut) < 0.5


def test_silence_and_next_to_nothing_are_judged_without_an_error(model: SmartTurn) -> None:
    for pcm in (b"", bytes(2), bytes(32000), bytes(2 * 12 * RATE)):
        assert 0 <= model.judge(pcm) <= 1


async def test_a_caller_who_breaks_off_is_given_more_time(model: SmartTurn, bridge_url: str) -> None:
    client = await connection.connect(bridge_url, "test")
    try:
        await agent_is_there(client, "concierge")
        async with FakeTransceiver(client, "concierge") as call:
            broken_off = spoken("I need to see the doctor because")
            assert model.judge(up_to_its_last_word(broken_off)) < 0.3
            await call.say(broken_off)
            await call.quiet(2)
            assert not call.of_type("input_audio_buffer.committed"), "one second is the rule"
            await call.wait_for("input_audio_buffer.committed")
    finally:
        await client.close()
