"""What a client did wrong, in the shape of an `error` event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

TAG: Final = "tag:"
"""Begins the names of union members in our models, so that they can be left out of a field's path."""
MAX_SHOWN: Final = 200
"""Characters of a field's path, which may hold a client's own keys, and of a text about it."""


class ClientError(Exception):
    """The client sent something that can't be used. The session answers with an `error` event."""

    def __init__(
        self, message: str, code: str = "invalid_value", param: str | None = None, event_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.param, self.event_id = code, param, event_id

    def of_event(self, event_id: str | None) -> ClientError:
        """The same error with the client's name of the event that it is about."""
        return ClientError(str(self), self.code, self.param, event_id)


def client_error(error: ValidationError, root: str = "", event_id: str | None = None) -> ClientError:
    """The first thing that is wrong, with the path of its field below `root` and the protocol's code for it."""
    first = error.errors(include_url=False)[0]
    param = root
    for part in first["loc"]:
        if isinstance(part, int):
            param += f"[{part}]"
        elif not part.startswith(TAG):
            param += f".{part}" if param else part
    param, kind = param[:MAX_SHOWN], first["type"]
    if kind == "missing":
        return ClientError(f"Missing required parameter: '{param}'.", "missing_required_parameter", param, event_id)
    if kind.startswith("union_tag"):
        if not isinstance(first["input"], Mapping):
            text = f"Invalid type for '{param}': an object is expected."
            return ClientError(text, "invalid_type", param, event_id)
        param = f"{param}.type"[:MAX_SHOWN]
        if first["input"].get("type") is None:
            return ClientError(f"Missing required parameter: '{param}'.", "missing_required_parameter", param, event_id)
        expected = first.get("ctx", {}).get("expected_tags", "").replace(TAG, "") or "another type"
        found = first["input"]["type"]
        shown = "" if isinstance(found, Mapping | list) else f" {found!r:.60}"
        text = f"Invalid value{shown} for '{param}': one of {expected} is supported."
        return ClientError(text, "invalid_value", param, event_id)
    shown = "" if isinstance(first["input"], Mapping | list) else f" {first['input']!r:.60}"
    why = first["msg"].removeprefix("Value error, ")
    code = "invalid_type" if kind.endswith(("_type", "_parsing")) else "invalid_value"
    return ClientError(f"Invalid value{shown} for '{param}': {why:.{MAX_SHOWN}}.", code, param, event_id)


def tagged(field: str) -> Any:
    """A discriminator: the union member is the one tagged with `TAG` and the value of `field`."""

    def tag_of(value: Any) -> str | None:
        found = value.get(field) if isinstance(value, Mapping) else getattr(value, field, None)
        return f"{TAG}{found}" if isinstance(found, str) else None

    return tag_of
