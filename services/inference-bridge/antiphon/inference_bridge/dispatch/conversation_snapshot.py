"""What another process needs to continue a call: the conversation so far as plain JSON, bounded. Pure.

A lease keeps 32 KiB. When the conversation is longer, whole items go, never a part of one: an item that is larger than
`MAX_ITEM_BYTES` by itself, then the oldest. What is left is what was said last, word for word. Settings that leave no
room for it go too: the call then has those of its offer.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from antiphon.inference_bridge.realtime_protocol.conversation import text_length
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.runtime.agent_sessions.handed_call import opening_items
from antiphon.schemas.messages import HandedCall

MAX_BYTES: Final = 28 * 1024
"""Of the whole as JSON."""
MAX_ITEM_BYTES: Final = 14 * 1024
"""Of one item, half of all there is: a text that a client has pasted must not cost the rest of the conversation."""
_MAX_LOOKED_AT: Final = 8 * MAX_BYTES
"""Of JSON that is made to find out which items fit: text whose characters are escaped has six times its length."""
_MAX_CARRIED: Final = 4000
_SETTINGS: Final = TypeAdapter(SessionSettings)

JsonObject = dict[str, Any]


class ConversationSnapshot(BaseModel):
    """One call, between two of its events.

    Written by the session that holds the call, read by the one that takes it over, perhaps in a process of another
    version: so the names in JSON stay (`alias`).
    """

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    items: list[JsonObject] = []
    settings: JsonObject | None = None
    agent: Any = None
    """What the agent remembers besides the items."""
    carried: str = ""
    """Text that no response answers yet."""
    keys: str = ""
    """Keys of the caller's telephone that are not complete yet."""
    session_created: bool = Field(default=False, validation_alias="met", serialization_alias="met")
    """The client has got `session.created`."""
    greeted: bool = False
    answering: str | None = None
    """What was being answered, by a response that was not played to its end."""
    received_until: int = Field(default=0, validation_alias="heard_until", serialization_alias="heard_until")
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
    """Settings as `ConversationSnapshot.settings` keeps them."""
    written: JsonObject = _SETTINGS.dump_python(settings, mode="json")
    return written


def bounded(snapshot: ConversationSnapshot) -> JsonObject:
    """The snapshot as JSON that fits: without items that are too large or too old, nor settings that leave no room."""
    written = snapshot.model_copy(update={"items": []}).model_dump(mode="json", by_alias=True)
    size = len(json.dumps(written))
    if size > MAX_BYTES:
        written["settings"] = None
        size = len(json.dumps(written))
    if size > MAX_BYTES:
        written.update(agent=None, carried=written["carried"][:_MAX_CARRIED])
        size = len(json.dumps(written))
    kept: list[JsonObject] = []
    looked_at = 0
    for item in reversed(
        snapshot.items
    ):  # the newest first: the cost is that of what is kept, however long the call is
        if text_length(item) > MAX_ITEM_BYTES:  # no need to write it to know
            continue
        item_size = len(json.dumps(item)) + 2
        looked_at += item_size
        if looked_at > _MAX_LOOKED_AT:
            break
        if item_size > MAX_ITEM_BYTES:
            continue
        if size + item_size > MAX_BYTES:
            break
        size += item_size
        kept.append(item)
    written["items"] = kept[::-1]
    return written


def snapshot_of(handed: HandedCall | None) -> ConversationSnapshot | None:
    """What a call begins with that another agent had; None for one that has just begun.

    `silent`: it goes on with an answer to what the caller has said last, in place of a greeting.
    """
    if handed is None:
        return None
    return ConversationSnapshot(
        items=opening_items(handed),
        greeted=handed.silent,
        answering="" if handed.silent else None,
        handed_over=True,
    )


def read_snapshot(state: JsonObject) -> ConversationSnapshot:
    """A snapshot as another process wrote it; one that can't be read counts as an empty one."""
    try:
        return ConversationSnapshot.model_validate(state)
    except ValidationError:
        return ConversationSnapshot()
