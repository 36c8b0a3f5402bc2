"""What is known of a call over WebSocket from its beginning, and where its output goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from antiphon.runtime.owned_calls.turn_latency import Told
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame

Event = dict[str, Any]


@dataclass
class CallState:
    """What is known of a call from its beginning. Owner: the `WebSocketCall`."""

    session_id: str
    agent: str
    input_rate: int
    """Hz at which the agent wants the client's audio."""
    creator: str = ""
    """Which credential made the call: as in `OpenRequest.creator`."""
    session_settings: Event = field(default_factory=dict)
    locked_settings: list[str] = field(default_factory=list)
    """Those that the client may not change, as in the claim."""
    model: str = ""
    """As the client has named it."""
    own_events: bool = False
    """The client takes events that are not of the published protocol (`antiphon.latency`)."""
    listens_to: str = ""
    """Empty: each of these calls has an agent."""
    call_trace: dict[str, Any] = field(default_factory=dict)
    """Root span of the call, as `messages.CallTrace`; empty: it is not traced."""
    began_at: float = 0.0
    """Unix time of the request."""


class CallOutput(Protocol):
    """Where a call's output goes. None of these may block."""

    def audio(self, frame: AudioFrame) -> None: ...
    def event(self, event: messages.Message) -> None: ...
    def message(self, message: messages.DataMessage) -> str:
        """Pass a client's event on to the agent; the text of why it is not, or empty."""

    def move(self, agent: str) -> None:
        """What follows is for another agent."""

    def turn(self, told: Told) -> None:
        """A turn is known better: its first sample was sent, or it has ended."""

    def wake(self) -> None:
        """Something of the agent has come: `poll` again soon."""

    def to_client(self, text: str) -> None: ...
    def close(self, reason: messages.EndReason, cause: str) -> None:
        """The call has ended: close the WebSocket behind what waits for it."""
