"""The conversation of a call: its items in their order, as they are on record. Pure.

Items are the JSON objects of the protocol. An item of the assistant holds the words that were played. Bounded: above
`MAX_ITEMS` or `MAX_CHARACTERS` the oldest go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from antiphon.inference_bridge.realtime_protocol.client_events import (
    FunctionCallItem,
    FunctionCallOutputItem,
    MessageItem,
)
from antiphon.inference_bridge.realtime_protocol.errors import ClientError

JsonObject = dict[str, Any]
MAX_ITEMS: Final = 500
MAX_CHARACTERS: Final = 2 * 1024 * 1024
"""Of the text in all items. A caller who speaks for a whole day says half of it."""
ROOT: Final = "root"
_USER_CONTENT: Final = ("input_text", "input_audio", "input_image")


class Conversation:
    """The items of one call, in order.

    Owned by the call's `Realtime`, for as long as the call; used on the event loop.
    """

    def __init__(self, items: Iterable[JsonObject] = ()) -> None:
        """`items`: of a process that had the call before."""
        self._items: list[JsonObject] = list(items)
        self._lengths = {item["id"]: text_length(item) for item in self._items}
        """Characters of each item."""
        self._characters = sum(self._lengths.values())

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._lengths

    @property
    def items(self) -> list[JsonObject]:
        """A list of its own; the items themselves may still change."""
        return list(self._items)

    @property
    def last_id(self) -> str | None:
        """Of the newest item; None if there is none."""
        return self._items[-1]["id"] if self._items else None

    def get(self, item_id: str) -> JsonObject:
        """The item itself; `ClientError` if there is none of this id."""
        for item in self._items:
            if item["id"] == item_id:
                return item
        raise ClientError(f"there is no item {item_id!r:.60}", "item_not_found", "item_id")

    def before(self, item_id: str) -> str | None:
        """The id of the item before this one; None if this one is the first, or unknown."""
        ids = [item["id"] for item in self._items]
        at = ids.index(item_id) if item_id in ids else 0
        return ids[at - 1] if at else None

    def add(self, item: JsonObject, previous_item_id: str | None = None) -> str | None:
        """Put an item at the end, or behind another; returns the id of the one before it.

        `ClientError` if the id is taken, or if there is no item `previous_item_id`.
        """
        if item["id"] in self:
            raise ClientError(f"there is an item {item['id']!r:.60} already", "duplicate_item", "item.id")
        at = len(self._items)
        if previous_item_id == ROOT:
            at = 0
        elif previous_item_id is not None:
            ids = [known["id"] for known in self._items]
            if previous_item_id not in ids:
                text = f"there is no item {previous_item_id!r:.60} to put this one behind"
                raise ClientError(text, "item_not_found", "previous_item_id")
            at = ids.index(previous_item_id) + 1
        self._items.insert(at, item)
        before = self._items[at - 1]["id"] if at else None
        self._measure(item)
        return before

    def delete(self, item_id: str) -> None:
        """Take it off the record; `ClientError` if there is none of this id."""
        self._forget(self.get(item_id))

    def set_transcript(self, item_id: str, transcript: str) -> None:
        """The transcription of an input audio item; ignored if the client has deleted the item."""
        if item_id in self:
            item = self.get(item_id)
            item["content"][0]["transcript"] = transcript
            self._measure(item)

    def text_changed(self, item: JsonObject) -> None:
        """The text of an item that may be on record is another one now."""
        if item["id"] in self:
            self._measure(item)

    def _measure(self, item: JsonObject) -> None:
        """Count the text of an item on record; the oldest go where there is too much."""
        length = text_length(item)
        self._characters += length - self._lengths.get(item["id"], 0)
        self._lengths[item["id"]] = length
        while len(self._items) > MAX_ITEMS or (self._characters > MAX_CHARACTERS and len(self._items) > 1):
            self._forget(self._items[0])

    def _forget(self, item: JsonObject) -> None:
        self._items.remove(item)
        self._characters -= self._lengths.pop(item["id"])

    def truncate(self, item_id: str, content_index: int) -> JsonObject:
        """The assistant's item that a client wants to cut; `ClientError` if it can't be cut."""
        item = self.get(item_id)
        if item["type"] != "message" or item["role"] != "assistant":
            raise ClientError("only messages of the assistant can be truncated", "invalid_value", "item_id")
        if content_index >= len(item["content"]):
            text = f"item {item_id!r:.60} has {len(item['content'])} parts of content"
            raise ClientError(text, "invalid_value", "content_index")
        return item


def message(item_id: str, role: str, status: str, *content: JsonObject) -> JsonObject:
    """A message item."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": role,
        "status": status,
        "content": list(content),
    }


def item_of(created: MessageItem | FunctionCallItem | FunctionCallOutputItem, item_id: str) -> JsonObject:
    """What a client created, as an item on record; `ClientError` for what can't be one here."""
    if not isinstance(created, MessageItem):
        return {**created.model_dump(), "id": item_id, "object": "realtime.item", "status": "completed"}
    content: list[JsonObject] = []
    for part in created.content:
        if created.role == "assistant":
            spoken = part.type in ("output_audio", "audio")
            if not spoken and part.type not in ("output_text", "text"):
                raise ClientError(f"an assistant's message holds no {part.type}", "invalid_value", "item.content")
            text = (part.transcript if spoken else part.text) or part.text or ""
            content.append({"type": "output_text", "text": text})
        elif part.type == "input_text" and part.text:
            content.append({"type": "input_text", "text": part.text})
        elif part.type in _USER_CONTENT and part.type != "input_text":
            text = f"{part.type} is not taken in an item here: speak it, the call carries the audio"
            raise ClientError(text, "invalid_value", "item.content")
        else:
            raise ClientError(f"a message of the role {created.role} needs input_text", "invalid_value", "item.content")
    return message(item_id, created.role, "completed", *content)


def text_length(item: JsonObject) -> int:
    """Characters of all that an item says."""
    length = len(item.get("arguments") or "") + len(item.get("output") or "")
    return length + sum(
        len(part.get("text") or "") + len(part.get("transcript") or "") for part in item.get("content", ())
    )


def text_of(item: JsonObject) -> str:
    """The words of a message item; empty if there are none (yet)."""
    parts = (part.get("text") or part.get("transcript") or "" for part in item.get("content", ()))
    return " ".join(filter(None, parts)).strip()
