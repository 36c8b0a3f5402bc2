"""The events of the OpenAI realtime protocol for one call: their shapes, their ids, their order. No I/O.

A correct subset. One difference in time: a hosted model ends a response when its text and audio are
generated; here `response.done` comes when the audio was played or was interrupted, so that its transcript is
what the caller heard and `response.cancel` works for as long as speech is audible.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

JsonObject = dict[str, Any]
MAX_ITEMS: Final = 500
"""Conversation items kept for `conversation.item.retrieve`; the oldest go."""


class ClientError(Exception):
    """The client sent something that can't be used; it is told so by an `error` event."""

    def __init__(self, message: str, code: str = "invalid_value", param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.param = code, param


def read_client_event(text: str | bytes) -> JsonObject:
    """A client's message as an object with a `type`; `ClientError` for anything else."""
    try:
        event = json.loads(text)
    except ValueError:
        raise ClientError("the message is no JSON", "invalid_json") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise ClientError("the message is no object with a type", "invalid_event", "type")
    return event


def typed_text(item: Any) -> str:
    """The text of a user's message item; `ClientError` if it is something else."""
    if not isinstance(item, dict) or item.get("type") != "message" or item.get("role") != "user":
        raise ClientError("only messages of the role user can be created here", "invalid_value", "item")
    content = item.get("content")
    parts = [p for p in content if isinstance(p, dict)] if isinstance(content, list) else []
    text = " ".join(str(p.get("text", "")) for p in parts if p.get("type") == "input_text").strip()
    if not text:
        raise ClientError("the message holds no input_text", "invalid_value", "item.content")
    return text


class Realtime:
    """The protocol's side of a call. Every event goes through `emit`, in order."""

    def __init__(self, session_id: str, model: str, emit: Callable[[JsonObject], None]) -> None:
        self._emit_event = emit
        self._counters: dict[str, int] = {}
        self._items: OrderedDict[str, JsonObject] = OrderedDict()
        self._last_item: str | None = None
        self.session: JsonObject = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "output_modalities": ["audio"],
            "audio": {
                "input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": {"type": "server_vad"}},
                "output": {"format": {"type": "audio/pcm", "rate": 24000}},
            },
        }

    def emit(self, type_: str, **fields: Any) -> None:
        self._emit_event({"type": type_, "event_id": self.new_id("event"), **fields})

    def new_id(self, kind: str) -> str:
        self._counters[kind] = self._counters.get(kind, 0) + 1
        return f"{kind}_{self._counters[kind]}"

    # ---- session -----------------------------------------------------------------------------------

    def session_created(self) -> None:
        self.emit("session.created", session=self.session)

    def session_update(self, changes: Any) -> None:
        """Acknowledge; what is not supported is shown by the answer, which holds what is in force."""
        if not isinstance(changes, dict):
            raise ClientError("session.update holds no session", "invalid_value", "session")
        if isinstance(changes.get("instructions"), str):
            self.session["instructions"] = changes["instructions"]
        self.emit("session.updated", session=self.session)

    def error(self, error: ClientError, event_id: Any = None) -> None:
        fields = {"type": "invalid_request_error", "code": error.code, "message": str(error), "param": error.param}
        self.emit("error", error={**fields, "event_id": event_id if isinstance(event_id, str) else None})

    # ---- what the caller says ------------------------------------------------------------------------

    def speech_started(self, at_ms: int) -> str:
        """Returns the id of the item that this speech becomes."""
        item_id = self.new_id("item")
        self.emit("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=at_ms)
        return item_id

    def speech_stopped(self, item_id: str, at_ms: int) -> None:
        self.emit("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=at_ms)

    def committed(self, item_id: str) -> None:
        self.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=self._last_item)
        self._add(_message(item_id, "user", "completed", {"type": "input_audio", "transcript": None}))

    def transcribed(self, item_id: str, transcript: str, seconds: float) -> None:
        if item := self._items.get(item_id):
            item["content"][0]["transcript"] = transcript
        self.emit(
            "conversation.item.input_audio_transcription.completed",
            item_id=item_id,
            content_index=0,
            transcript=transcript,
            usage={"type": "duration", "seconds": round(seconds, 2)},
        )

    def transcription_failed(self, item_id: str, message: str) -> None:
        error = {"type": "server_error", "code": "transcription_failed", "message": message, "param": None}
        self.emit("conversation.item.input_audio_transcription.failed", item_id=item_id, content_index=0, error=error)

    def typed(self, item: Mapping[str, Any], text: str) -> str:
        item_id = item["id"] if isinstance(item.get("id"), str) and item["id"] not in self._items else None
        item_id = item_id or self.new_id("item")
        self._add(_message(item_id, "user", "completed", {"type": "input_text", "text": text}))
        return item_id

    def retrieve(self, item_id: Any) -> None:
        if not isinstance(item_id, str) or item_id not in self._items:
            raise ClientError(f"there is no item {item_id!r:.60}", "item_not_found", "item_id")
        self.emit("conversation.item.retrieved", item=self._items[item_id])

    def truncated(self, item_id: str, heard_ms: int) -> None:
        self.emit("conversation.item.truncated", item_id=item_id, content_index=0, audio_end_ms=heard_ms)

    def _add(self, item: JsonObject) -> None:
        self.emit("conversation.item.added", previous_item_id=self._last_item, item=item)
        self.emit("conversation.item.done", previous_item_id=self._last_item, item=item)
        self.remember(item)

    def remember(self, item: JsonObject) -> None:
        self._items[item["id"]] = item
        self._last_item = item["id"]
        if len(self._items) > MAX_ITEMS:
            self._items.popitem(last=False)


class RealtimeResponse:
    """One response: a message of the assistant, spoken clause by clause."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime
        self.id = realtime.new_id("resp")
        self.item_id = realtime.new_id("item")
        self._place = {"response_id": self.id, "item_id": self.item_id, "output_index": 0, "content_index": 0}
        item = _message(self.item_id, "assistant", "in_progress")
        realtime.emit("response.created", response=self._response("in_progress", []))
        realtime.emit("response.output_item.added", response_id=self.id, output_index=0, item=item)
        realtime.remember(item)
        realtime.emit("conversation.item.added", previous_item_id=None, item=item)
        realtime.emit("response.content_part.added", **self._place, part={"type": "audio", "transcript": ""})
        self._started = False

    def clause(self, text: str) -> None:
        """The next clause was handed to the transceiver."""
        self._realtime.emit("response.output_audio_transcript.delta", **self._place, delta=text)

    def audible(self) -> None:
        """The first sample was sent."""
        if not self._started:
            self._started = True
            self._realtime.emit("output_audio_buffer.started", response_id=self.id)

    def done(
        self,
        status: Literal["completed", "cancelled", "failed"],
        transcript: str,
        heard_ms: int,
        reason: Literal["turn_detected", "client_cancelled", ""] = "",
    ) -> None:
        """The speech was played to its end, or was interrupted; `transcript` is what was heard of it."""
        emit = self._realtime.emit
        if self._started:
            emit(
                "output_audio_buffer.stopped" if status == "completed" else "output_audio_buffer.cleared",
                response_id=self.id,
            )
        part = {"type": "audio", "transcript": transcript}
        emit("response.output_audio.done", **self._place)
        emit("response.output_audio_transcript.done", **self._place, transcript=transcript)
        emit("response.content_part.done", **self._place, part=part)
        content = {"type": "output_audio", "transcript": transcript}
        item = _message(self.item_id, "assistant", "completed" if status == "completed" else "incomplete", content)
        emit("response.output_item.done", response_id=self.id, output_index=0, item=item)
        emit("conversation.item.done", previous_item_id=None, item=item)
        self._realtime.remember(item)
        if status == "cancelled":
            self._realtime.truncated(self.item_id, heard_ms)
        emit("response.done", response=self._response(status, [item], reason))

    def _response(self, status: str, output: list[JsonObject], reason: str = "") -> JsonObject:
        response: JsonObject = {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "output_modalities": ["audio"],
            "output": output,
            "metadata": None,
        }
        if status in ("completed", "cancelled", "failed"):
            response["status_details"] = {"type": status, **({"reason": reason} if reason else {})}
            response["usage"] = None
        return response


def _message(item_id: str, role: str, status: str, *content: JsonObject) -> JsonObject:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": role,
        "status": status,
        "content": list(content),
    }
