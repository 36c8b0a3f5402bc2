"""Every example, as its reader would run it: a process on real NATS, with a caller."""

from __future__ import annotations

import asyncio
import json
import wave
from pathlib import Path

import numpy as np
import pytest
from support.conditions import until
from support.models.model_servers import models_server, realtime_server
from support.models.sounds import tone
from support.processes.agents import EXAMPLES, agent_process, caller, loudest
from support.text_agents import bridge_of, of_type, request

from antiphon.agent import TelephoneEvent
from antiphon.schemas.messages import ReplyHangUp, ReplyState
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = pytest.mark.process


def loud(seconds: float, hertz: float = 440.0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.frombuffer(tone(seconds, rate=16000, hertz=hertz), dtype=np.int16)


def pitch(pcm: bytes, rate: int = 24000) -> float:
    """The strongest frequency, Hz."""
    samples = np.frombuffer(pcm, dtype=np.int16)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(np.argmax(spectrum) * rate / samples.size)


def speech_of(call: FakeTransceiver) -> bytes:
    """What was heard, without its silence."""
    frames = [bytes(call.played[at : at + 960]) for at in range(0, len(call.played), 960)]
    return b"".join(frame for frame in frames if loudest(frame) > 1000)


async def test_echo_says_back_what_it_hears_while_the_caller_talks(nats_url: str) -> None:
    with agent_process(nats_url, EXAMPLES / "echo_agent.py"):
        async with caller(nats_url, "echo") as call:
            talking = asyncio.create_task(call.say(loud(4)))
            await until(lambda: speech_of(call))
            assert not talking.done()
            await talking
            await until(lambda: len(speech_of(call)) > 3.8 * 48000)
    assert abs(pitch(speech_of(call)[48000:96000]) - 440) < 5


async def test_the_interpreter_speaks_while_it_listens(nats_url: str) -> None:
    with agent_process(nats_url, EXAMPLES / "interpreter_agent.py"):
        async with caller(nats_url, "interpreter") as call:
            talking = asyncio.create_task(call.say(loud(4, 300)))
            await until(lambda: len(speech_of(call)) > 48000)
            assert not talking.done()
            await talking
    assert abs(pitch(speech_of(call)[:24000]) - 600) < 10


async def test_a_key_cuts_the_prompt_of_the_menu_short(nats_url: str, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "menu.wav"), "wb") as file:
        file.setparams((1, 2, 24000, 0, "NONE", ""))
        file.writeframes(tone(30))
    with agent_process(nats_url, EXAMPLES / "ivr_agent.py", PROMPTS=str(tmp_path)):
        async with caller(nats_url, "ivr") as call:
            await until(lambda: speech_of(call))
            for key in (1, 4, 2, 11):
                await call.event(TelephoneEvent(event=key, duration_ms=80))
            await call.wait_for("ivr.account")
            await until(call.hung_up.is_set)
    assert call.of_type("ivr.account")[0]["number"] == "42"
    assert call.flushes
    assert len(speech_of(call)) < 10 * 48000


async def test_the_recorder_writes_the_caller_of_another_agent_and_its_events(nats_url: str, tmp_path: Path) -> None:
    with (
        agent_process(nats_url, EXAMPLES / "recorder_agent.py", AGENT="echo", RECORDINGS=str(tmp_path)),
        agent_process(nats_url, EXAMPLES / "echo_agent.py"),
    ):
        async with caller(nats_url, "echo") as call:
            await until(lambda: (tmp_path / f"{call.id}.jsonl").exists())
            await call.say(loud(1))
            await call.event(TelephoneEvent(event=5, duration_ms=80))
        events = tmp_path / f"{call.id}.jsonl"
        await until(lambda: '"Ended"' in events.read_text())
        names = [json.loads(line)["kind"] for line in events.read_text().splitlines()]
        assert {"SpeechStarted", "TelephoneEvent", "Playout", "Ended"} <= set(names)

        def recorded() -> bytes:
            with wave.open(str(tmp_path / f"{call.id}.wav")) as file:
                frames: bytes = file.readframes(file.getnframes())
                return frames

        await until(lambda: loudest(recorded()) > 5000)


async def test_the_cascade_answers_on_models_behind_a_url_and_remembers_what_was_played(nats_url: str) -> None:
    async with models_server() as server:
        variables = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "none"}
        with agent_process(nats_url, EXAMPLES / "cascade_agent.py", **variables):
            async with caller(nats_url, "cascade") as call:
                server.answers.append("One two three four five six seven eight nine ten. " * 3)
                await call.say(loud(1))
                await until(lambda: len(speech_of(call)) > 48000)
                await call.say(loud(1))  # interrupts
                await until(lambda: len(server.chats) == 2)
    first, second = server.chats
    assert [message["role"] for message in first] == ["system", "user"]
    assert first[1]["content"].startswith("heard 1.")
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    kept = second[2]["content"].split()
    assert 0 < len(kept) < 30
    assert kept[:10] == ["One", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten."][: len(kept)]
    assert call.flushes


async def test_the_front_desk_books_a_table_and_remembers_it_at_another_instance(nats_url: str) -> None:
    async with bridge_of(nats_url, "desk") as bridge:
        state = None
        with agent_process(nats_url, EXAMPLES / "text_agent.py"), agent_process(nats_url, EXAMPLES / "text_agent.py"):
            await bridge.there(2)
            for text, says in (
                ("Hello!", "For which day?"),
                ("On Sunday.", "On Sunday, gladly. For how many people?"),
                ("For three.", "I am sorry, we are closed on Sundays. Another day?"),
                ("Then Tuesday, for three.", "One moment. That is booked: Tuesday for 3. Anything else?"),
                ("No, goodbye.", "Goodbye, until Tuesday for 3!"),
            ):
                answer = await bridge.whole(request(text, state=state, now="2026-11-29T10:00:00+01:00"))
                assert answer.words.endswith(says)
                state = ([state] + [each.state for each in of_type(answer.parts, ReplyState)])[-1]
            assert of_type(answer.parts, ReplyHangUp)


async def test_a_realtime_server_is_bridged_and_informed_of_what_was_played(nats_url: str) -> None:
    async with realtime_server() as server:
        with agent_process(nats_url, EXAMPLES / "realtime_agent.py", REALTIME_URL=server.url):
            async with caller(nats_url, "realtime", {"instructions": "be brief"}) as call:
                await until(lambda: server.session)
                await call.say(loud(1))
                await until(lambda: len(speech_of(call)) > 48000)
                await call.say(loud(1))
                await until(lambda: server.truncated)
                await call.wait_for("response.done")
            await until(lambda: server.closed)
    assert server.session["instructions"] == "be brief"
    truncated = server.truncated[0]
    assert truncated["item_id"] == "item_1"
    heard_ms = truncated["audio_end_ms"]
    assert 900 < heard_ms < 3000
