"""The conversation of a call: its items in their order, as they are on record. Pure.

Items are the JSON objects of the protocol. An item of the assistant holds the words that were played. Bounded: above
`MAX_ITEMS` or `MAX_CHARACTERS` the oldest go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.items import (
    Content,
    FunctionCallItem,
    FunctionCallOutputItem,
    InputItem,
    ItemReference,
    McpApprovalResponseItem,
    MessageItem,
)

JsonObject = dict[str, Any]
MAX_ITEMS: Final = 500
MAX_CHARACTERS: Final = 2 * 1024 * 1024
"""Of the text in all items. A caller who speaks for a whole day says half of it."""
ROOT: Final = "root"
INTERNAL: Final = "internal"
"""Field of an item for the agent alone, such as one of its own tools: the client never learns of it."""
MAX_INPUT_CHARACTERS: Final = 512 * 1024
"""Of the `input` of a response: a reference of 70 bytes may stand for an item of 64 Ki characters."""


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
        """Of the newest item that the client knows; None if there is none."""
        return next((item["id"] for item in reversed(self._items) if not item.get(INTERNAL)), None)

    def get(self, item_id: str) -> JsonObject:
        """The item itself; `ClientError` if there is none of this id that the client knows."""
        for item in self._items:
            if item["id"] == item_id and not item.get(INTERNAL):
                return item
        raise ClientError(f"there is no item {item_id!r:.60}", "item_not_found", "item_id")

    def input_items(self, given: Iterable[InputItem], root: str = "response.input") -> list[JsonObject]:
        """The items of a response's `input`, with those on record in place of references to them.

        `ClientError` for an unknown reference, for what can't be an item, and beyond `MAX_INPUT_CHARACTERS`.
        """
        known = {item["id"]: item for item in self._items if not item.get(INTERNAL)}
        items: list[JsonObject] = []
        length = 0
        for at, each in enumerate(given):
            if isinstance(each, ItemReference):
                if each.id not in known:
                    raise ClientError(f"there is no item {each.id!r:.60}", "item_not_found", f"{root}[{at}].id")
                item = known[each.id]
            else:
                item = item_of(each, each.id or f"input_{at}", f"{root}[{at}]")
            length += text_length(item)
            if length > MAX_INPUT_CHARACTERS:
                text = f"the items up to here have {length} characters, at most {MAX_INPUT_CHARACTERS} are taken"
                raise ClientError(text, "invalid_value", f"{root}[{at}]")
            items.append(item)
        return items

    def before(self, item_id: str) -> str | None:
        """The id of the item before this one; None if this one is the first, or unknown."""
        ids = [item["id"] for item in self._items if not item.get(INTERNAL)]
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
            ids = ["" if known.get(INTERNAL) else known["id"] for known in self._items]
            if previous_item_id not in ids:
                text = f"there is no item {previous_item_id!r:.60} to put this one behind"
                raise ClientError(text, "item_not_found", "previous_item_id")
            at = ids.index(previous_item_id) + 1
        self._items.insert(at, item)
        before = self.before(item["id"])
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
        # The part of a message under way is announced, and written when it has ended.
        parts = 1 if item["status"] == "in_progress" else len(item["content"])
        if content_index >= parts:
            text = f"item {item_id!r:.60} has {parts} parts of content"
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


def item_of(
    created: MessageItem | FunctionCallItem | FunctionCallOutputItem | McpApprovalResponseItem,
    item_id: str,
    root: str = "item",
) -> JsonObject:
    """What a client created, as an item on record; `ClientError` for what can't be one here. `root`: its path."""
    if isinstance(created, McpApprovalResponseItem):
        return {**created.model_dump(exclude_none=True), "id": item_id, "object": "realtime.item"}
    if not isinstance(created, MessageItem):
        item = {**created.model_dump(), "id": item_id, "object": "realtime.item", "status": "completed"}
        item["call_id"] = item["call_id"] or item_id
        return item
    read = _assistant_part if created.role == "assistant" else _user_part
    content = [read(part, created.role, f"{root}.content[{at}]") for at, part in enumerate(created.content)]
    return message(item_id, created.role, "completed", *content)


def _assistant_part(part: Content, role: str, path: str) -> JsonObject:
    spoken = part.type in ("output_audio", "audio")
    if not spoken and part.type not in ("output_text", "text"):
        text = f"a message of the assistant holds output_text or output_audio, no {part.type}"
        raise ClientError(text, "invalid_value", f"{path}.type")
    return {"type": "output_text", "text": (part.transcript if spoken else part.text) or part.text or ""}


def _user_part(part: Content, role: str, path: str) -> JsonObject:
    if part.type == "input_text":
        if not part.text:
            text = "a part of the type input_text needs its text"
            raise ClientError(
                text, "invalid_value" if part.text == "" else "missing_required_parameter", f"{path}.text"
            )
        return {"type": "input_text", "text": part.text}
    if part.type == "input_image":
        text = "pictures are not understood here: nothing of this item was taken. Describe it as input_text"
        raise ClientError(text, "invalid_value", f"{path}.type")
    if part.type == "input_audio" and role == "user":
        if not part.transcript:
            text = "audio in an item is not transcribed here: send its transcript, or speak it in the call"
            raise ClientError(text, "invalid_value", f"{path}.transcript")
        return {"type": "input_audio", "transcript": part.transcript}
    kinds = "input_text or input_audio with a transcript" if role == "user" else "input_text"
    raise ClientError(f"a message of the role {role} holds {kinds}, no {part.type}", "invalid_value", f"{path}.type")


def text_length(item: JsonObject) -> int:
    """Characters of all that an item says."""
    length = len(item.get("arguments") or "") + len(item.get("output") or "")
    length += sum(len(str(tool)) for tool in item.get("tools", ()))
    return length + sum(
        len(part.get("text") or "") + len(part.get("transcript") or "") for part in item.get("content", ())
    )


def text_of(item: JsonObject) -> str:
    """The words of a message item; empty if there are none (yet)."""
    parts = (part.get("text") or part.get("transcript") or "" for part in item.get("content", ()))
    return " ".join(filter(None, parts)).strip()
