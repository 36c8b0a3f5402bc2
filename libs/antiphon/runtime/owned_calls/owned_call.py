"""The call as the components of this package see it: the transceiver's `Session`, or a call over WebSocket.

They need its names, its end, and the methods by which its agent acts on it; none of them needs to know the transport.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, Protocol, TypeVar

from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame

MOVED: Final = "moved"
"""The value of `OwnedCall.ended` when the call goes on in another process: nothing was published."""
Ending = messages.EndReason | Literal["moved"]
Act = messages.Flush | messages.Pause | messages.Resume | messages.HangUp
"""A request that the call itself carries out."""


class CallState(Protocol):
    """What is known of a call from its beginning; the agent changes with a transfer."""

    @property
    def session_id(self) -> str: ...
    @property
    def agent(self) -> str: ...
    @property
    def creator(self) -> str: ...
    @property
    def session_settings(self) -> dict[str, Any]: ...
    @property
    def locked_settings(self) -> list[str]: ...
    @property
    def call_trace(self) -> dict[str, Any]:
        """Its root span, as `messages.CallTrace`; empty: it is not traced."""

    @property
    def listens_to(self) -> str:
        """The call whose two voices its client gets, without an agent; empty: it has an agent."""


class SpeechLimit(Protocol):
    """The call's outgoing speech."""

    @property
    def generation_limit(self) -> int:
        """The highest generation that a flush or a frame may have now."""


class OwnedCall(Protocol):
    """One call. Its owner's table makes and removes it; the methods are called on the event loop only."""

    @property
    def state(self) -> CallState: ...
    @property
    def ended(self) -> Ending | None: ...
    @property
    def cause(self) -> str:
        """The cause that the hang-up request gave."""

    @property
    def sender(self) -> SpeechLimit: ...

    def speak(self, frame: AudioFrame, now: float) -> None:
        """Queue a frame of speech."""

    def send_message(self, channel: str, payload: str | bytes) -> None:
        """Send to the client, on the data channel of that label."""

    def report_error(self, text: str) -> None:
        """Publish that something the agent sent could not be used."""

    def control(self, control: Act, now: float) -> None:
        """Carry out a request; nothing happens after the end."""

    def report_turn(self, report: messages.ReportTurn, now: float) -> None:
        """The agent tells what it knows of a turn's latency: for operators, and nothing of the call changes."""

    def announce(self, event: messages.SessionEvent) -> None:
        """Publish an event that changes nothing of the call."""

    def promise(self, agent: str) -> None:
        """This agent has accepted, and gets the session next."""

    def transfer(self, agent: str, taken: messages.ClaimReply, now: float) -> None:
        """Another agent has accepted: all that follows is for it."""

    def end(self, reason: messages.EndReason, now: float, cause: str = "") -> None:
        """Close towards client and agent. Later calls do nothing."""


CallT = TypeVar("CallT", bound=OwnedCall)
CallT_co = TypeVar("CallT_co", bound=OwnedCall, covariant=True)


class CallTable(Protocol[CallT_co]):
    """The calls of a process that have an agent: the transceiver's `Demux`, or the table of calls over WebSocket."""

    def get(self, session_id: str) -> CallT_co | None: ...
    def __iter__(self) -> Iterator[CallT_co]: ...
