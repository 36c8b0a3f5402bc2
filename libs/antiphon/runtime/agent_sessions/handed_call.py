"""What goes along with a call that is given to another agent: a summary and the end of the conversation. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from antiphon.schemas.messages import MAX_HANDED_BYTES, HandedCall

JsonObject = dict[str, Any]
MAX_ITEMS: Final = 500
_MAX_SUMMARY: Final = 4000
_NOTE: Final = "handed"
"""Id of the note's item."""


def handed_call(items: Sequence[JsonObject], summary: str = "", silent: bool = False) -> HandedCall:
    """The newest items that fit, whole ones only, in their order."""
    kept: list[JsonObject] = []
    size = 2
    for item in reversed(items):
        size += len(json.dumps(item)) + 2
        if size > MAX_HANDED_BYTES or len(kept) == MAX_ITEMS:
            break
        kept.append(item)
    return HandedCall(summary=summary[:_MAX_SUMMARY], items=kept[::-1], silent=silent)


def opening_items(handed: HandedCall | None) -> list[JsonObject]:
    """The conversation that a call begins with: a note for the model, then what was said before."""
    if handed is None:
        return []
    note = "The caller comes from another agent"
    note += f", {handed.agent}." if handed.agent else "."
    if handed.summary:
        note += f" It says: {handed.summary}"
    older = [item for item in handed.items if item.get("id") != _NOTE]  # of a transfer before this one
    return [message(_NOTE, "system", note), *older]


def message(item_id: str, role: str, text: str) -> JsonObject:
    """A message of the realtime protocol; `role` is `user`, `assistant` or `system`."""
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text}]
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": role,
        "content": content,
    }


def words_of(items: Iterable[JsonObject]) -> list[tuple[str, str]]:
    """Role and words of each message that has some: for agents that want to read them without the protocol."""
    said: list[tuple[str, str]] = []
    for item in items:
        parts = item.get("content") if item.get("type") == "message" else None
        texts = [part.get("transcript") or part.get("text") for part in parts or () if isinstance(part, dict)]
        if words := " ".join(text for text in texts if isinstance(text, str) and text):
            said.append((str(item.get("role")), words))
    return said
