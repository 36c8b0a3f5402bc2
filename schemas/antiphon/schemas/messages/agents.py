"""An agent takes a session, holds it by a lease, and says that it lives."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from antiphon.schemas.messages.message import AudioRate, Message


class Claim(Message):
    """A transceiver asks for an agent to take a session: on `agent_claim`, then by name on `agent_claim_of`."""

    session_id: str
    agent: str
    session: dict[str, Any] = Field(default_factory=dict)
    expires_at: float = Field(default=0.0, ge=0)
    """Unix time after which nobody waits for an acceptance any more, s; 0: not said."""


class ClaimReply(Message):
    """An agent instance takes the session, or not."""

    accepted: bool
    input_rate: AudioRate = 16000
    """Hz at which this agent wants the caller's audio."""
    instance: str = ""
    message: str = ""
    """Why not, when not accepted."""


class Lease(Message):
    """Who holds a session, kept in `BUCKET_LEASES`; what another instance of the agent needs to go on with it."""

    session_id: str
    agent: str
    instance: str
    """The holder; empty: its last holder has left and anybody may take it."""
    input_rate: AudioRate = 16000
    session: dict[str, Any] = Field(default_factory=dict)
    """As in the claim."""
    takeovers: int = Field(default=0, ge=0)
    """How often it changed hands."""
    started_at: float = 0.0
    """Unix time of the claim, s."""
    trace: dict[str, str] = Field(default_factory=dict)
    """Trace context of the claim."""
    shadow_of: str = ""
    """The holder only listens to the session, which is that agent's."""
    state: dict[str, Any] = Field(default_factory=dict)
    """What the agent wants to remember, such as the conversation so far; see `leases.MAX_STATE_BYTES`."""


class AgentBeat(Message):
    """An agent instance lives: on `agent_beat`, four times a second."""

    instance: str
    sessions: int = Field(default=0, ge=0)
    capacity: int = Field(default=0, ge=0)
    leaving: bool = False
    """The last beat of an orderly stop: its leases are free now."""
