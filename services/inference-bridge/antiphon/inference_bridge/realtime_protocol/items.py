"""The items that a client may put on record or give to a response, as models. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from antiphon.inference_bridge.realtime_protocol.errors import tagged

MAX_TEXT: Final = 64 * 1024
"""Characters of an item, all its parts together."""
ItemId = Annotated[str, Field(min_length=1, max_length=64)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Content(_Model):
    """One part of a message's content."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio", "text", "audio"]
    text: str | None = Field(default=None, max_length=MAX_TEXT)
    transcript: str | None = Field(default=None, max_length=MAX_TEXT)


def _known_role(role: Any) -> Any:
    """Newer models call the role system developer; the protocol's items have no such one."""
    return "system" if role == "developer" else role


class MessageItem(_Model):
    """A message that the client puts on record."""

    type: Literal["message"]
    id: ItemId | None = None
    role: Annotated[Literal["user", "assistant", "system"], BeforeValidator(_known_role)]
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
    call_id: ItemId | None = None
    """None: it gets the id of its item."""
    name: str = Field(min_length=1, max_length=64)
    arguments: str = Field(max_length=MAX_TEXT)


def _is_text(output: Any) -> Any:
    if not isinstance(output, str):
        raise ValueError("the output of a function is a text: send anything else as JSON in a text")
    return output


class FunctionCallOutputItem(_Model):
    """What the client's function returned."""

    type: Literal["function_call_output"]
    id: ItemId | None = None
    call_id: ItemId
    output: Annotated[str, Field(max_length=MAX_TEXT), BeforeValidator(_is_text)]


class McpApprovalResponseItem(_Model):
    """Whether a tool of an MCP server may be called."""

    type: Literal["mcp_approval_response"]
    id: ItemId | None = None
    approval_request_id: ItemId
    approve: bool
    reason: str | None = Field(default=None, max_length=2000)


class ItemReference(_Model):
    """An item on record, by its id: in the `input` of a response only."""

    type: Literal["item_reference"]
    id: ItemId


Item = Annotated[
    Annotated[MessageItem, Tag("tag:message")]
    | Annotated[FunctionCallItem, Tag("tag:function_call")]
    | Annotated[FunctionCallOutputItem, Tag("tag:function_call_output")]
    | Annotated[McpApprovalResponseItem, Tag("tag:mcp_approval_response")],
    Discriminator(tagged("type")),
]
InputItem = Annotated[
    Annotated[MessageItem, Tag("tag:message")]
    | Annotated[FunctionCallItem, Tag("tag:function_call")]
    | Annotated[FunctionCallOutputItem, Tag("tag:function_call_output")]
    | Annotated[ItemReference, Tag("tag:item_reference")],
    Discriminator(tagged("type")),
]
