"""What a client's events do to the call: the protocol's commands, each checked against the call's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.runner import ConversationRunner
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
from antiphon.inference_bridge.realtime_protocol.items import McpApprovalResponseItem
from antiphon.inference_bridge.realtime_protocol.locked_settings import LockedSettings
from antiphon.inference_bridge.realtime_protocol.mcp_items import is_open
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport


class ClientCommands:
    """Carries out the events of one call's client.

    Owned by the call's session, for as long as the call; used on the event loop.
    """

    def __init__(
        self,
        conversation: ConversationRunner,
        realtime: Realtime,
        settings_changed: Callable[[], None],
        locked: LockedSettings,
        support: SpeechSupport,
    ) -> None:
        """`settings_changed`: applies the conversation's settings and sends `session.updated`."""
        self._conversation, self._realtime = conversation, realtime
        self._settings_changed, self._locked, self._support = settings_changed, locked, support

    def apply(self, event: ClientEvent) -> None:
        """Carry it out; `ClientError`, with the event's id, if that is not possible."""
        try:
            self._apply(event)
        except ClientError as error:
            raise error.of_event(event.event_id) from None

    def _apply(self, event: ClientEvent) -> None:
        conversation, realtime = self._conversation, self._realtime
        self._locked.check(event, conversation.settings, self._support)
        match event:
            case SessionUpdate():
                self._update(event)
            case BufferAppend():
                text = "the call carries the caller's audio: there is nothing to append over a WebRTC call's events"
                raise ClientError(text, "unsupported_event", "type")
            case BufferCommit():
                if not conversation.transcriptions.commit():
                    text = "the input audio buffer holds less than 100 ms of audio: nothing was committed"
                    raise ClientError(text, "input_audio_buffer_commit_empty")
            case BufferClear():
                conversation.transcriptions.clear()
                realtime.cleared()
            case ItemCreate():
                self._create_item(event)
            case ItemRetrieve():
                realtime.retrieve(event.item_id)
            case ItemDelete():
                realtime.delete(event.item_id)
            case ItemTruncate():
                self._truncate(event)
            case ResponseCreate():
                self._create_response(event)
            case ResponseCancel():
                self._cancel(event.response_id)
            case OutputClear():
                conversation.feed(events.Cancel(must_exist=False))

    def _update(self, event: SessionUpdate) -> None:
        """Each field is in force or gets an error; an update of which nothing is in force gets the errors alone."""
        applied = self._conversation.settings.applied(event.session, self._support)
        self._realtime.errors(error.of_event(event.event_id) for error in applied.refused)
        if applied.taken:
            self._conversation.change_settings(applied.settings)
            self._settings_changed()

    def _create_response(self, event: ResponseCreate) -> None:
        asked = event.response
        if asked is not None and asked.input is not None:
            asked = replace(asked, items=tuple(self._realtime.conversation.input_items(asked.input)))
        refused = self._conversation.settings.for_response(asked, self._support).refused
        self._realtime.errors(error.of_event(event.event_id) for error in refused)
        self._conversation.create(asked)

    def _create_item(self, event: ItemCreate) -> None:
        if isinstance(event.item, McpApprovalResponseItem):
            request_id = event.item.approval_request_id
            if not is_open(self._realtime.conversation.items, request_id):
                text = f"there is no approval request {request_id!r:.60} that waits for an answer"
                raise ClientError(text, "item_not_found", "item.approval_request_id")
        item = self._realtime.create(event.item, event.previous_item_id)
        if item["type"] == "message" and item["role"] == "user":
            self._conversation.feed(events.TextAdded(text_of(item)))
        elif item["type"] == "function_call_output":
            self._conversation.add_output(item["call_id"])
        elif item["type"] == "mcp_approval_response":
            self._conversation.add_output(item["approval_request_id"])
            self._conversation.create(None)  # nobody else asks for the answer

    def _cancel(self, response_id: str | None) -> None:
        rid = None
        if response_id is not None:
            rid = self._conversation.responses.rid_of(response_id)
            if rid is None:
                text = f"response {response_id!r:.60} is not active: there is nothing to cancel"
                raise ClientError(text, "response_cancel_not_active")
        self._conversation.feed(events.Cancel(rid))

    def _truncate(self, event: ItemTruncate) -> None:
        """Stop the response under way, and truncate it where it was; cut an earlier one to a shorter time."""
        item = self._realtime.conversation.truncate(event.item_id, event.content_index)
        responses = self._conversation.responses
        if (rid := responses.rid_of_item(event.item_id)) is not None:
            self._conversation.feed(events.Cancel(rid, must_exist=False))
            return
        words = responses.played_text(event.item_id, event.audio_end_ms)
        if words is None:
            text = f"audio_end_ms {event.audio_end_ms} lies beyond the audio of item {event.item_id}, or it is too old"
            raise ClientError(text, "invalid_value", "audio_end_ms")
        part = item["content"][event.content_index] if item["content"] else {}
        if part.get("type") == "output_audio" and len(words) < len(part.get("transcript") or ""):
            part["transcript"] = words
        self._realtime.truncated(event.item_id, event.audio_end_ms, event.content_index)
