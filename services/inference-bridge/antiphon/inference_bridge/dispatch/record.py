"""What another process needs to go on with a call: the conversation so far as plain JSON, bounded. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from antiphon.inference_bridge.protocol.session_settings import SessionSettings

MAX_BYTES: Final = 28 * 1024
"""Of the whole as JSON: a lease keeps 32 KiB. The oldest items go first."""
_MAX_ITEM_TEXT: Final = 4000
_SETTINGS: Final = TypeAdapter(SessionSettings)

JsonObject = dict[str, Any]


class Record(BaseModel):
    """One call, as it stands between two of its events."""

    model_config = ConfigDict(extra="ignore")

    items: list[JsonObject] = []
    settings: JsonObject | None = None
    agent: Any = None
    """What the agent remembers besides the items."""
    carried: str = ""
    met: bool = False
    """The client was told of its session."""
    greeted: bool = False
    answering: str | None = None
    """What was being answered and was not heard to its end."""
    heard_until: int = 0
    """Samples of the caller's audio that are in `items` already."""
    handed_over: bool = False
    """Its holder left in order."""

    def session_settings(self) -> SessionSettings | None:
        """The settings in force; None if there are none that can be read."""
        try:
            return _SETTINGS.validate_python(self.settings) if self.settings else None
        except ValidationError:
            return None


def settings_json(settings: SessionSettings) -> JsonObject:
    written: JsonObject = _SETTINGS.dump_python(settings, mode="json")
    return written


def bounded(record: Record) -> JsonObject:
    """The record as JSON that fits: without the oldest items, then without the settings' long texts."""
    written = record.model_dump(mode="json")
    written["items"] = [_shortened(item) for item in record.items]
    size = len(json.dumps(written).encode())
    for item in list(written["items"]):
        if size <= MAX_BYTES:
            return written
        written["items"].pop(0)
        size -= len(json.dumps(item).encode()) + 2
    if size > MAX_BYTES:
        written["settings"] = None
    if len(json.dumps(written).encode()) > MAX_BYTES:
        written.update(agent=None, carried=written["carried"][:_MAX_ITEM_TEXT])
    return written


def _shortened(item: JsonObject) -> JsonObject:
    """An item whose texts are not too long to be kept."""
    out: JsonObject = {}
    for name, value in item.items():
        if name == "content" and isinstance(value, Sequence):
            out[name] = [_shortened(part) for part in value]
        else:
            out[name] = value[:_MAX_ITEM_TEXT] if isinstance(value, str) else value
    return out


def read_record(state: JsonObject) -> Record:
    """A record as another process wrote it; what can't be read is as if nothing had been said."""
    try:
        return Record.model_validate(state)
    except ValidationError:
        return Record()
