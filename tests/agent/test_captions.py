"""Words of both sides as the client's transcript gets them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon.agent.captions import CallerCaptions, SpeechCaption, typed_text
from antiphon.agent.playback import Played
from antiphon.schemas.messages import EVENTS_CHANNEL

pytestmark = pytest.mark.pure


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_words_of_a_speech_are_one_message_whose_deltas_are_its_transcript() -> None:
    caption = SpeechCaption()
    events = [*caption.written("Good morning,"), *caption.written("how can I help?"), *caption.written("  ")]
    assert kinds(events) == [
        "created",
        "output_item.added",
        "conversation.item.added",
        "content_part.added",
        "output_audio_transcript.delta",
        "output_audio_transcript.delta",
    ]
    said = "".join(event["delta"] for event in events if "delta" in event)
    assert said == "Good morning, how can I help?"
    end = caption.ended(Played(48000, 24000, said, complete=True))
    assert [event["transcript"] for event in end if "transcript" in event] == [said]
    assert end[-1]["response"]["status"] == "completed"
    assert len({event["item_id"] for event in (*events, *end) if "item_id" in event}) == 1


def test_an_interrupted_speech_keeps_the_words_that_were_played() -> None:
    caption = SpeechCaption()
    caption.written("one two three four")
    end = caption.ended(Played(24000, 24000, "one two", complete=False))
    assert {event["transcript"] for event in end if "transcript" in event} == {"one two"}
    assert [event["audio_end_ms"] for event in end if event["type"] == "conversation.item.truncated"] == [1000]
    assert end[-1]["response"]["status"] == "cancelled"
    assert end[-1]["response"]["output"][0]["content"] == [{"type": "output_audio", "transcript": "one two"}]


def test_a_speech_without_words_shows_nothing() -> None:
    caption = SpeechCaption()
    assert caption.written("") == []
    assert caption.ended(Played(24000, 24000, "", complete=True)) == []


def test_the_caller_s_words_grow_in_one_item_and_the_next_utterance_has_another() -> None:
    captions = CallerCaptions()
    first = [*captions.words("I need", final=False), *captions.words("I need a table", final=False)]
    assert [event["delta"] for event in first if "delta" in event] == ["I need", " a table"]
    assert captions.words("I want a table", final=False) == []  # recognized anew: only the end can say so
    done = captions.words("I want a table.", final=True)
    assert done[-1]["transcript"] == "I want a table."
    second = captions.words("Thanks.", final=True)
    assert second[-1]["item_id"] != done[-1]["item_id"] == first[-1]["item_id"]


def message(content: Any, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def text_part(text: Any) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (message([text_part(" Hello ")]), "Hello"),
        (message([text_part("x")], role="system"), None),
        ({"type": "function_call_output", "output": "x"}, None),
        (message([{"type": "input_audio", "audio": ""}]), None),
        (message("text"), None),
        (message([text_part(3)]), None),
        (message([text_part("x" * 70_000)]), None),
        (None, None),
    ],
)
def test_only_what_a_client_has_typed_is_typed(item: dict[str, Any] | None, text: str | None) -> None:
    payload = json.dumps({"type": "conversation.item.create", "item": item})
    assert typed_text(EVENTS_CHANNEL, payload) == text
    assert typed_text("other", payload) is None
    assert typed_text(EVENTS_CHANNEL, payload.encode()) is None
    assert typed_text(EVENTS_CHANNEL, payload[:-1]) is None
