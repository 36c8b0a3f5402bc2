"""The events of one response: their shapes and their order.

One difference in time from hosted models, which end a response when its text and audio are generated: here
`response.done` comes when the audio was played or interrupted. So its transcript holds the words that were played,
and `response.cancel` works for as long as speech is audible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject, message

if TYPE_CHECKING:
    from antiphon.inference_bridge.realtime_protocol.server_events import Realtime

Status = Literal["completed", "cancelled", "failed", "incomplete"]
CancelReason = Literal["turn_detected", "client_cancelled", ""]
IncompleteReason = Literal["max_output_tokens", "content_filter"]


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
        voice: str = "",
        max_output_tokens: int | Literal["inf"] | None = None,
    ) -> None:
        """`spoken`: audio with a transcript, else text. `on_record`: its items become part of the conversation.

        `voice` and `max_output_tokens`: in force for it, as its events show them; empty and None: not shown.
        """
        self.id = realtime.new_id("resp")
        self.item_id = realtime.new_id("item")
        self.spoken = spoken
        self._realtime, self._on_record, self._metadata = realtime, on_record, metadata
        self._voice, self._max_output_tokens = voice, max_output_tokens
        self._place = {"response_id": self.id, "item_id": self.item_id, "output_index": 0, "content_index": 0}
        self._message: JsonObject | None = None
        self._output: list[JsonObject] = []
        """Its items in the order in which they were written: their `output_index`."""
        self._incomplete: IncompleteReason | None = None
        self._audio_started = False
        self._sent_transcript = ""
        self._usage = (0, 0)
        realtime.emit("response.created", response=self._response("in_progress", []))
        realtime.emit("rate_limits.updated", rate_limits=[])

    def written(self, piece: str) -> None:
        """The agent has written this much of a spoken answer: its message begins here, in front of calls that follow.

        Blanks alone begin nothing.
        """
        if piece.strip():
            self._begin_message()

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

    def new_item_id(self) -> str:
        """For an item of this response."""
        return self._realtime.new_id("item")

    def begin_item(self, item: JsonObject) -> None:
        """Another item of the response, which is not a message; it is on record from now on."""
        self._output.append(item)
        self.of_item(item, "response.output_item.added", item=dict(item), item_id=None)
        if self._on_record:
            before = self._realtime.conversation.add(item)
            self._realtime.emit("conversation.item.added", previous_item_id=before, item=dict(item))

    def of_item(self, about: JsonObject, type_: str, /, **fields: Any) -> None:
        """An event about an item that has begun. A field that is None is left out."""
        place = {"response_id": self.id, "item_id": about["id"], "output_index": self._output.index(about)}
        fields = {name: value for name, value in {**place, **fields}.items() if value is not None}
        self._realtime.emit(type_, **fields)

    def end_item(self, item: JsonObject) -> None:
        """The item is as it stays."""
        self._realtime.conversation.text_changed(item)
        self.of_item(item, "response.output_item.done", item=dict(item), item_id=None)
        if self._on_record:
            before = self._realtime.conversation.before(item["id"])
            self._realtime.emit("conversation.item.done", previous_item_id=before, item=dict(item))

    def function_call(self, call_id: str, name: str, arguments: str) -> None:
        """Ask the client to call a function. `arguments`: JSON, complete."""
        item: JsonObject = {
            "id": self.new_item_id(),
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "name": name,
            "call_id": call_id,
            "arguments": "",
        }
        self.begin_item(item)
        item["status"], item["arguments"] = "completed", arguments
        self.of_item(item, "response.function_call_arguments.delta", call_id=call_id, delta=arguments)
        self.of_item(item, "response.function_call_arguments.done", call_id=call_id, arguments=arguments, name=name)
        self.end_item(item)

    def used(self, input_tokens: Any, output_tokens: Any) -> None:
        """Tokens that the response cost, for its `usage`; what is no number of a chat server's counts as none."""
        self._usage = _count(input_tokens), _count(output_tokens)

    @property
    def tokens(self) -> tuple[int, int]:
        """Input and output tokens that it cost so far."""
        return self._usage

    def incomplete(self, reason: IncompleteReason) -> None:
        """The answer ends before its end: `done("completed", ...)` becomes incomplete, with this reason."""
        self._incomplete = reason

    @property
    def calls(self) -> bool:
        """The client was asked to call functions."""
        return any(item["type"] == "function_call" for item in self._output)

    def done(
        self,
        status: Status,
        transcript: str,
        played_ms: int,
        reason: CancelReason | IncompleteReason = "",
        failure: str = "",
    ) -> None:
        """The response was played to its end, was interrupted, or has failed.

        `transcript`: the words of it that were played. `played_ms`: their length, used when it was interrupted.
        """
        emit = self._realtime.emit
        if status == "completed" and self._incomplete:
            status, reason = "incomplete", self._incomplete
        if self._audio_started:
            whole = status in ("completed", "incomplete")
            emit("output_audio_buffer.stopped" if whole else "output_audio_buffer.cleared", response_id=self.id)
        if self._message is not None:
            self._end_message(status, transcript)
            if status == "cancelled" and self._on_record and self.spoken:
                self._realtime.truncated(self.item_id, played_ms)
        emit("response.done", response=self._response(status, self._output, reason, failure))

    def _begin_message(self) -> None:
        if self._message is not None:
            return
        self._message = item = message(self.item_id, "assistant", "in_progress")
        self._place["output_index"] = len(self._output)
        self._output.append(item)
        emit = self._realtime.emit
        place = {"response_id": self.id, "output_index": self._place["output_index"]}
        emit("response.output_item.added", **place, item=dict(item))
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
        place = {"response_id": self.id, "output_index": self._place["output_index"]}
        emit("response.output_item.done", **place, item=item)
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
        if self.spoken and self._voice:
            response["audio"] = {"output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": self._voice}}
        if self._max_output_tokens is not None:
            response["max_output_tokens"] = self._max_output_tokens
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


def _count(tokens: Any) -> int:
    known = isinstance(tokens, int | float) and not isinstance(tokens, bool) and 0 <= tokens < 2**53
    return int(tokens) if known else 0
