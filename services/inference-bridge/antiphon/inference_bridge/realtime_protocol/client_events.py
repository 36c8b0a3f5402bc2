"""The events that a client may send, as models: one per type, in our own words after the published protocol.

Fields that a model does not name are ignored: the protocol grows. Those of a session and of a response are read by
tables, each by itself (`fields`). `read_client_event` is the only way in; `bounds` looks at each event before a model
does.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from antiphon.inference_bridge.realtime_protocol.bounds import MAX_EVENT_ID, event_id_of, parsed
from antiphon.inference_bridge.realtime_protocol.errors import ClientError, client_error
from antiphon.inference_bridge.realtime_protocol.items import (
    FunctionCallItem,
    FunctionCallOutputItem,
    Item,
    ItemId,
    MessageItem,
)
from antiphon.inference_bridge.realtime_protocol.response_parameters import ResponseParameters, read_response
from antiphon.inference_bridge.realtime_protocol.session_changes import SessionChanges

__all__ = [
    "EVENTS",
    "BufferAppend",
    "BufferClear",
    "BufferCommit",
    "ClientEvent",
    "FunctionCallItem",
    "FunctionCallOutputItem",
    "Item",
    "ItemCreate",
    "ItemDelete",
    "ItemRetrieve",
    "ItemTruncate",
    "MessageItem",
    "OutputClear",
    "ResponseCancel",
    "ResponseCreate",
    "ResponseParameters",
    "SessionUpdate",
    "read_client_event",
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Event(_Model):
    event_id: str | None = Field(default=None, max_length=MAX_EVENT_ID)


class SessionUpdate(_Event):
    """Change settings of the session, in force at once."""

    type: Literal["session.update"]
    session: Annotated[SessionChanges, PlainValidator(SessionChanges.model_validate)]


class BufferAppend(_Event):
    """Audio over the events: always refused, the call carries the audio."""

    type: Literal["input_audio_buffer.append"]


class BufferCommit(_Event):
    """The caller's turn has ended."""

    type: Literal["input_audio_buffer.commit"]


class BufferClear(_Event):
    """Forget the audio that is no turn yet."""

    type: Literal["input_audio_buffer.clear"]


class ItemCreate(_Event):
    """Put an item on record."""

    type: Literal["conversation.item.create"]
    item: Item
    previous_item_id: str | None = Field(default=None, max_length=64)
    """`root`: before all others; None: at the end."""


class ItemRetrieve(_Event):
    """Ask for an item as it is on record."""

    type: Literal["conversation.item.retrieve"]
    item_id: ItemId


class ItemDelete(_Event):
    """Take an item off the record."""

    type: Literal["conversation.item.delete"]
    item_id: ItemId


class ItemTruncate(_Event):
    """Cut what the assistant said to its first `audio_end_ms`; stops it if it is still played."""

    type: Literal["conversation.item.truncate"]
    item_id: ItemId
    content_index: int = Field(ge=0, le=2**31)
    audio_end_ms: int = Field(ge=0, le=2**31)


def _response(raw: Any) -> ResponseParameters | None:
    return None if raw is None else read_response(raw)


class ResponseCreate(_Event):
    """Answer what was not answered yet."""

    type: Literal["response.create"]
    response: Annotated[ResponseParameters | None, PlainValidator(_response)] = None


class ResponseCancel(_Event):
    """Stop the response under way."""

    type: Literal["response.cancel"]
    response_id: str | None = Field(default=None, max_length=64)


class OutputClear(_Event):
    """Stop the audio under way."""

    type: Literal["output_audio_buffer.clear"]


ClientEvent = (
    SessionUpdate
    | BufferAppend
    | BufferCommit
    | BufferClear
    | ItemCreate
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
    | OutputClear
)
EVENTS: Final[dict[str, type[Any]]] = {
    str(model.model_fields["type"].annotation.__args__[0]): model for model in ClientEvent.__args__
}
"""By the value of `type`."""


def read_client_event(text: str | bytes) -> ClientEvent:
    """A client's message as one of the models; `ClientError`, with the client's `event_id`, for anything else."""
    event = parsed(text)
    if not isinstance(event, dict):
        raise ClientError("the message is no object", "invalid_event")
    event_id = event_id_of(event)
    kind = event.get("type")
    if not isinstance(kind, str):
        raise ClientError("Missing required parameter: 'type'.", "missing_required_parameter", "type", event_id)
    model = EVENTS.get(kind)
    if model is None:
        known = ", ".join(sorted(EVENTS))
        raise ClientError(
            f"Invalid value {kind!r:.60} for 'type': supported are {known}.", param="type", event_id=event_id
        )
    try:
        read: ClientEvent = model.model_validate(event)
    except ValidationError as error:
        raise client_error(error, event_id=event_id) from None
    except ClientError as error:  # of a field that is read by our own tables
        raise error.of_event(event_id) from None
    if isinstance(read, SessionUpdate) and len(read.session.refused) == 1 and read.session.is_useless:
        raise read.session.refused[0].of_event(event_id)  # its only field: the event does nothing
    return read
