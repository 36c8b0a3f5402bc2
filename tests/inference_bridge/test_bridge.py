"""A real bridge process on a real NATS server; the test plays transceiver and caller, in real time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from opentelemetry import trace
from support.processes.bridge import Speak, StartBridge, Understand, agent_is_there, running_bridge
from support.processes.nats import nats_server

from antiphon.bench._lib.otlp import otlp_receiver
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import FrameFlag
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = pytest.mark.process


def transcript(done: dict[str, Any]) -> str:
    return str(done["response"]["output"][0]["content"][0]["transcript"])


@pytest.mark.models
async def test_a_spoken_question_gets_a_spoken_answer(
    quiet_bridge: Client, speak: Speak, understand: Understand
) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.say(
            await asyncio.to_thread(speak, "I would like to book an appointment for next Tuesday at ten thirty.")
        )
        done = await call.wait_for("response.done")
        heard = understand(bytes(call.played)).lower()
        assert "tuesday" in heard
        assert "10" in heard
        types = [event["type"] for event in call.events]
        assert types[0] == "session.created"
        assert types.index("input_audio_buffer.speech_started") < types.index("input_audio_buffer.committed")
        (understood,) = call.of_type("conversation.item.input_audio_transcription.completed")
        assert "appointment" in understood["transcript"]
        assert transcript(done).startswith("Done.")
        assert done["response"]["status"] == "completed"
        assert call.of_type("output_audio_buffer.stopped")
        (latency,) = call.of_type("antiphon.latency")
        assert latency["end_of_speech_to_first_audio_ms"] > latency["end_of_turn_ms"] > 0
        assert [bool(f.flags & FrameFlag.END_OF_UTTERANCE) for f in call.frames].index(True) == len(call.frames) - 1

        await call.say(await asyncio.to_thread(speak, "What have I booked?"))
        assert "10:30 AM" in transcript(await call.wait_for("response.done", 2))


@pytest.mark.models
async def test_talking_over_the_agent_stops_it_and_the_page_is_told_what_was_heard(
    quiet_bridge: Client, speak: Speak
) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.say(await asyncio.to_thread(speak, "Help! What can you do?"))
        await call.until(lambda: len(call.played) > 24000 * 2)
        assert not call.flushes
        await call.say(await asyncio.to_thread(speak, "What time is it right now?"))
        await call.until(lambda: len(call.flushes) == 1)
        assert call.flushes[0].generation == 2
        cancelled = await call.wait_for("response.done")
        assert cancelled["response"]["status"] == "cancelled"
        assert cancelled["response"]["status_details"]["reason"] == "turn_detected"
        assert 0 < len(transcript(cancelled)) < 120
        assert "the date" not in transcript(cancelled)
        assert call.of_type("output_audio_buffer.cleared")
        assert call.of_type("conversation.item.truncated")[0]["audio_end_ms"] > 900
        answered = await call.wait_for("response.done", 2)
        assert answered["response"]["status"] == "completed"
        assert "it is" in transcript(answered)
        assert {frame.generation for frame in call.frames} == {1, 2}


@pytest.mark.models
async def test_the_caller_is_greeted_and_may_interrupt_the_greeting(
    start_bridge: StartBridge, bus_client: Client, speak: Speak, understand: Understand
) -> None:
    start_bridge(greeting="Hello and welcome to a very long greeting, which goes on and on, until somebody speaks.")
    await agent_is_there(bus_client, "concierge")
    async with FakeTransceiver(bus_client, "concierge") as call:
        await call.until(lambda: len(call.played) > 48000)
        await call.say(await asyncio.to_thread(speak, "What time is it, please?"))
        done = await call.wait_for("response.done")
        assert done["response"]["status"] == "cancelled"
        assert "it is" in transcript(await call.wait_for("response.done", 2))
        assert "welcome" in understand(bytes(call.played[: 24000 * 2 * 2])).lower()


@pytest.mark.models
async def test_a_typed_message_is_answered_and_a_bad_one_refused(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.send({"type": "session.update", "session": {"type": "realtime"}})
        await call.wait_for("session.updated")
        await call.send({"type": "dance", "event_id": "mine"})
        assert (await call.wait_for("error"))["error"]["event_id"] == "mine"
        content = [{"type": "input_text", "text": "When are you open?"}]
        item = {"type": "message", "role": "user", "content": content}
        await call.send({"type": "conversation.item.create", "item": item})
        await call.send({"type": "response.create"})
        assert "Monday to Friday" in transcript(await call.wait_for("response.done"))
        assert call.played


@pytest.mark.models
@pytest.mark.nightly
async def test_the_client_can_stop_the_speech(start_bridge: StartBridge, bus_client: Client) -> None:
    start_bridge(greeting="This is a greeting that nobody wants to hear to its end, because it is so long.")
    await agent_is_there(bus_client, "concierge")
    async with FakeTransceiver(bus_client, "concierge") as call:
        await call.until(lambda: len(call.played) > 24000)
        await call.send({"type": "response.cancel"})
        await call.send({"type": "output_audio_buffer.clear"})
        done = await call.wait_for("response.done")
        assert done["response"]["status_details"]["reason"] == "client_cancelled"
        assert len(call.flushes) == 1


@pytest.mark.models
async def test_goodbye_hangs_up_after_it_was_said(quiet_bridge: Client, speak: Speak) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.say(await asyncio.to_thread(speak, "That is all, thank you, goodbye."))
        await asyncio.wait_for(call.hung_up.wait(), 20)
        assert any(frame.flags & FrameFlag.END_OF_UTTERANCE for frame in call.frames)
        assert transcript(await call.wait_for("response.done")).startswith("Goodbye")


@pytest.mark.models
@pytest.mark.nightly
async def test_a_claim_above_the_capacity_is_refused_until_a_call_ends(
    start_bridge: StartBridge, bus_client: Client
) -> None:
    start_bridge(bridge_capacity="1", greeting="none")
    await agent_is_there(bus_client, "concierge")
    async with FakeTransceiver(bus_client, "concierge") as call:
        assert (await call.claim()).message == f"session {call.id} is claimed already"
        with pytest.raises(RuntimeError, match="ANTIPHON_BRIDGE_CAPACITY"):
            async with FakeTransceiver(bus_client, "concierge"):
                pass
    async with asyncio.timeout(5):
        while True:
            try:
                async with FakeTransceiver(bus_client, "concierge"):
                    return
            except RuntimeError:
                await asyncio.sleep(0.02)


@pytest.mark.models
@pytest.mark.nightly
async def test_a_call_of_which_nothing_comes_any_more_is_dropped(start_bridge: StartBridge, bus_client: Client) -> None:
    start_bridge(bridge_capacity="1", bridge_idle="1", greeting="none")
    await agent_is_there(bus_client, "concierge")
    claim = messages.encode(messages.Claim(session_id="rtc_vanished", agent="concierge"))
    answer = await bus_client.request(subjects.agent_claim("concierge"), claim, timeout=2)
    assert messages.decode(answer.data, messages.ClaimReply).accepted
    async with asyncio.timeout(10):
        while True:
            try:
                async with FakeTransceiver(bus_client, "concierge"):
                    return
            except RuntimeError:
                await asyncio.sleep(0.02)


@pytest.mark.models
@pytest.mark.nightly
async def test_a_call_goes_on_when_nats_was_restarted_in_the_middle(tmp_path: Path, speak: Speak) -> None:
    with ExitStack() as first, ExitStack() as second:
        url = first.enter_context(nats_server(tmp_path / "first"))
        with running_bridge(url, greeting="none"):
            client = await connection.connect(url, "test")
            await agent_is_there(client, "concierge")
            async with FakeTransceiver(client, "concierge") as call:
                await call.say(await asyncio.to_thread(speak, "Please book an appointment for next Tuesday at eleven."))
                await call.wait_for("response.done")
                await call.say(await asyncio.to_thread(speak, "Help! What can you do?"))
                await call.wait_for("output_audio_buffer.started", 2)
                first.close()  # in mid-sentence
                second.enter_context(nats_server(tmp_path / "second", int(url.rsplit(":", 1)[1])))
                await agent_is_there(client, "concierge")
                await call.say(await asyncio.to_thread(speak, "What have I booked?"))
                await call.until(lambda: any("11 AM" in transcript(done) for done in call.of_type("response.done")), 60)
            await client.close()


@pytest.mark.models
async def test_a_claim_that_is_none_is_refused(quiet_bridge: Client) -> None:
    subject = subjects.agent_claim("concierge")
    for data in (b"", b"{}", json.dumps({"version": 1, "session_id": "a.b", "agent": "concierge"}).encode()):
        reply = messages.decode((await quiet_bridge.request(subject, data, timeout=2)).data, messages.ClaimReply)
        assert not reply.accepted
        assert reply.message


@pytest.mark.models
async def test_garbage_on_a_call_s_subjects_does_not_end_it(quiet_bridge: Client, speak: Speak) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        for build in (subjects.audio_in, subjects.session_event, subjects.data_in):
            subject = build("concierge", call.id)
            for data in (b"", b"\x00\xff", b"[]", b'{"version":1,"text":"{"}'):
                await quiet_bridge.publish(subject, data)
        await call.say(await asyncio.to_thread(speak, "What day is it today?"))
        assert "today is" in transcript(await call.wait_for("response.done")), call.events


@pytest.mark.models
async def test_a_bridge_that_is_told_to_stop_is_gone_within_two_seconds(
    start_bridge: StartBridge, bus_client: Client
) -> None:
    process = start_bridge()
    await agent_is_there(bus_client, "concierge")
    async with FakeTransceiver(bus_client, "concierge") as call:
        await call.until(lambda: bool(call.frames))
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 5) == 0
        assert time.monotonic() - started < 4  # two seconds are promised; others may hold this machine


@pytest.mark.models
async def test_a_language_model_takes_the_place_of_the_concierge(
    start_bridge: StartBridge, bus_client: Client, speak: Speak, understand: Understand
) -> None:
    asked: list[dict[str, Any]] = []

    async def chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length"))
        asked.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for piece in ("Well, ", "the capital of ", "France is Paris. ", "It is lovely in spring."):
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            choices = {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
            writer.write(f"data: {json.dumps(chunk | choices)}\n\n".encode())
            await writer.drain()
        writer.write(b"data: [DONE]\n\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(chat, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        start_bridge(greeting="none", agent_name="clever", llm_url=url, llm_model="tiny")
        await agent_is_there(bus_client, "clever")
        async with FakeTransceiver(bus_client, "clever", {"instructions": "Be a geographer."}) as call:
            await call.say(await asyncio.to_thread(speak, "What is the capital of France?"))
            done = await call.wait_for("response.done")
            assert transcript(done) == "Well, the capital of France is Paris. It is lovely in spring."
            assert "paris" in understand(bytes(call.played)).lower()
    (question,) = [request for request in asked if request.get("stream")]  # the other one looked whether we answer
    assert question["model"] == "tiny"
    assert question["messages"][0]["content"].startswith("Be a geographer.")
    assert "France" in question["messages"][1]["content"]


@pytest.mark.models
async def test_a_call_whose_transceiver_vanishes_is_answered_and_not_kept_busy(
    quiet_bridge: Client, speak: Speak
) -> None:
    """Audio that stops in the middle of speech ends the turn: no reply hangs on a frame that never comes."""
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.say(await asyncio.to_thread(speak, "What time is it?"))
        await call.stop_sending()
        await call.until(lambda: bool(call.of_type("conversation.item.input_audio_transcription.completed")))
        await call.until(lambda: bool(call.frames))


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [("ANTIPHON_LLM_URL", "localhost", "ANTIPHON_LLM_URL"), ("ANTIPHON_BRIDGE_CAPACITY", "0", "BRIDGE_CAPACITY")],
)
def test_a_bad_setting_is_one_line_and_status_2(variable: str, value: str, named: str) -> None:
    command = [sys.executable, "-m", "antiphon.inference_bridge"]
    ended = subprocess.run(command, env={**os.environ, variable: value}, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.models
async def test_turn_and_greeting_are_spans_of_the_call_s_trace(
    start_bridge: StartBridge, bus_client: Client, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace_id = 0x0AF7651916CD43DD8448EB211C80319C
    caller = trace.SpanContext(trace_id, 0xB7AD6B7169203331, is_remote=False, trace_flags=trace.TraceFlags(1))
    with otlp_receiver() as receiver, trace.use_span(trace.NonRecordingSpan(caller)):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        process = start_bridge(greeting="Hello.")
        await agent_is_there(bus_client, "concierge")
        async with FakeTransceiver(bus_client, "concierge") as call:
            await call.wait_for("response.done")
            await call.say(await asyncio.to_thread(speak, "What time is it?"))
            await call.wait_for("response.done", 2)
        process.terminate()
        await asyncio.to_thread(process.wait, 5)
        found = receiver.of_trace(f"{trace_id:032x}")
        (claim,) = [span for span in found if span.name == "claim"]
        assert claim.parent_id == "b7ad6b7169203331"
        turns = [span for span in found if span.name == "invoke_agent concierge"]
        greeting, turn = sorted(turns, key=lambda span: span.began_ns)
        assert turn.parent_id == greeting.parent_id == claim.span_id
        assert {span.name for span in found if span.parent_id == greeting.span_id} == {"agent", "text_to_speech joe"}
        parts = {"receive", "end_of_turn", "speech_to_text whisper", "agent", "text_to_speech joe"}
        assert {span.name for span in found if span.parent_id == turn.span_id} == parts
        attributes = turn.attributes
        assert {"antiphon.stt_ms", "antiphon.agent_ms", "antiphon.tts_first_ms"} <= attributes.keys()
        assert "antiphon.end_of_speech_to_first_audio_ms" in attributes
