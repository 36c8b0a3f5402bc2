"""The events on the data channel have the published shapes and order; what clients send is read or refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import TypeAdapter

from antiphon.inference_bridge.realtime_protocol.client_events import (
    EVENTS,
    FunctionCallOutputItem,
    ItemCreate,
    MessageItem,
    ResponseCreate,
    SessionUpdate,
    read_client_event,
)
from antiphon.inference_bridge.realtime_protocol.conversation import MAX_ITEMS, Conversation, message
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime, RealtimeResponse
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionChanges, SessionSettings
from antiphon.inference_bridge.turns.turn_settings import TurnSettings

pytestmark = pytest.mark.pure

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
BASE = TurnSettings()


def protocol() -> tuple[Realtime, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return Realtime(lambda event: events.append(json.loads(json.dumps(event)))), events


def shown(settings: SessionSettings) -> dict[str, Any]:
    return settings.shown("rtc_1", "concierge", "joe", BASE)


def a_conversation() -> list[dict[str, Any]]:
    """Every event that there is, at least once."""
    realtime, events = protocol()
    realtime.session("session.created", shown(SessionSettings()))
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    update = {
        "type": "realtime",
        "tracing": "auto",
        "tools": [tool],
        "tool_choice": {"type": "function", "name": "look"},
        "audio": {"input": {"turn_detection": {"type": "semantic_vad"}, "transcription": {"prompt": "Riverside"}}},
    }
    realtime.session("session.updated", shown(SessionSettings().changed(SessionChanges.model_validate(update))))
    off = {"audio": {"input": {"turn_detection": None, "transcription": None}}, "output_modalities": ["text"]}
    realtime.session("session.updated", shown(SessionSettings().changed(SessionChanges.model_validate(off))))
    item_id = realtime.speech_started(1200)
    realtime.speech_stopped(item_id, 2400)
    realtime.committed(item_id)
    realtime.conversation.set_transcript(item_id, "What time is it?")
    realtime.transcribing(item_id, "What time")
    realtime.transcribing(item_id, " is it?")
    realtime.transcribed(item_id, "What time is it?", 1.2)
    response = RealtimeResponse(realtime)
    response.begin_speech()
    response.audio_started()
    response.played("Sure,")
    response.used(40, 7)
    response.done("completed", "Sure, it is ten.", 0)
    realtime.retrieve(item_id)
    user = MessageItem.model_validate(
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Thanks"}]}
    )
    realtime.create(user, None)
    system = MessageItem.model_validate(
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be kind."}]}
    )
    realtime.create(system, "root")
    second = RealtimeResponse(realtime)
    second.begin_speech()
    second.audio_started()
    second.done("cancelled", "You're", 200, "turn_detected")
    calling = RealtimeResponse(realtime, metadata={"why": "test"})
    calling.begin_speech()
    calling.function_call("call_1", "look", '{"at": "it"}')
    calling.function_call("call_2", "look", "{}")
    calling.done("completed", "Let me look.", 0)
    output = FunctionCallOutputItem(type="function_call_output", call_id="call_1", output="{}")
    realtime.create(output, None)
    text = RealtimeResponse(realtime, spoken=False, on_record=False)
    text.text("In writing.")
    text.done("completed", "In writing.", 0)
    RealtimeResponse(realtime).done("failed", "", 0, failure="no speech could be made of it")
    realtime.delete(item_id)
    realtime.cleared()
    realtime.error(ClientError("no", "invalid_value", "item", "event_7"))
    realtime.transcription_failed(item_id, "busy")
    place = {"audio_start_ms": 1, "audio_end_ms": 2, "item_id": "item_9"}
    realtime.emit("input_audio_buffer.timeout_triggered", **place)
    return events


@pytest.mark.parametrize("event", a_conversation(), ids=lambda event: f"{event['event_id']}-{event['type']}")
def test_every_event_has_its_published_shape(event: dict[str, Any]) -> None:
    read = SERVER_EVENT.validate_python(event, strict=False)
    assert read.type == event["type"]
    assert type(read).__name__ != "dict"


def test_event_ids_are_unique() -> None:
    ids = [event["event_id"] for event in a_conversation()]
    assert len(set(ids)) == len(ids)


def test_the_ids_of_a_later_holder_of_the_call_are_others() -> None:
    first, second = Realtime(lambda _: None), Realtime(lambda _: None, era=1)
    assert {first.new_id("item"), first.new_id("item")}.isdisjoint({second.new_id("item"), second.new_id("item")})


def test_an_interrupted_response_holds_what_was_heard() -> None:
    events = a_conversation()
    types = [event["type"] for event in events]
    done = next(
        e["response"] for e in events if e["type"] == "response.done" and e["response"]["status"] == "cancelled"
    )
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["content"][0]["transcript"] == "You're"
    assert types.index("output_audio_buffer.cleared") < types.index("conversation.item.truncated")


def test_items_name_the_one_before_them() -> None:
    added = [event for event in a_conversation() if event["type"] == "conversation.item.added"]
    spoken, answer, typed, system = added[:4]
    assert spoken["previous_item_id"] is None
    assert answer["previous_item_id"] == spoken["item"]["id"]
    assert typed["previous_item_id"] == answer["item"]["id"]
    assert system["previous_item_id"] is None, "it was put at the root"


def test_a_response_outside_of_the_conversation_leaves_no_item() -> None:
    realtime, events = protocol()
    response = RealtimeResponse(realtime, spoken=False, on_record=False)
    response.text("Aside.")
    response.done("completed", "Aside.", 0)
    assert realtime.conversation.items == []
    assert "conversation.item.added" not in [event["type"] for event in events]
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Aside."}]


def test_the_conversation_is_bounded_and_forgets_the_oldest() -> None:
    conversation = Conversation()
    for number in range(MAX_ITEMS + 5):
        conversation.add(message(f"item_{number}", "user", "completed"))
    assert len(conversation.items) == MAX_ITEMS
    assert "item_4" not in conversation


# ---- what clients send -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"type": 3}', b"\xff", "[" * 100_000])
def test_a_message_that_is_no_event_is_a_client_error(text: str | bytes) -> None:
    with pytest.raises(ClientError):
        read_client_event(text)


def detecting(detection: dict[str, Any]) -> dict[str, Any]:
    return {"type": "session.update", "session": {"audio": {"input": {"turn_detection": detection}}}}


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "dance"}, "invalid_value", "type"),
        ({"event": 1}, "missing_required_parameter", "type"),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        ({"type": "session.update", "session": {"output_modalities": ["smell"]}}, None, "session.output_modalities[0]"),
        (detecting({"threshold": 7}), "invalid_value", "session.audio.input.turn_detection.threshold"),
        (detecting({"type": "guess"}), "invalid_value", "session.audio.input.turn_detection.type"),
        ({"type": "session.update", "session": "loud"}, "invalid_type", "session"),
        ({"type": "conversation.item.create", "item": {"type": "message"}}, "missing_required_parameter", "item.role"),
        ({"type": "conversation.item.retrieve", "item_id": 3}, "invalid_type", "item_id"),
        ({"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": -1}, None, "audio_end_ms"),  # noqa: E501
        ({"type": "response.create", "response": {"conversation": "other"}}, "invalid_value", "response.conversation"),
    ],
)  # fmt: skip
def test_a_malformed_event_is_refused_with_its_field_and_the_client_s_event_id(
    event: dict[str, Any], code: str | None, param: str
) -> None:
    with pytest.raises(ClientError) as refused:
        read_client_event(json.dumps({**event, "event_id": "mine"}))
    assert refused.value.param == param
    assert refused.value.code == (code or "invalid_value")
    assert refused.value.event_id == "mine"


def test_what_the_stock_client_library_sends_is_understood() -> None:
    """Events as `@openai/agents-realtime` and the `openai` package send them, with fields that mean nothing here."""
    audio = {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "noise_reduction": None,
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "turn_detection": {"type": "semantic_vad", "eagerness": "low", "create_response": True},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.2},
    }
    session: dict[str, Any] = {
        "type": "realtime",
        "model": "gpt-realtime",
        "audio": audio,
        "tools": [],
        "prompt": None,
        "reasoning": {"effort": "low"},
    }
    read = read_client_event(json.dumps({"type": "session.update", "session": session}))
    assert isinstance(read, SessionUpdate)
    assert read.session.refused == ()
    settings = SessionSettings().changed(read.session)
    assert settings.speed == 1.2
    assert shown(settings)["audio"]["output"]["voice"] == "joe", "what is in force, not what was asked for"
    assert isinstance(read_client_event('{"type": "response.create"}'), ResponseCreate)
    content = [{"type": "input_text", "text": "Hi"}]
    item = {"type": "message", "role": "user", "content": content}
    created = read_client_event(json.dumps({"type": "conversation.item.create", "item": item, "event_id": "e1"}))
    assert isinstance(created, ItemCreate)
    assert len(EVENTS) == 11


@given(st.recursive(st.none() | st.text() | st.integers(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)))
def test_any_field_is_read_or_refused(value: Any) -> None:
    for type_, name in (
        ("conversation.item.create", "item"),
        ("session.update", "session"),
        ("response.create", "response"),
    ):
        with contextlib.suppress(ClientError):
            read_client_event(json.dumps({"type": type_, name: value}))


# ---- settings --------------------------------------------------------------------------------------------


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    first = SessionSettings().changed(
        SessionChanges.model_validate({"instructions": "Be brief.", "audio": {"output": {"speed": 1.5}}})
    )
    detection = {"type": "server_vad", "silence_duration_ms": 900, "interrupt_response": False}
    second = first.changed(SessionChanges.model_validate({"audio": {"input": {"turn_detection": detection}}}))
    assert second.instructions == "Be brief."
    assert second.speed == 1.5
    assert not second.interrupts
    turns = second.turn_settings(BASE)
    assert turns is not None
    assert turns.silence_ms == 900
    assert turns.threshold == BASE.threshold
    assert second.transcription is not None


def test_null_switches_off_and_the_client_then_ends_its_turns_itself() -> None:
    settings = SessionSettings().changed(SessionChanges.model_validate({"audio": {"input": {"turn_detection": None}}}))
    assert settings.turn_settings(BASE) is None
    assert not settings.creates_responses
    assert shown(settings)["audio"]["input"]["turn_detection"] is None


def test_eagerness_shortens_the_wait() -> None:
    waits = []
    for eagerness in ("high", "medium", "low"):
        detection = {"type": "semantic_vad", "eagerness": eagerness}
        turns = (
            SessionSettings()
            .changed(SessionChanges.model_validate({"audio": {"input": {"turn_detection": detection}}}))
            .turn_settings(BASE)
        )
        assert turns is not None
        waits.append((turns.complete_ms, turns.incomplete_ms))
    assert waits == sorted(waits)
