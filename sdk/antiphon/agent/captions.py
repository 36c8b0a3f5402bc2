"""Words of both sides for the client's transcript, as events of the realtime protocol on `oai-events`. Sans-IO.

An agent that gets and speaks audio knows the words, and the client shows them: those of a speech by
`write(pcm, words)`, the caller's by `session.caption`. Where an agent gives no words, nothing is sent. Ids hold a
random part, so that another instance which takes the session over repeats none.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any, Final

from antiphon.agent.playback import Played
from antiphon.runtime.agent_sessions.played_text import Word
from antiphon.schemas.messages import EVENTS_CHANNEL

JsonObject = dict[str, Any]
MAX_TYPED: Final = 64 * 1024
"""Characters of a typed message that are taken."""


def new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"


class SpeechCaption:
    """The words of one speech. Owned by the `Speech`, which sends what the methods return, in order."""

    def __init__(self) -> None:
        self._response, self._item = new_id("resp"), new_id("item")
        self._place = {
            "response_id": self._response,
            "item_id": self._item,
            "output_index": 0,
            "content_index": 0,
        }
        self._written = ""

    def written(self, words: str) -> list[JsonObject]:
        """The next words of the speech."""
        if not words.strip():
            return []
        first = not self._written
        delta = words if first or self._written[-1:].isspace() or words[:1].isspace() else f" {words}"
        self._written += delta
        begin = self._begin() if first else []
        return [*begin, {"type": "response.output_audio_transcript.delta", **self._place, "delta": delta}]

    def ended(self, played: Played) -> list[JsonObject]:
        """The speech is over. The transcript becomes what was played of it."""
        if not self._written:
            return []
        text = self._written if played.complete else played.text
        item = self._message("completed" if played.complete else "incomplete", text)
        place = {"response_id": self._response, "output_index": 0}
        events: list[JsonObject] = [
            {"type": "response.output_audio.done", **self._place},
            {"type": "response.output_audio_transcript.done", **self._place, "transcript": text},
            {"type": "response.content_part.done", **self._place, "part": {"type": "audio", "transcript": text}},
            {"type": "response.output_item.done", **place, "item": item},
            {"type": "conversation.item.done", "previous_item_id": None, "item": item},
        ]
        if not played.complete:
            at = round(played.seconds * 1000)
            events.append(
                {"type": "conversation.item.truncated", "item_id": self._item, "content_index": 0, "audio_end_ms": at}
            )
        status = "completed" if played.complete else "cancelled"
        return [*events, {"type": "response.done", "response": self._shown(status, [item])}]

    def _begin(self) -> list[JsonObject]:
        item = self._message("in_progress", None)
        place = {"response_id": self._response, "output_index": 0}
        return [
            {"type": "response.created", "response": self._shown("in_progress", [])},
            {"type": "response.output_item.added", **place, "item": item},
            {"type": "conversation.item.added", "previous_item_id": None, "item": item},
            {"type": "response.content_part.added", **self._place, "part": {"type": "audio", "transcript": ""}},
        ]

    def _message(self, status: str, text: str | None) -> JsonObject:
        content = [] if text is None else [{"type": "output_audio", "transcript": text}]
        return _item(self._item, "assistant", status, content)

    def _shown(self, status: str, output: list[JsonObject]) -> JsonObject:
        shown: JsonObject = {
            "object": "realtime.response",
            "id": self._response,
            "status": status,
            "output_modalities": ["audio"],
            "output": output,
        }
        if status == "cancelled":
            shown["status_details"] = {"type": "cancelled", "reason": "turn_detected"}
        return shown


class CallerCaptions:
    """The caller's words, in pieces as they are recognized. Owned by the `Session`, which sends what it returns."""

    def __init__(self) -> None:
        self._item = ""
        """Of the words that are not final yet; empty: none."""
        self._shown = ""

    def words(self, text: str, final: bool) -> list[JsonObject]:
        """`text`: all of the utterance so far. A later text that only goes on is sent as its new piece."""
        events: list[JsonObject] = []
        if not self._item:
            self._item, self._shown = new_id("item"), ""
            item = _item(self._item, "user", "completed", [{"type": "input_audio", "transcript": None}])
            events.append({"type": "conversation.item.added", "previous_item_id": None, "item": item})
        place = {"item_id": self._item, "content_index": 0}
        if not final:
            if text.startswith(self._shown) and text != self._shown:
                delta = text[len(self._shown) :]
                events.append({"type": "conversation.item.input_audio_transcription.delta", **place, "delta": delta})
                self._shown = text
            return events
        completed = "conversation.item.input_audio_transcription.completed"
        events.append({"type": completed, **place, "transcript": text, "usage": {"type": "duration", "seconds": 0}})
        self._item = ""
        return events


def typed_text(channel: str, payload: str | bytes) -> str | None:
    """What the client has typed, if this message is that; None for any other."""
    if channel != EVENTS_CHANNEL or not isinstance(payload, str) or '"conversation.item.create"' not in payload:
        return None
    try:
        event = json.loads(payload)
        item = event["item"]
        if (event["type"], item["type"], item["role"]) != ("conversation.item.create", "message", "user"):
            return None
        text = " ".join(part["text"] for part in item["content"] if part["type"] == "input_text").strip()
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return text if text and len(text) <= MAX_TYPED else None


def typed_shown(text: str) -> list[JsonObject]:
    """Tells the client that its typed message is part of the conversation."""
    item = _item(new_id("item"), "user", "completed", [{"type": "input_text", "text": text}])
    kinds = ("conversation.item.added", "conversation.item.done")
    return [{"type": kind, "previous_item_id": None, "item": item} for kind in kinds]


def as_words(words: str | Sequence[str] | Sequence[Word] | None) -> str:
    """The text of what `write` takes as `words`."""
    if words is None or isinstance(words, str):
        return words or ""
    return " ".join(word.text if isinstance(word, Word) else word for word in words)


def _item(item_id: str, role: str, status: str, content: list[JsonObject]) -> JsonObject:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }
