"""The events that a client may send, as models: one per type, in our own words after the published protocol.

Fields that a model does not name are ignored: the protocol grows. `read_client_event` is the only way in; `bounds`
looks at each event before a model does.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from antiphon.inference_bridge.realtime_protocol.bounds import MAX_EVENT_ID, event_id_of, parsed
from antiphon.inference_bridge.realtime_protocol.errors import ClientError, client_error, tagged
from antiphon.inference_bridge.realtime_protocol.session_settings import (
    MaxTokens,
    Modalities,
    SessionChanges,
    ToolChoice,
    Tools,
)

MAX_TEXT: Final = 64 * 1024
"""Characters of an item, all its parts together."""
MAX_METADATA: Final = 512
"""Characters of a value; of a key 64, as in the published protocol."""
MAX_KEYS: Final = 16
"""Of metadata."""
ItemId = Annotated[str, Field(min_length=1, max_length=64)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Event(_Model):
    event_id: str | None = Field(default=None, max_length=MAX_EVENT_ID)


# ---- items ---------------------------------------------------------------------------------------


class Content(_Model):
    """One part of a message's content."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio", "text", "audio"]
    text: str | None = Field(default=None, max_length=MAX_TEXT)
    transcript: str | None = Field(default=None, max_length=MAX_TEXT)


class MessageItem(_Model):
    """A message that the client puts on record."""

    type: Literal["message"]
    id: ItemId | None = None
    role: Literal["user", "assistant", "system"]
    content: list[Content] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        length = sum(len(part.text or "") + len(part.transcript or "") for part in self.content)
        if length > MAX_TEXT:
            raise ValueError(f"its parts have {length} characters, at most {MAX_TEXT} are taken in an item")
        return self


class FunctionCallItem(_Model):
    """A call of a function that the client puts on record, such as one of an earlier conversation."""

    type: Literal["function_call"]
    id: ItemId | None = None
    call_id: ItemId
    name: str = Field(min_length=1, max_length=64)
    arguments: str = Field(max_length=MAX_TEXT)


class FunctionCallOutputItem(_Model):
    """What the client's function returned."""

    type: Literal["function_call_output"]
    id: ItemId | None = None
    call_id: ItemId
    output: str = Field(max_length=MAX_TEXT)


Item = Annotated[
    Annotated[MessageItem, Tag("tag:message")]
    | Annotated[FunctionCallItem, Tag("tag:function_call")]
    | Annotated[FunctionCallOutputItem, Tag("tag:function_call_output")],
    Discriminator(tagged("type")),
]


# ---- events --------------------------------------------------------------------------------------


class SessionUpdate(_Event):
    """Change settings of the session, in force at once."""

    type: Literal["session.update"]
    session: SessionChanges


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


def _few(metadata: Any) -> Any:
    """Before each key and value is looked at: thousands of errors cost 16 ms, of which one is shown."""
    if isinstance(metadata, dict) and len(metadata) > MAX_KEYS:
        raise ValueError(f"{len(metadata)} keys, at most {MAX_KEYS} are taken")
    return metadata


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=MAX_METADATA)]], BeforeValidator(_few)
]


class ResponseParameters(_Model):
    """Settings for one response in place of the session's."""

    instructions: str | None = Field(default=None, max_length=MAX_TEXT)
    output_modalities: Modalities | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    max_output_tokens: MaxTokens | None = None
    conversation: Literal["auto", "none"] = "auto"
    """`none`: the answer stays outside of the conversation."""
    input: list[Item] | None = Field(default=None, max_length=200)
    """To be answered instead of the conversation."""
    metadata: Metadata | None = None


class ResponseCreate(_Event):
    """Answer what was not answered yet."""

    type: Literal["response.create"]
    response: ResponseParameters | None = None


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
    return read
