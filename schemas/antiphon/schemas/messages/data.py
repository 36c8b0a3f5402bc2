"""A message of a session's data channel, on its way between the client and the agent."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages.message import Message

EVENTS_CHANNEL: Final = "oai-events"
"""Label of the data channel on which events of the realtime protocol travel, as OpenAI's clients name it."""


class DataMessage(Message):
    """One message of a data channel: text, or base64 of bytes."""

    channel: str = EVENTS_CHANNEL
    """Label of the data channel."""
    text: str | None = None
    """The message, if it is text."""
    base64: str | None = None
    """The message, if it is bytes."""

    def payload(self) -> str | bytes:
        """What the channel carries; `MalformedError` if the base64 is none."""
        if self.text is not None:
            return self.text
        try:
            return base64.b64decode(self.base64 or "", validate=True)
        except binascii.Error:
            raise MalformedError("data message: the field base64 does not decode") from None

    @classmethod
    def of(cls, channel: str, payload: str | bytes) -> DataMessage:
        """The message for this payload."""
        if isinstance(payload, str):
            return cls(channel=channel, text=payload)
        return cls(channel=channel, base64=base64.b64encode(payload).decode())
