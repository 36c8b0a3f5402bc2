"""The realtime protocol with a running bridge: tools answered by the client, items, truncation, overrides, errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from nats.aio.client import Client
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import TypeAdapter
from support.models.plain_chat_server import chat_server
from support.processes.bridge import Speak, StartBridge, agent_is_there

from antiphon.schemas import messages
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = [pytest.mark.process, pytest.mark.models]

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def user(text: str, **more: Any) -> dict[str, Any]:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **more}
    return {"type": "conversation.item.create", "item": item}


def all_published(call: FakeTransceiver) -> None:
    """Every event of the protocol that came validates against the published types."""
    for event in call.events:
        if not event["type"].startswith("antiphon."):
            assert type(SERVER_EVENT.validate_python(event)).__name__ != "dict", event


async def test_a_function_is_called_by_the_model_answered_by_the_client_and_spoken_about(
    start_bridge: StartBridge, bus_client: Client
) -> None:
    async with chat_server() as chat:
        piece = {"index": 0, "id": "call_7", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
        choices = [{"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}]
        usage = {"prompt_tokens": 40, "completion_tokens": 7, "total_tokens": 47}
        chat.replies = [[{"choices": choices}, {"choices": [], "usage": usage}]]
        chat.pieces = ["It is sunny in Paris."]
        start_bridge(greeting="none", agent_name="clever", llm_url=chat.url, llm_model="tiny")
        await agent_is_there(bus_client, "clever")
        async with FakeTransceiver(bus_client, "clever", {"instructions": "Be brief."}) as call:
            tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
            await call.send({"type": "session.update", "session": {"tools": [tool]}})
            updated = await call.wait_for("session.updated")
            assert updated["session"]["tools"][0]["name"] == "weather"
            assert updated["session"]["instructions"] == "Be brief."
            await call.send(user("How is the weather in Paris?"))
            await call.send({"type": "response.create"})
            done = (await call.wait_for("response.done"))["response"]
            (asked,) = done["output"]
            assert (asked["type"], asked["name"], asked["call_id"]) == ("function_call", "weather", "call_7")
            assert json.loads(asked["arguments"]) == {"city": "Paris"}
            assert done["usage"]["total_tokens"] == 47
            assert call.of_type("response.function_call_arguments.done")
            assert not call.frames
            output = {"type": "function_call_output", "call_id": "call_7", "output": "sunny"}
            await call.send({"type": "conversation.item.create", "item": output})
            await call.send({"type": "response.create"})
            done = (await call.wait_for("response.done", 2))["response"]
            assert done["output"][0]["content"][0]["transcript"] == "It is sunny in Paris."
            assert call.played
            roles = [message["role"] for message in chat.requests[1]["messages"]]
            assert roles == ["system", "user", "assistant", "tool"]
            assert chat.requests[1]["messages"][3]["content"] == "sunny"

            aside = {
                "conversation": "none",
                "output_modalities": ["text"],
                "instructions": "Classify.",
                "input": [user("Is this spam?")["item"]],
                "metadata": {"topic": "spam"},
            }
            await call.send({"type": "response.create", "response": aside})
            done = (await call.wait_for("response.done", 3))["response"]
            assert done["metadata"] == {"topic": "spam"}
            assert done["output"][0]["content"][0]["text"] == "It is sunny in Paris."
            system, asked = chat.requests[2]["messages"]
            assert system["content"].startswith("Classify.")
            assert asked["content"] == "Is this spam?"
            await call.send({"type": "conversation.item.retrieve", "item_id": done["output"][0]["id"]})
            assert (await call.wait_for("error"))["error"]["code"] == "item_not_found", "it is not on record"
            all_published(call)


async def test_each_field_of_offer_update_and_response_is_in_force_or_an_error(quiet_bridge: Client) -> None:
    function = {"type": "function", "name": "look"}
    server = {"type": "mcp", "server_label": "x", "server_url": "https://example.com/mcp"}
    offer = {
        "turn_detection": {"type": "server_vad", "threshold": 7, "silence_duration_ms": 900},
        "tools": [function, server, {**function, "name": "ask"}],
        "instrutions": "Be brief.",
    }
    async with FakeTransceiver(quiet_bridge, "concierge", offer) as call:
        created = (await call.wait_for("session.created"))["session"]
        assert created["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 900
        assert [tool["name"] for tool in created["tools"]] == ["look", "ask"]
        await call.wait_for("error", 3)
        assert call.events[0]["type"] == "session.created"
        params = [error["error"]["param"] for error in call.of_type("error")]
        assert sorted(params) == ["session.instrutions", "session.tools[1].type", "session.turn_detection.threshold"]

        changes = {"speed": 1.5, "voice": "nobody", "input_audio_transcription": {"language": "xx", "prompt": "Lee"}}
        await call.send({"type": "session.update", "event_id": "mine", "session": changes})
        audio = (await call.wait_for("session.updated"))["session"]["audio"]
        assert audio["output"] == {**audio["output"], "speed": 1.5, "voice": created["audio"]["output"]["voice"]}
        assert audio["input"]["transcription"]["prompt"] == "Lee"
        refused = [event["error"] for event in call.of_type("error")[3:]]
        places = {("mine", "session.voice"), ("mine", "session.input_audio_transcription.language")}
        assert {(error["event_id"], error["param"]) for error in refused} == places
        await call.send({"type": "session.update", "session": {"speed": 9, "turn_detection": {"threshold": 9}}})
        await call.send({"type": "session.update", "session": {}})
        assert (await call.wait_for("session.updated", 2))["session"]["audio"]["output"]["speed"] == 1.5
        await call.wait_for("error", 7)

        await call.send(user("When are you open?", id="asked"))
        unknown = {"input": [{"type": "item_reference", "id": "unknown"}]}
        await call.send({"type": "response.create", "event_id": "ref", "response": unknown})
        error = (await call.wait_for("error", 8))["error"]
        assert (error["event_id"], error["param"], error["code"]) == ("ref", "response.input[0].id", "item_not_found")
        aside = {
            "conversation": "none",
            "modalities": ["text"],
            "input": [{"type": "item_reference", "id": "asked"}],
            "voice": "nobody",
            "metadata": {"topic": "hours"},
        }
        await call.send({"type": "response.create", "event_id": "aside", "response": aside})
        done = (await call.wait_for("response.done"))["response"]
        assert (done["status"], done["metadata"]) == ("completed", {"topic": "hours"})
        assert done["output"][0]["content"][0]["text"]
        error = (await call.wait_for("error", 9))["error"]
        assert (error["event_id"], error["param"]) == ("aside", "response.voice")
        all_published(call)


async def test_the_keys_of_the_caller_are_told_and_a_turn(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.wait_for("session.created")
        for code in (1, 2, 16, 11):
            await call.event(messages.TelephoneEvent(event=code, duration_ms=100))
        await call.until(lambda: len(call.of_type("input_audio_buffer.dtmf_event_received")) == 3)
        assert [event["event"] for event in call.of_type("input_audio_buffer.dtmf_event_received")] == ["1", "2", "#"]
        added = await call.wait_for("conversation.item.added")
        assert added["item"]["content"] == [{"type": "input_text", "text": "The caller pressed the keys 1 2."}]
        await call.wait_for("response.created")
        all_published(call)


async def test_items_are_created_retrieved_truncated_and_deleted(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.send(user("When are you open?", id="mine"))
        await call.send({"type": "response.create"})
        done = (await call.wait_for("response.done"))["response"]
        spoken = done["output"][0]
        whole = spoken["content"][0]["transcript"]
        cut = {"type": "conversation.item.truncate", "item_id": spoken["id"], "content_index": 0, "audio_end_ms": 900}
        await call.send(cut)
        assert (await call.wait_for("conversation.item.truncated"))["audio_end_ms"] == 900
        await call.send({"type": "conversation.item.retrieve", "item_id": spoken["id"]})
        left = (await call.wait_for("conversation.item.retrieved"))["item"]["content"][0]["transcript"]
        assert len(left) < len(whole)
        assert whole.startswith(left)
        await call.send({**cut, "audio_end_ms": 900_000, "event_id": "too_long"})
        error = (await call.wait_for("error"))["error"]
        assert (error["event_id"], error["param"]) == ("too_long", "audio_end_ms")
        await call.send({"type": "conversation.item.delete", "item_id": "mine"})
        assert (await call.wait_for("conversation.item.deleted"))["item_id"] == "mine"
        await call.send({"type": "conversation.item.delete", "item_id": "mine", "event_id": "again"})
        error = (await call.wait_for("error", 2))["error"]
        assert (error["event_id"], error["code"]) == ("again", "item_not_found")
        await call.send({"type": "response.cancel", "event_id": "nothing"})
        assert (await call.wait_for("error", 3))["error"]["code"] == "response_cancel_not_active"
        await call.send({"type": "input_audio_buffer.append", "audio": "AAAA", "event_id": "append"})
        assert (await call.wait_for("error", 4))["error"]["event_id"] == "append"
        all_published(call)


def deltas(call: FakeTransceiver, type_: str) -> list[str]:
    return [event["delta"] for event in call.of_type(type_)]


async def test_the_words_of_an_answer_are_sent_as_they_are_played(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        type_ = "response.output_audio_transcript.delta"
        await call.send(user("When are you open?"))
        await call.send({"type": "response.create"})
        await call.wait_for(type_)
        played, told = len(call.played), "".join(deltas(call, type_))
        assert played > 0, "nothing is told that was not played"
        done = (await call.wait_for("response.done", timeout=60))["response"]
        whole = done["output"][0]["content"][0]["transcript"]
        assert whole.startswith(told)
        assert len(told) < len(whole)
        assert len(deltas(call, type_)) > 4
        assert "".join(deltas(call, type_)) == whole

        await call.send(user("Help! What can you do?"))
        await call.send({"type": "response.create"})
        before = len(call.of_type(type_))
        await call.wait_for(type_, before + 3)
        await call.send({"type": "response.cancel"})
        done = (await call.wait_for("response.done", 2))["response"]
        assert done["status"] == "cancelled"
        assert "".join(deltas(call, type_)[before:]) == done["output"][0]["content"][0]["transcript"]
        all_published(call)


async def test_words_that_are_certain_are_told_while_the_caller_goes_on(quiet_bridge: Client, speak: Speak) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        detection = {"type": "server_vad", "silence_duration_ms": 3000}
        await call.send({"type": "session.update", "session": {"audio": {"input": {"turn_detection": detection}}}})
        await call.wait_for("session.updated")
        type_ = "conversation.item.input_audio_transcription"
        for part in ("I would like to book an appointment", "for next Tuesday", "at half past ten", "in the morning"):
            await call.say(await asyncio.to_thread(speak, part))
            await call.quiet(0.7)
        await call.until(lambda: len(call.of_type(f"{type_}.delta")) > 0)
        assert not call.of_type(f"{type_}.completed"), "the turn is not over"
        told = "".join(deltas(call, f"{type_}.delta"))
        assert "would like to book" in told
        completed = await call.wait_for(f"{type_}.completed")
        assert completed["transcript"].startswith(told)
        assert "".join(deltas(call, f"{type_}.delta")) == completed["transcript"]
        started = call.of_type("input_audio_buffer.speech_started")[0]
        assert {event["item_id"] for event in call.of_type(f"{type_}.delta")} == {started["item_id"]}
        all_published(call)


async def test_speed_is_a_setting_of_the_session(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        lengths = []
        for number, speed in enumerate((1.0, 1.5), 1):
            await call.send({"type": "session.update", "session": {"audio": {"output": {"speed": speed}}}})
            assert (await call.wait_for("session.updated", number))["session"]["audio"]["output"]["speed"] == speed
            before = len(call.played)
            await call.send(user("When are you open?"))
            await call.send({"type": "response.create"})
            await call.wait_for("response.done", number, timeout=60)
            lengths.append(len(call.played) - before)
        assert lengths[1] < 0.85 * lengths[0]


async def test_a_silent_caller_is_spoken_to_where_that_is_asked_for(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        detection = {"type": "server_vad", "idle_timeout_ms": 1000}
        await call.send({"type": "session.update", "session": {"audio": {"input": {"turn_detection": detection}}}})
        await call.wait_for("input_audio_buffer.timeout_triggered", timeout=40)
        assert (await call.wait_for("response.done", timeout=60))["response"]["status"] == "completed"
        all_published(call)
