"""The keys that a caller presses (RFC 4733), as the client and the model are told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject, message

_KEYS: Final = "0123456789*#ABCD"
"""By the event codes 0 to 15 of RFC 4733 section 3.2."""
MAX_KEYS: Final = 64
"""Of one item: the last ones. A caller who presses more has pressed no number."""


def key_of(event: int) -> str | None:
    """The key of an event code; None for an event that is no key, such as a flash of the hook."""
    return _KEYS[event] if 0 <= event < len(_KEYS) else None


def keys_text(keys: Sequence[str]) -> str:
    """What the model reads, for the keys in the order in which they were pressed."""
    pressed = " ".join(keys[-MAX_KEYS:])
    return f"The caller pressed the key{'s' if len(keys) > 1 else ''} {pressed}."


def keys_item(item_id: str, keys: Sequence[str]) -> JsonObject:
    """The keys as an item on record: a message of the user."""
    return message(item_id, "user", "completed", {"type": "input_text", "text": keys_text(keys)})
