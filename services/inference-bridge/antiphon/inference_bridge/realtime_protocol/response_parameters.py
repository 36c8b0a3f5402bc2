"""What a client wants of one response: the `response` of `response.create`, in both shapes of the protocol. Pure.

What decides which answer is given and where it goes (`conversation`, `input`, `instructions`, `metadata`, the
modalities) refuses the response if it can't be used: nothing may be spoken that was not asked for. Any other field
costs only itself, and the response comes with the session's value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from antiphon.inference_bridge.realtime_protocol.errors import ClientError, client_error
from antiphon.inference_bridge.realtime_protocol.fields import Field, Group, Reading, read
from antiphon.inference_bridge.realtime_protocol.items import MAX_TEXT, InputItem
from antiphon.inference_bridge.realtime_protocol.session_changes import (
    FLAT_FORMAT,
    FORMAT,
    MAX_OUTPUT_TOKENS,
    OUTPUT_MODALITIES,
    SPEED,
    TEMPERATURE,
    VOICE,
    no_template,
)
from antiphon.inference_bridge.realtime_protocol.tools import Tool, ToolChoice, tool_choice, tools
from antiphon.inference_bridge.realtime_protocol.values import BadValue, boolean, one_of, opaque_object, text

JsonObject = dict[str, Any]
MAX_INPUT: Final = 200
"""Items of `input`."""
MAX_METADATA: Final = 512
"""Characters of a value; of a key 64, as in the published protocol."""
MAX_KEYS: Final = 16
"""Of metadata."""
_DECIDES: Final = ("conversation", "input", "instructions", "metadata", "output_modalities")
"""Settings that refuse the response."""
_ITEMS: Final[TypeAdapter[list[InputItem]]] = TypeAdapter(list[InputItem])


def _metadata(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise BadValue("an object of texts is expected", "invalid_type")
    if len(value) > MAX_KEYS:
        raise BadValue(f"{len(value)} keys, at most {MAX_KEYS} are taken")
    for name, each in value.items():
        if len(name) > 64:
            raise BadValue(f"a key has {len(name)} characters, at most 64 are taken")
        if not isinstance(each, str):
            raise BadValue("a text is expected", "invalid_type", f".{name}", each)
        if len(each) > MAX_METADATA:
            raise BadValue(f"it has {len(each)} characters, at most {MAX_METADATA} are taken", inside=f".{name}")
    return dict(value)


def _input(value: Any) -> Any:
    if not isinstance(value, list):
        raise BadValue("a list of items is expected", "invalid_type")
    if len(value) > MAX_INPUT:
        raise BadValue(f"it has {len(value)} items, at most {MAX_INPUT} are taken")
    try:
        return tuple(_ITEMS.validate_python(value))
    except ValidationError as error:
        raise client_error(error, "response.input") from None


_FIELDS: Final[Mapping[str, Field | Group]] = {
    "conversation": Field(one_of("auto", "none"), "conversation"),
    "input": Field(_input, "input"),
    "instructions": Field(text(MAX_TEXT), "instructions"),
    "metadata": Field(_metadata, "metadata"),
    "output_modalities": OUTPUT_MODALITIES,
    "tools": Field(tools, "tools"),
    "tool_choice": Field(tool_choice, "tool_choice"),
    "max_output_tokens": MAX_OUTPUT_TOKENS,
    "audio": Group({"output": Group({"format": FORMAT, "voice": VOICE, "speed": SPEED})}),
    "prompt": Field(no_template),
    "reasoning": Field(opaque_object),
    "parallel_tool_calls": Field(boolean),
    "temperature": TEMPERATURE,
}
_FLAT: Final[Mapping[str, Field | Group]] = {
    "modalities": OUTPUT_MODALITIES,
    "max_response_output_tokens": MAX_OUTPUT_TOKENS,
    "output_audio_format": FLAT_FORMAT,
    "voice": VOICE,
    "speed": SPEED,
}
_SETTINGS: Final = (
    "instructions",
    "output_modalities",
    "tools",
    "tool_choice",
    "max_output_tokens",
    "voice",
    "speed",
)
"""Those that replace the session's; null: the session's counts."""


@dataclass(frozen=True)
class ResponseParameters:
    """Settings for one response in place of the session's; None: the session's. A value."""

    instructions: str | None = None
    output_modalities: tuple[Literal["text", "audio"], ...] | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: ToolChoice | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    voice: str | None = None
    speed: float | None = None
    conversation: Literal["auto", "none"] = "auto"
    """`none`: the answer stays outside of the conversation."""
    input: tuple[InputItem, ...] | None = None
    """To be answered instead of the conversation; `Conversation.input_items` finds what it refers to."""
    metadata: dict[str, str] | None = None
    items: tuple[JsonObject, ...] | None = None
    """`input` with the items themselves in place of references to them."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Setting -> the client's own path for it."""
    refused: tuple[ClientError, ...] = ()
    """One for each field that costs only itself."""

    @property
    def given(self) -> Mapping[str, Any]:
        """The settings that replace the session's."""
        return {name: value for name in _SETTINGS if (value := getattr(self, name)) is not None}

    def path(self, setting: str) -> str:
        """The client's own path of a setting that it has named."""
        return self.names.get(setting, f"response.{setting}")


def read_response(raw: Any) -> ResponseParameters:
    """A client's `response`; `ClientError` if it is none, or a field that decides what is answered can't be used."""
    reading = read(raw, "response", _FIELDS, _FLAT)
    for name in _DECIDES:
        if name in reading.names and name not in reading.given:
            raise _why(reading, reading.names[name])
    given = {name: value for name, value in reading.given.items() if value is not None}
    return ResponseParameters(**given, names=reading.names, refused=tuple(reading.refused))


def _why(reading: Reading, path: str) -> ClientError:
    for error in reading.refused:
        if (error.param or "").startswith(path):
            return error
    return ClientError(f"Invalid value for '{path}', and for many other fields.", "invalid_value", path)
