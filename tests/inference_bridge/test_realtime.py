"""The events on the data channel have the published shapes and a sensible order."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import TypeAdapter

from antiphon.inference_bridge.realtime import ClientError, Realtime, RealtimeResponse, read_client_event, typed_text

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def protocol() -> tuple[Realtime, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return Realtime("rtc_1", "concierge", events.append), events


def a_spoken_turn() -> list[dict[str, Any]]:
    realtime, events = protocol()
    realtime.session_created()
    realtime.session_update({"type": "realtime", "tracing": "auto"})
    item_id = realtime.speech_started(1200)
    realtime.speech_stopped(item_id, 2400)
    realtime.committed(item_id)
    realtime.transcribed(item_id, "What time is it?", 1.2)
    response = RealtimeResponse(realtime)
    response.clause("Sure,")
    response.audible()
    response.clause(" it is ten.")
    response.done("completed", "Sure, it is ten.", 0)
    realtime.retrieve(item_id)
    realtime.typed({"type": "message"}, "Thanks")
    second = RealtimeResponse(realtime)
    second.clause("You're welcome.")
    second.audible()
    second.done("cancelled", "You're", 200, "turn_detected")
    realtime.error(ClientError("no", "invalid_value", "item"), "event_7")
    realtime.transcription_failed(item_id, "busy")
    return events


@pytest.mark.parametrize("event", a_spoken_turn(), ids=lambda event: f"{event['event_id']}-{event['type']}")
def test_every_event_has_its_published_shape(event: dict[str, Any]) -> None:
    read = SERVER_EVENT.validate_python(json.loads(json.dumps(event)), strict=False)
    assert read.type == event["type"]
    assert type(read).__name__ != "dict"


def test_event_ids_are_unique() -> None:
    ids = [event["event_id"] for event in a_spoken_turn()]
    assert len(set(ids)) == len(ids)


def test_an_interrupted_response_holds_what_was_heard() -> None:
    events = a_spoken_turn()
    types = [event["type"] for event in events]
    done = [event for event in events if event["type"] == "response.done"][-1]["response"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["content"][0]["transcript"] == "You're"
    assert types.index("output_audio_buffer.cleared") < types.index("conversation.item.truncated")


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"type": 3}', b"\xff"])
def test_a_message_that_is_no_event_is_a_client_error(text: str | bytes) -> None:
    with pytest.raises(ClientError):
        read_client_event(text)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)))
def test_any_item_is_read_or_refused(item: Any) -> None:
    with contextlib.suppress(ClientError):
        assert typed_text(item)
