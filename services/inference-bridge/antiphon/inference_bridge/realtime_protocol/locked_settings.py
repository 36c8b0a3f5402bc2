"""Settings that the maker of a client secret has fixed: which events would change them, and what is not shown. Pure.

The claim names them as paths in the session object, such as `instructions`, `tools` or `audio.input.turn_detection`; a
path stands for all below it. An event that would change one is refused as a whole. One that names the value in force
is taken, so that a client may send its whole session.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from antiphon.inference_bridge.realtime_protocol.client_events import (
    ClientEvent,
    Item,
    ItemCreate,
    MessageItem,
    ResponseCreate,
    ResponseParameters,
    SessionUpdate,
)
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings

JsonObject = dict[str, Any]

LOCKED: Final = "locked_setting"
"""The error's code."""
_FIELDS: Final = {
    "instructions": "instructions",
    "output_modalities": "output_modalities",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "max_output_tokens": "max_output_tokens",
    "tracing": "tracing",
    "truncation": "truncation",
    "audio.input.transcription": "transcription",
    "audio.input.turn_detection": "turn_detection",
    "audio.output.speed": "speed",
}
"""Path in the session object -> field of `SessionSettings`."""
_SECRET: Final = ("instructions", "tools")
"""What a maker fixes there is for the model alone: the holder of the secret is not shown it."""


class LockedSettings:
    """What one call's client may not change. A value; owned by the call's session."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        """`paths`: `locked` of the claim; one that is no setting here locks nothing."""
        self._fields = {
            path: field for path, field in _FIELDS.items() if any(_is_within(path, locked) for locked in paths)
        }

    def check(self, event: ClientEvent, settings: SessionSettings) -> None:
        """`ClientError` that names the setting, if the event would change one. `settings`: those in force."""
        match event:
            case SessionUpdate():
                changed = settings.changed(event.session)
                for path, field in self._fields.items():
                    if getattr(changed, field) != getattr(settings, field):
                        raise _error(path, f"session.{path}")
            case ItemCreate():
                self._check_items([event.item], "item")
            case ResponseCreate(response=ResponseParameters() as asked):
                self._check_response(asked, settings)

    def shown(self, session: JsonObject) -> JsonObject:
        """The session as the client may see it: without instructions and tools that are locked."""
        return {name: value for name, value in session.items() if name not in _SECRET or name not in self._fields}

    def _check_response(self, asked: ResponseParameters, settings: SessionSettings) -> None:
        """A response may ask for settings of its own, which would be a way around."""
        for name in ("instructions", "output_modalities", "tools", "tool_choice", "max_output_tokens"):
            value = getattr(asked, name)
            if isinstance(value, list):
                value = tuple(value)
            if name in self._fields and value is not None and value != getattr(settings, name):
                raise _error(name, f"response.{name}")
        self._check_items(asked.input or [], "response.input")

    def _check_items(self, items: list[Item], param: str) -> None:
        """A message of the role system reaches the model as instructions do."""
        if "instructions" in self._fields and any(
            isinstance(item, MessageItem) and item.role == "system" for item in items
        ):
            text = "the maker of this call's secret has fixed its instructions: messages of the role system are refused"
            raise ClientError(text, LOCKED, param)


def _is_within(path: str, locked: str) -> bool:
    """Whether a lock is on this path, on one above it, or on a part of it, which can't be locked alone."""
    return path == locked or path.startswith(f"{locked}.") or locked.startswith(f"{path}.")


def _error(path: str, param: str) -> ClientError:
    text = f"the maker of this call's secret has fixed {path}: leave it out, nothing of this event was applied"
    return ClientError(text, LOCKED, param)
