"""What another process needs to go on with a call: the conversation so far as plain JSON, bounded. Pure.

A lease keeps 32 KiB. When the conversation is longer, whole items go, never a part of one: an item that is larger than
`MAX_ITEM_BYTES` by itself, then the oldest. What is left is what was said last, word for word.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings

MAX_BYTES: Final = 28 * 1024
"""Of the whole as JSON."""
MAX_ITEM_BYTES: Final = 14 * 1024
"""Of one item, half of all there is: a text that a client has pasted must not cost the rest of the conversation."""
_MAX_CARRIED: Final = 4000
_SETTINGS: Final = TypeAdapter(SessionSettings)

JsonObject = dict[str, Any]


class ConversationSnapshot(BaseModel):
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


def bounded(record: ConversationSnapshot) -> JsonObject:
    """The record as JSON that fits: without items that are too large or too old, then without the settings."""
    written = record.model_dump(mode="json")
    sizes = [(len(json.dumps(item).encode()) + 2, item) for item in written["items"]]
    kept = [(size, item) for size, item in sizes if size <= MAX_ITEM_BYTES]
    written["items"] = []
    size = len(json.dumps(written).encode()) + sum(size for size, _ in kept)
    while kept and size > MAX_BYTES:
        size -= kept.pop(0)[0]
    written["items"] = [item for _, item in kept]
    if size > MAX_BYTES:
        written["settings"] = None
    if len(json.dumps(written).encode()) > MAX_BYTES:
        written.update(agent=None, carried=written["carried"][:_MAX_CARRIED])
    return written


def read_record(state: JsonObject) -> ConversationSnapshot:
    """A record as another process wrote it; what can't be read is as if nothing had been said."""
    try:
        return ConversationSnapshot.model_validate(state)
    except ValidationError:
        return ConversationSnapshot()
