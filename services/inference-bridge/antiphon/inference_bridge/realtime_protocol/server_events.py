"""The events to a client: their shapes, their ids, their order.

One difference in time from hosted models, which end a response when its text and audio are generated: here
`response.done` comes when the audio was played or interrupted. So its transcript holds the words that were played,
and `response.cancel` works for as long as speech is audible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from antiphon.inference_bridge.realtime_protocol.client_events import (
    FunctionCallItem,
    FunctionCallOutputItem,
    MessageItem,
)
from antiphon.inference_bridge.realtime_protocol.conversation import Conversation, JsonObject, item_of, message
from antiphon.inference_bridge.realtime_protocol.errors import ClientError

Status = Literal["completed", "cancelled", "failed", "incomplete"]
CancelReason = Literal["turn_detected", "client_cancelled", ""]


class Realtime:
    """The protocol's side of a call: every event to the client goes through `emit`, in order.

    Owned by the call's session, for as long as the call; used on the event loop.
    """

    def __init__(self, emit: Callable[[JsonObject], None], era: int = 0, items: Iterable[JsonObject] = ()) -> None:
        """`era`: how many processes had the call before; keeps the ids of each apart. `items`: on record already."""
        self.conversation = Conversation(items)
        self._emit_event = emit
        self._era = f"{era}x" if era else ""
        self._counters: dict[str, int] = {}

    def emit(self, type_: str, **fields: Any) -> None:
        """Send an event of this type; its `event_id` is added."""
        self._emit_event({"type": type_, "event_id": self.new_id("event"), **fields})

    def new_id(self, kind: str) -> str:
        """The next id of a kind, such as `item_7`; unique in the call."""
        self._counters[kind] = self._counters.get(kind, 0) + 1
        return f"{kind}_{self._era}{self._counters[kind]}"

    # ---- session -----------------------------------------------------------------------------------

    def session(self, type_: Literal["session.created", "session.updated"], shown: JsonObject) -> None:
        """The session as it is now: `SessionSettings.shown`."""
        self.emit(type_, session=shown)

    def error(self, error: ClientError) -> None:
        """What the client did wrong."""
        fields = {"type": "invalid_request_error", "code": error.code, "message": str(error), "param": error.param}
        self.emit("error", error={**fields, "event_id": error.event_id})

    # ---- the caller's speech --------------------------------------------------------------------------

    def speech_started(self, at_ms: int) -> str:
        """The caller speaks since `at_ms` of the call; returns the id of the item that this speech becomes."""
        item_id = self.new_id("item")
        self.emit("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=at_ms)
        return item_id

    def speech_stopped(self, item_id: str, at_ms: int) -> None:
        """The caller's speech has ended at `at_ms` of the call."""
        self.emit("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=at_ms)

    def committed(self, item_id: str) -> None:
        """The caller's turn has ended; the item is on record from now on, without a transcript."""
        self.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=self.conversation.last_id)
        self.add(message(item_id, "user", "completed", {"type": "input_audio", "transcript": None}))

    def cleared(self) -> None:
        """The audio that was no turn yet is forgotten."""
        self.emit("input_audio_buffer.cleared")

    def transcribing(self, item_id: str, delta: str) -> None:
        """More words of an utterance; they are final. Nothing is sent for an empty `delta`."""
        if delta:
            type_ = "conversation.item.input_audio_transcription.delta"
            self.emit(type_, item_id=item_id, content_index=0, delta=delta)

    def transcribed(self, item_id: str, transcript: str, seconds: float) -> None:
        """All words of an utterance: the sum of its deltas. `seconds`: of audio."""
        type_ = "conversation.item.input_audio_transcription.completed"
        usage = {"type": "duration", "seconds": round(seconds, 2)}
        self.emit(type_, item_id=item_id, content_index=0, transcript=transcript, usage=usage)

    def transcription_failed(self, item_id: str, text: str) -> None:
        """An utterance stays without a transcript. `text`: why."""
        error = {"type": "server_error", "code": "transcription_failed", "message": text, "param": None}
        self.emit("conversation.item.input_audio_transcription.failed", item_id=item_id, content_index=0, error=error)

    # ---- items ---------------------------------------------------------------------------------------

    def add(self, item: JsonObject, previous_item_id: str | None = None) -> None:
        """Put a complete item on record; `ClientError` as of `Conversation.add`."""
        before = self.conversation.add(item, previous_item_id)
        self.emit("conversation.item.added", previous_item_id=before, item=item)
        self.emit("conversation.item.done", previous_item_id=before, item=item)

    def create(
        self, created: MessageItem | FunctionCallItem | FunctionCallOutputItem, previous_item_id: str | None
    ) -> JsonObject:
        """Put a client's item on record; `ClientError` if it can't be one here."""
        item = item_of(created, created.id or self.new_id("item"))
        self.add(item, previous_item_id)
        return item

    def retrieve(self, item_id: str) -> None:
        """Show an item; `ClientError` if there is none of this id."""
        self.emit("conversation.item.retrieved", item=self.conversation.get(item_id))

    def delete(self, item_id: str) -> None:
        """Take an item off the record; `ClientError` if there is none of this id."""
        self.conversation.delete(item_id)
        self.emit("conversation.item.deleted", item_id=item_id)

    def truncated(self, item_id: str, played_ms: int, content_index: int = 0) -> None:
        """An item of the assistant was cut to its first `played_ms`."""
        place = {"item_id": item_id, "content_index": content_index}
        self.emit("conversation.item.truncated", **place, audio_end_ms=played_ms)


class RealtimeResponse:
    """The events of one response: perhaps a message of the assistant, clause by clause, and perhaps function calls.

    Owned by that response's `ResponsePlayback`, from `response.created` to `response.done`; used on the event loop.
    """

    def __init__(
        self,
        realtime: Realtime,
        spoken: bool = True,
        on_record: bool = True,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """`spoken`: audio with a transcript, else text. `on_record`: its items become part of the conversation."""
        self.id = realtime.new_id("resp")
        self.item_id = realtime.new_id("item")
        self.spoken = spoken
        self._realtime, self._on_record, self._metadata = realtime, on_record, metadata
        self._place = {"response_id": self.id, "item_id": self.item_id, "output_index": 0, "content_index": 0}
        self._message: JsonObject | None = None
        self._calls: list[JsonObject] = []
        self._audio_started = False
        self._sent_transcript = ""
        self._usage = (0, 0)
        realtime.emit("response.created", response=self._response("in_progress", []))
        realtime.emit("rate_limits.updated", rate_limits=[])

    def begin_speech(self) -> None:
        """The first clause goes to the transceiver; further calls do nothing."""
        self._begin_message()

    def text(self, piece: str) -> None:
        """The next piece of a written answer."""
        self._begin_message()
        self._realtime.emit("response.output_text.delta", **self._place, delta=piece)

    def played(self, transcript: str) -> None:
        """The words that were played so far; those that are new are sent as a delta."""
        if len(transcript) > len(self._sent_transcript):
            delta, self._sent_transcript = transcript[len(self._sent_transcript) :], transcript
            self._realtime.emit("response.output_audio_transcript.delta", **self._place, delta=delta)

    def audio_started(self) -> None:
        """The transceiver plays the speech; further calls do nothing."""
        if not self._audio_started:
            self._audio_started = True
            self._realtime.emit("output_audio_buffer.started", response_id=self.id)

    def function_call(self, call_id: str, name: str, arguments: str) -> None:
        """Ask the client to call a function. `arguments`: JSON, complete."""
        emit = self._realtime.emit
        item: JsonObject = {
            "id": self._realtime.new_id("item"),
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "name": name,
            "call_id": call_id,
            "arguments": "",
        }
        place = {"response_id": self.id, "output_index": len(self._calls) + (self._message is not None)}
        emit("response.output_item.added", **place, item=dict(item))
        if self._on_record:
            before = self._realtime.conversation.add(item)
            emit("conversation.item.added", previous_item_id=before, item=dict(item))
        item["status"], item["arguments"] = "completed", arguments
        self._realtime.conversation.text_changed(item)
        self._calls.append(item)
        about = {**place, "item_id": item["id"], "call_id": call_id}
        emit("response.function_call_arguments.delta", **about, delta=arguments)
        emit("response.function_call_arguments.done", **about, arguments=arguments, name=name)
        emit("response.output_item.done", **place, item=dict(item))
        if self._on_record:
            emit("conversation.item.done", previous_item_id=before, item=dict(item))

    def used(self, input_tokens: int, output_tokens: int) -> None:
        """Tokens that the response cost, for its `usage`."""
        self._usage = input_tokens, output_tokens

    @property
    def calls(self) -> bool:
        """The client was asked to call functions."""
        return bool(self._calls)

    def done(
        self, status: Status, transcript: str, played_ms: int, reason: CancelReason = "", failure: str = ""
    ) -> None:
        """The response was played to its end, was interrupted, or has failed.

        `transcript`: the words of it that were played. `played_ms`: their length, used when it was interrupted.
        """
        emit = self._realtime.emit
        if self._audio_started:
            emit(
                "output_audio_buffer.stopped" if status == "completed" else "output_audio_buffer.cleared",
                response_id=self.id,
            )
        if self._message is not None:
            self._end_message(status, transcript)
            if status == "cancelled" and self._on_record and self.spoken:
                self._realtime.truncated(self.item_id, played_ms)
        output = [*([self._message] if self._message else []), *self._calls]
        emit("response.done", response=self._response(status, output, reason, failure))

    def _begin_message(self) -> None:
        if self._message is not None:
            return
        self._message = item = message(self.item_id, "assistant", "in_progress")
        emit = self._realtime.emit
        emit("response.output_item.added", response_id=self.id, output_index=0, item=dict(item))
        if self._on_record:
            emit("conversation.item.added", previous_item_id=self._realtime.conversation.add(item), item=dict(item))
        part = {"type": "audio", "transcript": ""} if self.spoken else {"type": "text", "text": ""}
        emit("response.content_part.added", **self._place, part=part)

    def _end_message(self, status: Status, text: str) -> None:
        emit = self._realtime.emit
        item = self._message
        assert item is not None
        item["status"] = "completed" if status == "completed" else "incomplete"
        if self.spoken:
            self.played(text)
            item["content"] = [{"type": "output_audio", "transcript": text}]
            emit("response.output_audio.done", **self._place)
            emit("response.output_audio_transcript.done", **self._place, transcript=text)
            emit("response.content_part.done", **self._place, part={"type": "audio", "transcript": text})
        else:
            item["content"] = [{"type": "output_text", "text": text}]
            emit("response.output_text.done", **self._place, text=text)
            emit("response.content_part.done", **self._place, part={"type": "text", "text": text})
        self._realtime.conversation.text_changed(item)
        emit("response.output_item.done", response_id=self.id, output_index=0, item=item)
        if self._on_record:
            before = self._realtime.conversation.before(self.item_id)
            emit("conversation.item.done", previous_item_id=before, item=item)

    def _response(self, status: str, output: list[JsonObject], reason: str = "", failure: str = "") -> JsonObject:
        response: JsonObject = {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "output_modalities": ["audio" if self.spoken else "text"],
            "output": output,
            "metadata": self._metadata,
            "conversation_id": "conv_1" if self._on_record else None,
        }
        if status != "in_progress":
            details: JsonObject = {"type": status}
            if reason:
                details["reason"] = reason
            if failure:
                details["error"] = {"type": "server_error", "code": "internal", "message": failure}
            response["status_details"] = details
            taken, given = self._usage
            response["usage"] = {
                "total_tokens": taken + given,
                "input_tokens": taken,
                "output_tokens": given,
                "input_token_details": {"text_tokens": taken, "audio_tokens": 0, "cached_tokens": 0},
                "output_token_details": {"text_tokens": given, "audio_tokens": 0},
            }
        return response
