"""The events of a session: the transceiver's as they are, and those that the SDK adds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from antiphon.schemas.messages import (
    AudioLevel as AudioLevel,
)
from antiphon.schemas.messages import (
    ChannelClosed as ChannelClosed,
)
from antiphon.schemas.messages import (
    ChannelOpened as ChannelOpened,
)
from antiphon.schemas.messages import (
    Connected as Connected,
)
from antiphon.schemas.messages import (
    DirectionChanged as DirectionChanged,
)
from antiphon.schemas.messages import (
    Draining as Draining,
)
from antiphon.schemas.messages import (
    Ended as Ended,
)
from antiphon.schemas.messages import (
    Flushed as Flushed,
)
from antiphon.schemas.messages import (
    MediaStarted as MediaStarted,
)
from antiphon.schemas.messages import (
    PersonAsked as PersonAsked,
)
from antiphon.schemas.messages import (
    Playout as Playout,
)
from antiphon.schemas.messages import (
    PlayoutOverflow as PlayoutOverflow,
)
from antiphon.schemas.messages import (
    SessionError as SessionError,
)
from antiphon.schemas.messages import (
    Statistics as Statistics,
)
from antiphon.schemas.messages import (
    Suspect as Suspect,
)
from antiphon.schemas.messages import (
    TelephoneEvent as TelephoneEvent,
)
from antiphon.schemas.messages import (
    TransferFailed as TransferFailed,
)
from antiphon.schemas.messages import (
    Transferred as Transferred,
)


@dataclass(frozen=True)
class SpeechStarted:
    """The caller has begun to speak, by loudness (`antiphon.agent.energy_vad`)."""

    at: float
    """Seconds since the session's start, in the caller's audio."""


@dataclass(frozen=True)
class SpeechStopped:
    """The caller has been silent for a while."""

    at: float
    """Seconds since the session's start at which the speech was over."""
    seconds: float
    """How long it was."""


@dataclass(frozen=True)
class DataReceived:
    """A message of the client on a data channel."""

    channel: str
    """The channel's label, such as `oai-events`."""
    payload: str | bytes
    """Text as text, binary messages as bytes."""

    def json(self) -> Any:
        """The payload as JSON; ValueError if it is none."""
        return json.loads(self.payload)


@dataclass(frozen=True)
class TextTyped:
    """The client has typed a message, such as in the page's text field. `DataReceived` comes as well."""

    text: str
    """Without blanks around it, 64 Ki characters at most."""


@dataclass(frozen=True)
class ToolResult:
    """A tool has answered."""

    call_id: str
    """What `call_tool` was given, or returned."""
    name: str
    """The tool."""
    output: Any
    """What the function returned."""
    seconds: float
    """How long it took."""


@dataclass(frozen=True)
class ToolFailed:
    """A tool has not: wrong arguments, an exception, too slow."""

    call_id: str
    """What `call_tool` was given, or returned."""
    name: str
    """The tool."""
    error: str
    """Why, in words that a language model may read."""


@dataclass(frozen=True)
class TakenOver:
    """The first event of a session whose agent process has died: `session.state` holds what that one saved."""

    takeovers: int
    """How often the session has changed hands."""


@dataclass(frozen=True)
class Lagged:
    """The function is slower than the events come; so many were dropped, the oldest first."""

    dropped: int
    """Events."""


Event = (
    Connected
    | MediaStarted
    | ChannelOpened
    | ChannelClosed
    | Playout
    | Flushed
    | PlayoutOverflow
    | Suspect
    | DirectionChanged
    | Draining
    | TelephoneEvent
    | TransferFailed
    | Transferred
    | PersonAsked
    | AudioLevel
    | Statistics
    | SessionError
    | Ended
    | SpeechStarted
    | SpeechStopped
    | DataReceived
    | TextTyped
    | ToolResult
    | ToolFailed
    | TakenOver
    | Lagged
)
"""What `session.events()` gives, for `match`."""
