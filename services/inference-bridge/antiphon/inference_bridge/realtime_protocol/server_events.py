"""The events to a client: their shapes, their ids, their order. Those of one response are in `response_events`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from antiphon.inference_bridge.realtime_protocol.caller_keys import keys_item
from antiphon.inference_bridge.realtime_protocol.conversation import (
    INTERNAL,
    Conversation,
    JsonObject,
    item_of,
    message,
)
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.items import (
    FunctionCallItem,
    FunctionCallOutputItem,
    McpApprovalResponseItem,
    MessageItem,
)
from antiphon.inference_bridge.realtime_protocol.response_events import (
    CancelReason,
    IncompleteReason,
    RealtimeResponse,
    Status,
)

__all__ = ["CancelReason", "IncompleteReason", "Realtime", "RealtimeResponse", "Status"]


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
        """The next id of a kind, such as `item_7`; unique in the call, also beside the ids of a client's items."""
        while True:
            self._counters[kind] = self._counters.get(kind, 0) + 1
            made = f"{kind}_{self._era}{self._counters[kind]}"
            if made not in self.conversation:
                return made

    def _is_given_out(self, item_id: str) -> bool:
        """One of our ids: its item is on record, or will be, such as that of speech under way."""
        number = item_id.removeprefix(f"item_{self._era}")
        return number != item_id and number.isdecimal() and int(number[:18]) <= self._counters.get("item", 0)

    # ---- session -----------------------------------------------------------------------------------

    def session(self, type_: Literal["session.created", "session.updated"], shown: JsonObject) -> None:
        """The session as it is now: `SessionSettings.shown`."""
        self.emit(type_, session=shown)

    def errors(self, errors: Iterable[ClientError]) -> None:
        """What of a client's event, or of its offer, could not be used."""
        for error in errors:
            self.error(error)

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

    def key_pressed(self, key: str, received_at: float) -> None:
        """The caller has pressed a telephone key: 0 to 9, *, #, A to D. `received_at`: Unix time."""
        self.emit("input_audio_buffer.dtmf_event_received", event=key, received_at=int(received_at))

    def add_keys(self, keys: Sequence[str]) -> JsonObject:
        """Put the keys that the caller has pressed on record, as a message of the user."""
        item = keys_item(self.new_id("item"), keys)
        self.add(item)
        return item

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

    def add_internal(self, item: JsonObject) -> None:
        """Put an item on record for the agent alone; its id is added."""
        self.conversation.add({"id": self.new_id("note"), "object": "realtime.item", INTERNAL: True, **item})

    def create(
        self,
        created: MessageItem | FunctionCallItem | FunctionCallOutputItem | McpApprovalResponseItem,
        previous_item_id: str | None,
    ) -> JsonObject:
        """Put a client's item on record; `ClientError` if it can't be one here."""
        if created.id and created.id not in self.conversation and self._is_given_out(created.id):
            text = (
                f"the id {created.id!r:.60} belongs to another item of this call: leave it out, or send one of your own"
            )
            raise ClientError(text, "duplicate_item", "item.id")
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
