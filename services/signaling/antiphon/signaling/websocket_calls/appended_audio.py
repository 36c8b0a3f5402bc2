"""The audio in one `input_audio_buffer.append` of a client. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

MAX_APPEND_BYTES: Final = 15 << 20
"""Of the audio in one event, as in the published protocol."""


class AppendError(ValueError):
    """The audio can't be used; `code` is that of the event `error`."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


def appended_audio(event: dict[str, Any]) -> bytes:
    """The octets of the event's audio, in the session's input format; AppendError for what is none, or too much."""
    audio = event.get("audio")
    if not isinstance(audio, str):
        code = "missing_required_parameter" if audio is None else "invalid_type"
        raise AppendError("audio is missing: base64 of the session's input format", code)
    try:
        octets = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise AppendError("audio is no base64", "invalid_value") from None
    if len(octets) > MAX_APPEND_BYTES:
        text = f"audio holds {len(octets)} bytes, at most {MAX_APPEND_BYTES} are taken: send it in parts"
        raise AppendError(text, "invalid_value")
    return octets
