"""Agents of the SDK against a caller on real NATS: what the author's function sees, and what the caller hears."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import numpy as np
import pytest
from support.conditions import until
from support.models.sounds import tone
from support.processes.agents import caller, calling, loudest

from antiphon.agent import (
    Agent,
    DataReceived,
    Ended,
    MediaStarted,
    Played,
    Session,
    SpeechStarted,
    SpeechStopped,
    TelephoneEvent,
    TextTyped,
    Word,
)
from antiphon.schemas import messages
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = pytest.mark.process


def loud(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.frombuffer(tone(seconds, rate=16000), dtype=np.int16)


async def test_events_come_from_the_claim_to_the_end_and_then_stop(nats_url: str) -> None:
    agent = Agent("listener")
    seen: list[object] = []
    settings: list[object] = []
    over = asyncio.Event()

    @agent.session
    async def talk(session: Session) -> None:
        settings.append(session.settings)
        async for event in session.events():
            seen.append(event)  # noqa: PERF401 - looked at while it grows
        over.set()

    async with calling(agent, nats_url, {"instructions": "be brief"}) as call:
        await call.event(TelephoneEvent(event=11, duration_ms=100))
        await call.send({"type": "hello"})
        await call.say(loud(0.5))
        await until(lambda: any(isinstance(event, SpeechStopped) for event in seen))
        await call.__aexit__(None, None, None)
        await over.wait()
    kinds = [type(event) for event in seen]
    assert kinds[:2] == [messages.Connected, MediaStarted]
    assert kinds[-1] is Ended
    assert [event.key for event in seen if isinstance(event, TelephoneEvent)] == ["#"]
    assert [event.json() for event in seen if isinstance(event, DataReceived)] == [{"type": "hello"}]
    started, stopped = (e for e in seen if isinstance(e, SpeechStarted | SpeechStopped))
    assert isinstance(started, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    assert stopped.seconds == pytest.approx(0.5, abs=0.15)
    assert settings == [{"instructions": "be brief"}]


async def test_audio_comes_at_the_rate_that_is_asked_for(nats_url: str) -> None:
    agent = Agent("listener", input_rate=16000)
    rates: dict[int, set[int]] = {}

    @agent.session
    async def talk(session: Session) -> None:
        async def listen(rate: int) -> None:
            async for frame in session.audio(rate):
                rates.setdefault(rate, set()).add(len(frame.pcm) * 25)
                assert frame.rate == rate

        async with asyncio.TaskGroup() as group:
            for rate in (8000, 16000, 24000, 48000):
                group.create_task(listen(rate))

    async with calling(agent, nats_url):
        await until(lambda: len(rates) == 4)
    assert rates == {rate: {rate} for rate in (8000, 16000, 24000, 48000)}


async def test_a_speech_is_played_whole_and_its_block_ends_when_it_was(nats_url: str) -> None:
    agent = Agent("speaker")
    heard: list[tuple[Played, float]] = []

    @agent.session
    async def talk(session: Session) -> None:
        began = time.monotonic()
        async with session.speak(rate=24000) as speech:
            await speech.write(tone(0.31), "three words here")
            await speech.write(tone(0.3))
        heard.append((speech.heard, time.monotonic() - began))
        await session.over.wait()

    async with calling(agent, nats_url) as call:
        await until(lambda: heard)
    outcome, seconds = heard[0]
    samples = 7440 + 7200
    assert outcome == Played(samples, 24000, "three words here", complete=True)
    assert seconds > 0.5
    said = bytes(call.played)
    assert said[: samples * 2] == tone(0.31) + tone(0.3)
    assert not any(said[samples * 2 :])


async def test_words_of_both_sides_and_what_is_typed_come_into_the_client_s_transcript(nats_url: str) -> None:
    agent = Agent("captioned")
    typed: list[str] = []

    @agent.session
    async def talk(session: Session) -> None:
        async for event in session.events():
            if isinstance(event, TextTyped):
                typed.append(event.text)
                await session.caption("I need a table.")
                await session.say(tone(0.2, rate=22050), "For how many?", rate=22050)

    async with calling(agent, nats_url) as call:
        content = [{"type": "input_text", "text": "Hello"}]
        item = {"type": "message", "role": "user", "content": content}
        await call.send({"type": "conversation.item.create", "item": item})
        await call.wait_for("response.done")
        said = [event["transcript"] for event in call.of_type("response.output_audio_transcript.done")]
        heard = [event["transcript"] for event in call.of_type("conversation.item.input_audio_transcription.completed")]
        shown = [event["item"]["content"] for event in call.of_type("conversation.item.done")]
    assert (typed, heard, said) == (["Hello"], ["I need a table."], ["For how many?"])
    assert shown == [content, [{"type": "output_audio", "transcript": "For how many?"}]]
    assert {frame.rate for frame in call.frames} == {24000}


async def test_back_pressure_keeps_the_queue_of_the_transceiver_short(nats_url: str) -> None:
    agent = Agent("flood")
    written = asyncio.Event()

    @agent.session
    async def talk(session: Session) -> None:
        async with session.speak(ahead=0.5) as speech:
            await speech.write(tone(3))
            written.set()

    async with calling(agent, nats_url) as call:
        longest = 0
        while not written.is_set():
            longest = max(longest, len(call._queue))
            await asyncio.sleep(0.005)
    assert 15 <= longest <= 40, "half a second is 25 frames; a batch is 10"


async def interrupted(agent: Agent, nats_url: str, when: Callable[[FakeTransceiver], bool]) -> FakeTransceiver:
    async with calling(agent, nats_url) as call:
        await until(lambda: when(call))
        await call.say(loud(1))
        await until(lambda: call.hung_up.is_set())
        return call


async def test_an_interruption_leaves_the_block_and_reports_samples_and_words_that_were_played(nats_url: str) -> None:
    agent = Agent("speaker")
    heard: list[Played | None] = []

    @agent.session
    async def talk(session: Session) -> None:
        async def monologue() -> None:
            async with session.speak() as speech:
                for number in range(100):
                    await speech.write(tone(0.1), [Word(f"w{number}", 0, 0.1)])
            assert speech.interrupted
            heard.append(speech.heard)
            async with session.speak() as second:
                await second.write(tone(0.2, hertz=880))
            heard.append(second.heard)

        session.start(monologue())
        async for event in session.events():
            if isinstance(event, SpeechStarted) and not heard:
                heard.append(await session.flush())
            if len(heard) == 3:
                return

    call = await interrupted(agent, nats_url, lambda call: len(call.played) > 24000)
    first, again, second = heard
    assert first is not None
    assert first == again
    assert first.confirmed
    assert not first.complete
    assert second is not None
    assert second.complete
    played_before = len(call.played) // 2 - second.samples
    assert first.samples == played_before, "to the sample"
    words = first.text.split()
    assert words == [f"w{n}" for n in range(len(words))]
    assert abs(len(words) - first.samples / 2400) <= 1
    assert len(call.flushes) == 1


async def test_a_task_that_waits_for_something_in_the_block_is_interrupted_as_well(nats_url: str) -> None:
    agent = Agent("speaker")
    seen: list[str] = []

    @agent.session
    async def talk(session: Session) -> None:
        async def think() -> None:
            async with session.speak() as speech:
                await speech.write(tone(0.2))
                await asyncio.Event().wait()
                seen.append("not reached")
            seen.append(f"left, {speech.interrupted}")

        session.start(think())
        async for event in session.events():
            if isinstance(event, SpeechStarted):
                await session.flush()
                break
        await until(lambda: seen)

    await interrupted(agent, nats_url, lambda call: bool(call.played))
    assert seen == ["left, True"]


async def test_a_flush_from_inside_its_block_leaves_it_and_two_flushes_agree(nats_url: str) -> None:
    agent = Agent("speaker")
    seen: list[object] = []

    @agent.session
    async def talk(session: Session) -> None:
        async with session.speak() as speech:
            await speech.write(tone(1))
            await session.flush()
            seen.append("not reached")
        seen.append(speech.heard)
        work = session.start(session.say(tone(3)))
        await until(lambda: session.speaking)
        async for event in session.events():
            if isinstance(event, messages.Playout) and event.state == "playing" and event.generation == 2:
                break
        seen.extend(await asyncio.gather(session.flush(), session.flush()))
        seen.append(await work)

    async with calling(agent, nats_url) as call:
        await until(call.hung_up.is_set)
    inside, first, second, said = seen
    assert isinstance(inside, Played)
    assert inside.samples < 24000
    assert isinstance(first, Played)
    assert first == second == said
    assert first.confirmed
    assert 0 < first.samples < 72000


async def test_the_end_of_the_call_leaves_the_block_of_a_speech(nats_url: str) -> None:
    agent = Agent("speaker")
    left: list[bool] = []

    @agent.session
    async def talk(session: Session) -> None:
        async with session.speak() as speech:
            while True:
                await speech.write(tone(0.1))
        left.append(speech.interrupted)
        async with session.speak() as late:
            await late.write(tone(0.1))
            left.append(False)
        left.append(late.interrupted)

    async with agent.serving(nats_url):
        async with caller(nats_url, agent.name) as call:
            await until(lambda: call.played)
        await until(lambda: len(left) == 2)
        await until(lambda: not agent.sessions)
    assert left == [True, True]


async def test_leaving_the_function_ends_the_tasks_of_the_session_and_the_call(nats_url: str) -> None:
    agent = Agent("brief")
    ended: list[str] = []

    @agent.session
    async def talk(session: Session) -> None:
        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("task")

        session.start(forever())
        await session.say(tone(0.1))

    async with calling(agent, nats_url) as call:
        await until(call.hung_up.is_set)
        await until(lambda: not agent.sessions)
    assert ended == ["task"]
    assert loudest(bytes(call.played)) > 5000


@pytest.mark.parametrize("where", ["function", "task"])
async def test_an_exception_ends_the_session_with_a_log_and_a_hang_up(
    nats_url: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent("raises")

    @agent.session
    async def talk(session: Session) -> None:
        async def fail() -> None:
            raise LookupError("no such table")

        if where == "function":
            await fail()
        session.start(fail())
        await session.over.wait()

    async with calling(agent, nats_url) as call:
        await until(call.hung_up.is_set)
        await until(lambda: not agent.sessions)
    assert f"{call.id}: the function has failed: LookupError('no such table')" in caplog.text


async def test_a_function_that_outstays_its_session_is_cancelled(
    nats_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("antiphon.agent.session_runner.END_GRACE", 0.2)
    agent = Agent("leaks")

    @agent.session
    async def talk(session: Session) -> None:
        await asyncio.Event().wait()

    async with agent.serving(nats_url):
        async with caller(nats_url, agent.name):
            await until(lambda: agent.sessions)
        await until(lambda: not agent.sessions)
    assert "its function still runs" in caplog.text


async def test_a_function_that_blocks_the_loop_is_named(nats_url: str, caplog: pytest.LogCaptureFixture) -> None:
    agent = Agent("blocks")

    def chew() -> None:
        time.sleep(0.6)  # what an author must not do

    @agent.session
    async def talk(session: Session) -> None:
        chew()
        await session.over.wait()

    with caplog.at_level(logging.ERROR):
        async with calling(agent, nats_url) as call:
            await until(lambda: "the event loop was blocked" in caplog.text)
            await until(lambda: agent._claims is None)  # late: takes no calls for a while
            await until(lambda: agent._claims is not None)
    assert "chew (" in caplog.text
    assert "test_session.py" in caplog.text
    assert call.id in caplog.text


async def test_above_its_capacity_an_instance_leaves_the_calls_to_another(nats_url: str) -> None:
    async def stay(session: Session) -> None:
        await session.over.wait()

    small, large = Agent("shared", capacity=1), Agent("shared", capacity=10)
    small.session(stay)
    large.session(stay)
    async with small.serving(nats_url), caller(nats_url, "shared"):
        await until(lambda: small._claims is None)
        async with large.serving(nats_url), caller(nats_url, "shared"), caller(nats_url, "shared"):
            assert len(small.sessions) == 1
            assert len(large.sessions) == 2
    await until(lambda: not small.sessions)
