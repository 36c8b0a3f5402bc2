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
    ItemCreate,
    MessageItem,
    ResponseCreate,
    ResponseParameters,
    SessionUpdate,
)
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.items import InputItem, McpApprovalResponseItem
from antiphon.inference_bridge.realtime_protocol.session_changes import PLACES
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport

JsonObject = dict[str, Any]

LOCKED: Final = "locked_setting"
"""The error's code."""
_FIELDS: Final = {
    "instructions": ("instructions",),
    "output_modalities": ("output_modalities",),
    "tools": ("tools",),
    "tool_choice": ("tool_choice",),
    "max_output_tokens": ("max_output_tokens",),
    "tracing": ("tracing",),
    "truncation": ("truncation",),
    "audio.input.transcription": ("transcription", "language"),
    "audio.input.turn_detection": ("turn_detection",),
    "audio.output.speed": ("speed",),
    "audio.output.voice": ("voice",),
}
"""Path in the session object -> fields of `SessionSettings`; the first has the name of the setting."""
_SUPPORT: Final = SpeechSupport()
_SECRET: Final = ("instructions", "tools")
"""What a maker fixes there is for the model alone: the holder of the secret is not shown it."""


class LockedSettings:
    """What one call's client may not change. A value; owned by the call's session."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        """`paths`: `locked` of the claim, at their place of today or of the first version. Others lock nothing."""
        places = [PLACES.get(path, path) for path in paths]
        self._fields = {
            path: fields for path, fields in _FIELDS.items() if any(_is_within(path, place) for place in places)
        }

    def check(self, event: ClientEvent, settings: SessionSettings, support: SpeechSupport = _SUPPORT) -> None:
        """`ClientError` that names the setting, if the event would change one. `settings`: those in force."""
        match event:
            case SessionUpdate():
                changed = settings.changed(event.session, support)
                for path, fields in self._fields.items():
                    if any(getattr(changed, name) != getattr(settings, name) for name in fields):
                        raise _error(path, event.session.names.get(fields[0], f"session.{path}"))
            case ItemCreate():
                self._check_items([event.item], "item")
            case ResponseCreate(response=ResponseParameters() as asked):
                self._check_response(asked, settings, support)

    def shown(self, session: JsonObject) -> JsonObject:
        """The session as the client may see it: without instructions and tools that are locked."""
        return {name: value for name, value in session.items() if name not in _SECRET or name not in self._fields}

    @property
    def hides_tools(self) -> bool:
        """The client is not shown the tools."""
        return "tools" in self._fields

    def may_see(self, error: ClientError) -> bool:
        """The client may be shown an error about the offer: it is not about what is hidden from it."""
        name = (error.param or "").removeprefix("session.").split(".")[0].split("[")[0]
        return name not in _SECRET or name not in self._fields

    def _check_response(self, asked: ResponseParameters, settings: SessionSettings, support: SpeechSupport) -> None:
        """A response may ask for settings of its own, which would be a way around."""
        own = settings.for_response(asked, support).settings
        for path, (name, *_) in self._fields.items():
            if getattr(own, name) != getattr(settings, name):
                raise _error(path, asked.path(name))
        self._check_items(asked.input or (), "response.input")

    def _check_items(self, items: Iterable[InputItem | McpApprovalResponseItem], param: str) -> None:
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
