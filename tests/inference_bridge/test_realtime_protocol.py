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

from antiphon.inference_bridge.realtime_protocol.caller_keys import key_of
from antiphon.inference_bridge.realtime_protocol.client_events import (
    EVENTS,
    FunctionCallOutputItem,
    ItemCreate,
    MessageItem,
    ResponseCreate,
    SessionUpdate,
    read_client_event,
)
from antiphon.inference_bridge.realtime_protocol.conversation import MAX_ITEMS, Conversation, message, text_of
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
    return settings.shown("rtc_1", "concierge", BASE)


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
    RealtimeResponse(realtime).done("cancelled", "", 0, "client_cancelled")
    long = RealtimeResponse(realtime, voice="joe", max_output_tokens=20)
    long.written("This is a long ")
    long.begin_speech()
    long.audio_started()
    long.used(None, 20)
    long.incomplete("max_output_tokens")
    long.done("completed", "This is a long", 0)
    filtered = RealtimeResponse(realtime, spoken=False)
    filtered.text("This is")
    filtered.done("incomplete", "This is", 0, "content_filter")
    after = RealtimeResponse(realtime)
    after.function_call("call_3", "look", "{}")
    after.written("Let me look.")
    after.done("completed", "Let me look.", 0)
    for key in "12#":
        realtime.key_pressed(key, 1_780_000_000.5)
    realtime.add_keys(["1", "2", "#"])
    spoken = {"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": "Hi"}]}
    realtime.create(MessageItem.model_validate(spoken), None)
    realtime.errors(SessionChanges.model_validate({"speed": 9, "tools": [{"type": "mcp"}], "x": 1}).refused)
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


def of_type(events: list[dict[str, Any]], *types: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] in types]


def test_a_message_begins_when_it_is_written_and_stands_before_the_call_that_follows_it() -> None:
    realtime, events = protocol()
    response = RealtimeResponse(realtime)
    response.written(" ")
    response.written("Let me check that for you.")
    response.written(" One moment.")
    response.function_call("call_1", "look", "{}")
    output = FunctionCallOutputItem(type="function_call_output", call_id="call_1", output="sunny")
    realtime.create(output, None)  # the client is faster than the speech
    response.begin_speech()
    response.audio_started()
    response.done("completed", "Let me check that for you. One moment.", 0)
    kinds = [item.get("role") or item["type"] for item in realtime.conversation.items]
    assert kinds == ["assistant", "function_call", "function_call_output"]
    added = of_type(events, "response.output_item.added")
    assert [(event["output_index"], event["item"]["type"]) for event in added] == [(0, "message"), (1, "function_call")]
    assert [event["output_index"] for event in of_type(events, "response.output_item.done")] == [1, 0]
    (done,) = of_type(events, "response.done")
    assert [item["type"] for item in done["response"]["output"]] == ["message", "function_call"]
    told = of_type(events, "conversation.item.added")
    assert [event["previous_item_id"] for event in told] == [None, *(event["item"]["id"] for event in told[:-1])]


def test_items_have_the_output_index_of_the_order_in_which_they_were_written() -> None:
    realtime, events = protocol()
    response = RealtimeResponse(realtime)
    response.function_call("call_1", "look", "{}")
    response.written("Let me look.")
    response.function_call("call_2", "look", "{}")
    response.begin_speech()
    response.played("Let me")
    response.done("completed", "Let me look.", 0)
    by_item: dict[str, set[int]] = {}
    for event in events:
        if "output_index" in event:
            item_id = event.get("item_id") or event["item"]["id"]
            by_item.setdefault(item_id, set()).add(event["output_index"])
    (done,) = of_type(events, "response.done")
    assert [by_item[item["id"]] for item in done["response"]["output"]] == [{0}, {1}, {2}]
    assert [item["type"] for item in done["response"]["output"]] == ["function_call", "message", "function_call"]
    assert response.calls


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
@pytest.mark.parametrize("spoken", [True, False])
def test_an_answer_that_ends_before_its_end_is_incomplete_with_the_reason(reason: Any, spoken: bool) -> None:
    for early in (True, False):
        realtime, events = protocol()
        response = RealtimeResponse(realtime, spoken)
        if spoken:
            response.written("This is")
            response.audio_started()
        else:
            response.text("This is")
        if early:
            response.incomplete(reason)
            response.done("completed", "This is", 0)
        else:
            response.done("incomplete", "This is", 0, reason)
        (done,) = of_type(events, "response.done")
        assert done["response"]["status"] == "incomplete"
        assert done["response"]["status_details"] == {"type": "incomplete", "reason": reason}
        assert done["response"]["output"][0]["status"] == "incomplete"
        assert not of_type(events, "output_audio_buffer.cleared", "conversation.item.truncated")


def test_an_incomplete_answer_that_is_interrupted_is_cancelled() -> None:
    realtime, events = protocol()
    response = RealtimeResponse(realtime)
    response.written("This is")
    response.incomplete("max_output_tokens")
    response.done("cancelled", "This", 100, "turn_detected")
    assert events[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}


@pytest.mark.parametrize(
    ("taken", "given_out", "total"),
    [(40, 7, 47), (None, None, 0), (None, 7, 7), (40.0, "7", 40), (-1, True, 0), (float("nan"), float("inf"), 0)],
)
def test_no_usage_of_a_chat_server_keeps_a_response_from_its_end(taken: Any, given_out: Any, total: int) -> None:
    realtime, events = protocol()
    response = RealtimeResponse(realtime)
    response.used(taken, given_out)
    response.done("completed", "", 0)
    assert events[-1]["response"]["usage"]["total_tokens"] == total


def test_a_response_that_is_cancelled_before_a_word_of_it_ends_as_it_began() -> None:
    realtime, events = protocol()
    RealtimeResponse(realtime, metadata={"topic": "spam"}).done("cancelled", "", 0, "client_cancelled")
    created, done = (event["response"] for event in of_type(events, "response.created", "response.done"))
    assert created["id"] == done["id"]
    assert (done["status"], done["output"], done["metadata"]) == ("cancelled", [], {"topic": "spam"})
    assert realtime.conversation.items == []


def test_a_message_under_way_can_be_truncated_though_its_content_is_not_on_record_yet() -> None:
    realtime, events = protocol()
    response = RealtimeResponse(realtime)
    response.begin_speech()
    (part,) = of_type(events, "response.content_part.added")
    item = realtime.conversation.truncate(part["item_id"], part["content_index"])
    assert item["status"] == "in_progress"
    with pytest.raises(ClientError, match="has 1 parts"):
        realtime.conversation.truncate(part["item_id"], 1)


def test_the_keys_of_the_caller_are_told_and_read_by_the_model() -> None:
    assert [key_of(event) for event in (0, 9, 10, 11, 12, 15, 16, -1)] == ["0", "9", "*", "#", "A", "D", None, None]
    realtime, events = protocol()
    realtime.key_pressed("1", 1_780_000_000.9)
    assert events[-1] | {"event_id": ""} == {
        "type": "input_audio_buffer.dtmf_event_received",
        "event_id": "",
        "event": "1",
        "received_at": 1_780_000_000,
    }
    assert text_of(realtime.add_keys(["1", "2", "3", "#"])) == "The caller pressed the keys 1 2 3 #."
    assert text_of(realtime.add_keys(["7"])) == "The caller pressed the key 7."
    assert len(text_of(realtime.add_keys(["1"] * 10_000))) < 200
    assert [item["role"] for item in realtime.conversation.items] == ["user"] * 3


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
        waits.append((turns.patience, turns.longest_ms))
    assert waits == sorted(waits)
