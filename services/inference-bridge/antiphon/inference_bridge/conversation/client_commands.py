"""What a client's events do to the call: the protocol's commands, each checked against the call's state."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.inference_bridge.conversation.responses import Responses
from antiphon.inference_bridge.conversation.turn_handling import TurnHandling
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
from antiphon.inference_bridge.realtime_protocol.locked_settings import LockedSettings
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime


class ClientCommands:
    """Carries out the events of one call's client.

    Owned by the call's session, for as long as the call; used on the event loop.
    """

    def __init__(
        self,
        responses: Responses,
        turn_handling: TurnHandling,
        realtime: Realtime,
        settings_changed: Callable[[], None],
        locked: LockedSettings,
    ) -> None:
        """`settings_changed`: applies `responses.settings` and sends `session.updated`."""
        self._responses, self._turn_handling, self._realtime = responses, turn_handling, realtime
        self._settings_changed, self._locked = settings_changed, locked

    def apply(self, event: ClientEvent) -> None:
        """Carry it out; `ClientError`, with the event's id, if that is not possible."""
        try:
            self._apply(event)
        except ClientError as error:
            raise ClientError(str(error), error.code, error.param, event.event_id) from None

    def _apply(self, event: ClientEvent) -> None:
        responses, realtime = self._responses, self._realtime
        self._locked.check(event, responses.settings)
        match event:
            case SessionUpdate():
                responses.change_settings(event.session)
                self._settings_changed()
            case BufferAppend():
                text = "the call carries the caller's audio: there is nothing to append over a WebRTC call's events"
                raise ClientError(text, "unsupported_event", "type")
            case BufferCommit():
                if not self._turn_handling.commit():
                    text = "the input audio buffer holds less than 100 ms of audio: nothing was committed"
                    raise ClientError(text, "input_audio_buffer_commit_empty")
            case BufferClear():
                self._turn_handling.clear()
                realtime.cleared()
            case ItemCreate():
                item = realtime.create(event.item, event.previous_item_id)
                if item["type"] == "message" and item["role"] == "user":
                    responses.add_unanswered(text_of(item))
            case ItemRetrieve():
                realtime.retrieve(event.item_id)
            case ItemDelete():
                realtime.delete(event.item_id)
            case ItemTruncate():
                self._truncate(event)
            case ResponseCreate():
                if responses.turn and responses.turn.generating and not responses.turn.fixed:
                    text = "a response is being made already: wait for its response.done, or send response.cancel"
                    raise ClientError(text, "conversation_already_has_active_response")
                responses.respond(event.response)
            case ResponseCancel():
                self._cancel(event.response_id)
            case OutputClear():
                responses.interrupt("client_cancelled")

    def _cancel(self, response_id: str | None) -> None:
        turn = self._responses.turn
        active = turn.playback.response.id if turn and turn.playback else None
        if turn is None or response_id not in (None, active):
            which = f"response {response_id!r:.60}" if response_id else "a response"
            raise ClientError(f"{which} is not active: there is nothing to cancel", "response_cancel_not_active")
        self._responses.interrupt("client_cancelled")

    def _truncate(self, event: ItemTruncate) -> None:
        """Stop the response under way, and truncate it where it was; cut an earlier one to a shorter time."""
        item = self._realtime.conversation.truncate(event.item_id, event.content_index)
        turn = self._responses.turn
        if turn and turn.playback and turn.playback.response.item_id == event.item_id:
            self._responses.interrupt("client_cancelled")
            return
        words = self._responses.played_text(event.item_id, event.audio_end_ms)
        if words is None:
            text = f"audio_end_ms {event.audio_end_ms} lies beyond the audio of item {event.item_id}, or it is too old"
            raise ClientError(text, "invalid_value", "audio_end_ms")
        part = item["content"][event.content_index]
        if part.get("type") == "output_audio" and len(words) < len(part.get("transcript") or ""):
            part["transcript"] = words
        self._realtime.truncated(event.item_id, event.audio_end_ms, event.content_index)
