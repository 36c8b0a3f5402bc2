"""What a client's events do to the call: the protocol's commands, each checked against the state of things."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.inference_bridge.conversation.responses import Responses
from antiphon.inference_bridge.input.turn_handling import TurnHandling
from antiphon.inference_bridge.realtime_protocol.client_events import (
    BufferAppend,
    BufferClear,
    BufferCommit,
    ClientEvent,
    ItemCreate,
    ItemDelete,
    ItemRetrieve,
    ItemTruncate,
    OutputClear,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
)
from antiphon.inference_bridge.realtime_protocol.conversation import text_of
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime


class ClientCommands:
    """Of one call."""

    def __init__(
        self, talk: Responses, listening: TurnHandling, realtime: Realtime, settings_changed: Callable[[], None]
    ) -> None:
        """`settings_changed`: applies `talk.settings` and tells the client."""
        self._talk, self._listening, self._realtime = talk, listening, realtime
        self._settings_changed = settings_changed

    def obey(self, event: ClientEvent) -> None:
        """Do it, or raise `ClientError`."""
        try:
            self._obey(event)
        except ClientError as error:
            error.event_id = event.event_id
            raise

    def _obey(self, event: ClientEvent) -> None:
        talk, realtime = self._talk, self._realtime
        match event:
            case SessionUpdate():
                talk.settings = talk.settings.changed(event.session)
                self._settings_changed()
            case BufferAppend():
                text = "the call carries the caller's audio: there is nothing to append over a WebRTC call's events"
                raise ClientError(text, "unsupported_event", "type")
            case BufferCommit():
                if not self._listening.commit():
                    text = "the input audio buffer holds less than 100 ms of audio: nothing was committed"
                    raise ClientError(text, "input_audio_buffer_commit_empty")
            case BufferClear():
                self._listening.clear()
                realtime.cleared()
            case ItemCreate():
                item = realtime.create(event.item, event.previous_item_id)
                if item["type"] == "message" and item["role"] == "user":
                    talk.note(text_of(item))
            case ItemRetrieve():
                realtime.retrieve(event.item_id)
            case ItemDelete():
                realtime.delete(event.item_id)
            case ItemTruncate():
                self._truncate(event)
            case ResponseCreate():
                if talk.turn and talk.turn.generating and not talk.turn.fixed:
                    text = "a response is being made already: wait for its response.done, or send response.cancel"
                    raise ClientError(text, "conversation_already_has_active_response")
                talk.respond(event.response)
            case ResponseCancel():
                self._cancel(event.response_id)
            case OutputClear():
                talk.interrupt("client_cancelled")

    def _cancel(self, response_id: str | None) -> None:
        turn = self._talk.turn
        active = turn.reply.response.id if turn and turn.reply else None
        if turn is None or response_id not in (None, active):
            which = f"response {response_id!r:.60}" if response_id else "a response"
            raise ClientError(f"{which} is not active: there is nothing to cancel", "response_cancel_not_active")
        self._talk.interrupt("client_cancelled")

    def _truncate(self, event: ItemTruncate) -> None:
        """What is being said is stopped, and truncated where it was; what was said is cut to a shorter time."""
        item = self._realtime.conversation.truncate(event.item_id, event.content_index)
        turn = self._talk.turn
        if turn and turn.reply and turn.reply.response.item_id == event.item_id:
            self._talk.interrupt("client_cancelled")
            return
        heard = self._talk.heard_of(event.item_id, event.audio_end_ms)
        if heard is None:
            text = f"audio_end_ms {event.audio_end_ms} lies beyond the audio of item {event.item_id}, or it is too old"
            raise ClientError(text, "invalid_value", "audio_end_ms")
        part = item["content"][event.content_index]
        if part.get("type") == "output_audio" and len(heard) < len(part.get("transcript") or ""):
            part["transcript"] = heard
        self._realtime.truncated(event.item_id, event.audio_end_ms, event.content_index)
