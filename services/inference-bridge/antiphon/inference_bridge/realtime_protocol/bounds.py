"""What a client's JSON may be, before any model reads it: its size, depth, width, numbers and text. Pure.

The models bound single fields. This bounds what they take as it is (schemas of tools, metadata, fields that are not
in the protocol) and what their own work grows with. All walks are loops: no depth ends in a `RecursionError`.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from antiphon.inference_bridge.realtime_protocol.errors import ClientError

MAX_EVENT_BYTES: Final = 256 * 1024
"""Of an event; the side channel takes as much in a message."""
MAX_DEPTH: Final = 32
"""Levels of objects and lists inside one another in a field of an event, as in the session of an offer."""
MAX_VALUES: Final = 10_000
"""Objects, lists, keys and values in an event: 128 tools with 70 each. A walk over as many takes 2 ms."""
MAX_EVENT_ID: Final = 512
"""Characters."""
MAX_INTEGER: Final = 2**63 - 1
"""JSON of other languages knows no larger ones."""


def parsed(text: str | bytes) -> Any:
    """The JSON value of a client's message; `ClientError` for none, and for one beyond the bounds."""
    if len(text) > MAX_EVENT_BYTES:
        raise ClientError(
            f"the event has {len(text)} bytes: at most {MAX_EVENT_BYTES} are taken, send it in parts", "event_too_large"
        )
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ClientError("the message is no JSON", "invalid_json") from None
    if trouble := excess(value, MAX_DEPTH + 1):
        raise ClientError(trouble, "invalid_value", event_id=event_id_of(value))
    return value


def event_id_of(event: Any) -> str | None:
    """The client's own name of its event, to be sent back in an error; None for one that is no short text."""
    found = event.get("event_id") if isinstance(event, dict) else None
    return found if isinstance(found, str) and len(found) <= MAX_EVENT_ID and not _scalar_excess(found) else None


def excess(value: Any, depth: int = MAX_DEPTH) -> str:
    """What about a JSON value goes beyond the bounds; empty if nothing does. `depth`: levels that it may have."""
    level, values = [value], 0
    for left in range(depth, -1, -1):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict | list):
                if not left:
                    return f"nested more than {MAX_DEPTH} levels deep: send it flatter"
                values += 2 * len(each) if isinstance(each, dict) else len(each)
                if values > MAX_VALUES:
                    return f"more than {MAX_VALUES} keys and values: send fewer at a time"
                below.extend(each)
                if isinstance(each, dict):
                    below.extend(each.values())
            elif trouble := _scalar_excess(each):
                return trouble
        level = below
    return ""


def _scalar_excess(value: Any) -> str:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return "the text holds half of a surrogate pair (\\ud800 to \\udfff): send whole characters"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return "a number is too large for JSON: at most 1.8e308"
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        return f"a whole number is beyond {MAX_INTEGER}: send it as text"
    return ""


def json_bytes(value: Any) -> int:
    """The size of a value within these bounds, as JSON."""
    return len(json.dumps(value))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
