"""An agent takes a session, holds it by a lease, and publishes beats while it lives."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from antiphon.schemas.messages.message import AnyMessage, AudioRate, LockedPaths, Message

CLAIM_VERSION: Final = 2
"""Version 1 meant session subjects without the agent's name: an agent that knows no others would hear silence, so it
has to refuse the claim."""


MAX_HANDED_BYTES: Final = 16 * 1024
"""Of `HandedCall.items` as JSON: they are kept with the lease."""


class HandedCall(BaseModel):
    """What the agent that had a call gives to the one that gets it. A part of messages."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    agent: str = Field(default="", max_length=64)
    """The agent that had the call; its owner fills it in, whatever stands here. Empty: none had."""
    summary: str = Field(default="", max_length=4000)
    """What the next agent should know, in words."""
    items: list[dict[str, Any]] = Field(default_factory=list, max_length=500)
    """The conversation as played, or its end: items of the realtime protocol, at most `MAX_HANDED_BYTES`."""
    silent: bool = False
    """The next agent does not greet: it answers what the caller has said last, as if it had been there."""


class Claim(AnyMessage):
    """A transceiver asks for an agent to take a session: on `agent_claim`, then by name on `agent_claim_of`.

    `agent` and `session_id` name the subjects of the session: subscribe to them, then accept.
    """

    version: Literal[2] = CLAIM_VERSION
    """Unlike that of all other messages."""
    session_id: str
    """`rtc_` and 24 letters and digits."""
    agent: str
    """The agent's name."""
    session: dict[str, Any] = Field(default_factory=dict)
    """Session settings of the client, unread."""
    locked: LockedPaths = Field(default_factory=list)
    """Paths in `session` that the client's secret fixes: the agent refuses to change them."""
    expires_at: float = Field(default=0.0, ge=0)
    """Unix time after which the transceiver no longer waits for an acceptance, s; 0: unknown."""
    handed: HandedCall | None = None
    """The call comes from another agent; None: it has just begun."""


class ClaimReply(Message):
    """An agent instance takes the session, or refuses it."""

    accepted: bool
    """It takes the session."""
    input_rate: AudioRate = 16000
    """Hz at which this agent wants the caller's audio."""
    instance: str = ""
    """Name of the agent's process, unlike that of every other process."""
    message: str = ""
    """Why it refuses, for people."""
    retry_after: int = Field(default=0, ge=0, le=3600)
    """It refuses because it has too much to do: seconds after which another try makes sense; 0: not known."""


class Lease(Message):
    """Which instance has a session, kept in `BUCKET_LEASES`, with what another one needs to continue it."""

    session_id: str
    """`rtc_` and 24 letters and digits."""
    agent: str
    """The agent's name."""
    instance: str
    """The instance that has the session; empty: the last one has left, and any other may take it."""
    input_rate: AudioRate = 16000
    """Hz of the caller's audio."""
    session: dict[str, Any] = Field(default_factory=dict)
    """As in the claim."""
    locked: LockedPaths = Field(default_factory=list)
    """As in the claim."""
    handed: HandedCall | None = None
    """As in the claim."""
    takeovers: int = Field(default=0, ge=0)
    """How often another instance took it over."""
    deaths: int = Field(default=0, ge=0)
    """How often its holder had died before, or failed at taking it over. Holders that left in order do not count."""
    started_at: float = 0.0
    """Unix time of the claim, s."""
    trace: dict[str, str] = Field(default_factory=dict)
    """Trace context of the claim, as NATS headers."""
    shadow_of: str = ""
    """Name of the agent that serves the call; the instance of this lease only listens. Empty: it serves the call."""
    state: dict[str, Any] = Field(default_factory=dict)
    """What the agent wants to remember, such as the conversation so far; see `leases.MAX_STATE_BYTES`."""
    sealed: str = ""
    """`session` and `state`, encrypted (`lease_crypto`); these two are then empty. Empty: they are in clear."""


class AgentBeat(Message):
    """An agent instance lives: on `agent_beat`, four times a second."""

    instance: str
    """As in its leases."""
    sessions: int = Field(default=0, ge=0)
    """Sessions that it has."""
    capacity: int = Field(default=0, ge=0)
    """Sessions that it takes at once."""
    leaving: bool = False
    """The last beat of an orderly stop: its leases are free now."""
    bridge: bool = False
    """It is a bridge, which takes calls in the name of several agents. False: a plug-in that has the name itself."""
