"""Signaling asks a transceiver to open a session, or why one ended, and the answers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from antiphon.schemas.messages.events import EndReason
from antiphon.schemas.messages.message import Message


class OpenRequest(Message):
    """Signaling asks a transceiver to open a session, or to restart ICE in a running one."""

    offer: str = Field(max_length=256 * 1024)
    """The client's SDP offer, unchanged."""
    agent: str = Field(default="-", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Name of the agent that shall take the call. Unread where `session_id` is set."""
    session: dict[str, Any] = Field(default_factory=dict)
    """Session settings of the OpenAI realtime protocol, handed to the agent unread."""
    caller: str = Field(default="", max_length=128)
    """A hash of the API key or secret and the address that the offer came with, the same for all offers of one caller:
    its sessions without a check are bounded. Empty: not known, and not bounded."""
    session_id: str | None = None
    """A running session whose client restarts ICE with this offer: everything but the path stays as it is."""


class Opened(Message):
    """The session exists. The answer names no address: signaling adds the relays' candidates."""

    type: Literal["opened"] = "opened"
    session_id: str
    """`rtc_` and 24 letters and digits: the call's name in URLs and subjects."""
    answer: str
    """SDP with `c=IN IP4 0.0.0.0`, port 9 and no candidates."""


class Refused(Message):
    """No session, and why."""

    type: Literal["refused"] = "refused"
    code: Literal[
        "full", "draining", "bad_offer", "no_audio", "no_opus", "no_agent", "agent_ended", "no_session", "internal"
    ]
    """For programs."""
    message: str
    """For the person who reads the error: names the thing, the value and the way out."""


OpenReply = Annotated[Opened | Refused, Field(discriminator="type")]
OPEN_REPLY: Final[TypeAdapter[Opened | Refused]] = TypeAdapter(OpenReply)


class CallStatus(Message):
    """Whether a session runs, and else why it ended: the answer of the transceiver that has it or had it lately."""

    session_id: str
    """`rtc_` and 24 letters and digits."""
    state: Literal["running", "ended"]
    """An ended session is known for two minutes."""
    connected: bool
    """The client's packets arrived: the DTLS handshake was finished."""
    spoke: bool
    """Speech of the agent was sent to the client."""
    reason: EndReason | None = None
    """As in `Ended`; None while it runs."""
    cause: str = ""
    """As in `Ended`."""
