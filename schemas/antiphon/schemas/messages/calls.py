"""What becomes of calls, told to operators: listings, the parts of a turn, time lines, ended calls, webhooks.

The owner of a call (its transceiver, or signaling for one over WebSocket) writes all of them. No figure names a
client's address.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from antiphon.schemas.messages.events import EndReason
from antiphon.schemas.messages.message import Message

MAX_LISTED: Final = 500
"""Calls in one `CallList`: about 300 KB."""
MAX_WORDS: Final = 4000
"""Characters of one `TimelineWords`."""

Milliseconds = Annotated[float, Field(ge=0, le=600_000)]
_Count = Annotated[int, Field(ge=0, lt=1 << 53)]


class _Part(BaseModel):
    """Base of what stands inside messages: immutable, and unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class CallTrace(_Part):
    """The root span `call` of a call. Signaling makes its ids with the offer; the call's owner ends it."""

    parent: str = Field(pattern=r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
    """Ids and flags of the root span itself, as a W3C `traceparent`: all other spans of the call descend from it."""
    client: str = Field(default="", pattern=r"^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?$")
    """The `traceparent` that the client's request had, the parent of the root span; empty: it had none."""
    began: float = Field(ge=0)
    """Unix time of the offer."""


class TurnParts(_Part):
    """Where the time of one turn went, ms: from the caller's last sample to the first sample of the answer, in order.

    None: not measured. What is measured is contiguous, so that the sum is the wait that the caller had.
    """

    uplink: Milliseconds | None = None
    """Network: half the round trip, the caller's last sample on its way."""
    receive: Milliseconds | None = None
    """Relay, jitter buffer and decoder of the transceiver, and NATS to the agent."""
    end_of_turn: Milliseconds | None = None
    """Silence until the turn was taken as over: the turn settings."""
    stt: Milliseconds | None = None
    """From there until the final transcript."""
    agent: Milliseconds | None = None
    """From there until the first clause that can be spoken: chat server, tools or plug-in."""
    tts: Milliseconds | None = None
    """From there until its first frame."""
    publish: Milliseconds | None = None
    """From there until the frame was in the transceiver's queue."""
    playout: Milliseconds | None = None
    """In that queue."""
    send: Milliseconds | None = None
    """Encode, encrypt and send."""
    relay: Milliseconds | None = None
    """In the relay."""
    downlink: Milliseconds | None = None
    """Network: half the round trip."""
    client: Milliseconds | None = None
    """The client's jitter buffer, where it reports that."""


TURN_PARTS: Final = tuple(TurnParts.model_fields)
"""Their names in order."""

TurnEnd = Literal["completed", "interrupted", "failed", "session_closed"]


class Turn(_Part):
    """One turn as it ended or, while it is spoken, as it is known so far."""

    number: int = Field(ge=1)
    """Of the call, from 1."""
    generation: int = Field(ge=0)
    """Of the speech that answers it."""
    began: float = Field(ge=0)
    """Unix time at which the caller's last sample was spoken, by the clock of the call's owner."""
    parts: TurnParts = TurnParts()
    """As far as they are known."""
    end: TurnEnd | None = None
    """None while it is spoken."""
    tools: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=32)] = Field(default_factory=list)
    """Names of the tools that ran."""
    trace: str = Field(default="", max_length=64)
    """`traceparent` of its span."""


class ClientStatistics(_Part):
    """Digest of a browser's `getStats`, as `antiphon.client_stats` brings it; None: the client can't tell."""

    round_trip_ms: Milliseconds | None = None
    """Of its connectivity checks."""
    jitter_ms: Milliseconds | None = None
    """Of the audio that it receives (RFC 3550 section 6.4.1)."""
    jitter_buffer_ms: Milliseconds | None = None
    """Mean time of a sample in its jitter buffer since the digest before."""
    packets_received: _Count | None = None
    """Since the call's start."""
    packets_lost: int | None = Field(default=None, ge=-(1 << 31), lt=1 << 53)
    """Since the call's start; negative where more came twice than was lost (RFC 3550 section 6.4.1)."""
    samples_received: _Count | None = None
    """Since the call's start."""
    samples_concealed: _Count | None = None
    """Of these, samples that it made up."""
    protocol: Literal["udp", "tcp"] | None = None
    """Of its path to the relay."""
    candidate: Literal["host", "srflx", "prflx", "relay"] | None = None
    """Type of its own candidate."""
    client: str = Field(default="", max_length=64)
    """Name and version, such as `antiphon.js 1.0`."""


class CallSummary(_Part):
    """One call at one moment."""

    session_id: str
    """`rtc_` and 24 letters and digits."""
    agent: str
    """That has the call."""
    instance: str = ""
    """Of the agent."""
    kind: Literal["webrtc", "websocket"] = "webrtc"
    """How its client is connected."""
    state: Literal["connecting", "running", "suspect", "ended"]
    """`suspect`: the client has been silent for some seconds."""
    began: float
    """Unix time of the offer."""
    region: str = ""
    """Of its owner; empty: there is one region only."""
    cluster: int = 0
    """Of its owner; 0 for a call over WebSocket."""
    slot: int = 0
    """Of its owner; 0 for a call over WebSocket."""
    owner: str = ""
    """Id of the owner's process in the services register."""
    relay: str = ""
    """Name of the relay that the client's packets come through."""
    path: Literal["", "udp", "tcp", "backbone"] = ""
    """How they come: `backbone` for those through a relay of another cluster; empty before the first."""
    round_trip_ms: float | None = None
    """As in `Statistics`."""
    packets_lost: int = 0
    """Of the client's packets."""
    packets_received: int = 0
    """Likewise."""
    remote_packets_lost: int | None = None
    """Of ours, as the client reports it."""
    jitter_ms: float = 0.0
    """As in `Statistics`."""
    frames_concealed: int = 0
    """As in `Statistics`."""
    lateness_ms: float = 0.0
    """Of the owner's timers, 99th percentile."""
    turns: int = 0
    """That its agent has reported."""
    last_turn: Turn | None = None
    """The last of them."""
    moves: int = 0
    """How often another process has taken it over."""
    trace_id: str = ""
    """Of its trace; empty: not traced."""
    client: ClientStatistics | None = None
    """The last digest of its client."""


class ListCalls(Message):
    """Asks every owner of calls for those that run."""

    session_ids: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=MAX_LISTED)
    """Only these; empty: all."""
    agent: str = Field(default="", max_length=64)
    """Only those with this agent; empty: with any."""
    after: str = Field(default="", max_length=64)
    """Only those whose id is greater: the last one of the page before."""
    limit: int = Field(default=MAX_LISTED, ge=1, le=MAX_LISTED)
    """Calls in the answer at most."""


class CallList(Message):
    """One owner's answer: its calls in the order of their ids, as many as were asked for and as one message holds."""

    owner: str
    """Its id in the services register."""
    region: str = ""
    """Of the owner."""
    cluster: int = 0
    """Of the owner."""
    slot: int = 0
    """Of the owner; 0 for calls over WebSocket."""
    total: int = 0
    """Of its calls that were asked for, those of this page and of all that follow."""
    calls: list[CallSummary] = Field(default_factory=list, max_length=MAX_LISTED)
    """The page."""


class Drain(Message):
    """Asks one process to stop as on SIGTERM: it hands its calls over and ends."""


# ---- a call's time line: kept in `STREAM_TIMELINES` ------------------------------------------------------


class TimelineEvent(Message):
    """What happened to the call: each event of its session but levels, keys, playouts and statistics."""

    type: Literal["event"] = "event"
    at: float
    """Unix time, as in all entries."""
    name: str = Field(max_length=64)
    """`type` of the event; `moved` when another process goes on with the call."""
    detail: dict[str, Any] = Field(default_factory=dict)
    """Its other fields."""


class TimelineTurn(Message):
    """A turn has ended, or its first sample was sent."""

    type: Literal["turn"] = "turn"
    at: float
    """Unix time."""
    turn: Turn
    """As it is known then."""


class TimelineStatistics(Message):
    """How the packets go, every 5 s."""

    type: Literal["statistics"] = "statistics"
    at: float
    """Unix time."""
    round_trip_ms: float | None = None
    """As in `Statistics`."""
    jitter_ms: float = 0.0
    """As in `Statistics`."""
    packets_received: int = 0
    """As in `Statistics`."""
    packets_lost: int = 0
    """As in `Statistics`."""
    remote_packets_lost: int | None = None
    """As in `Statistics`."""
    frames_concealed: int = 0
    """As in `Statistics`."""
    lateness_ms: float = 0.0
    """As in `CallSummary`."""
    client: ClientStatistics | None = None
    """The last digest of its client, if a new one has come."""


class TimelineWords(Message):
    """What was said. Only where the retention setting allows it."""

    type: Literal["words"] = "words"
    at: float
    """Unix time at which the words were complete."""
    side: Literal["caller", "agent"]
    """Of the conversation."""
    item: str = Field(max_length=64)
    """Id of the conversation item."""
    text: str = Field(max_length=MAX_WORDS)
    """Of the agent: what was played of it."""
    complete: bool = True
    """False: the answer was interrupted here."""


TimelineEntry = Annotated[
    TimelineEvent | TimelineTurn | TimelineStatistics | TimelineWords, Field(discriminator="type")
]
TIMELINE_ENTRY: Final[TypeAdapter[Any]] = TypeAdapter(TimelineEntry)


# ---- ended calls and webhooks ------------------------------------------------------------------------------


class CallEnded(Message):
    """A call that has ended, as `STREAM_ENDED_CALLS` keeps it."""

    call: CallSummary
    """At its end."""
    ended: float
    """Unix time."""
    reason: EndReason
    """As in `Ended`."""
    cause: str = ""
    """As in `Ended`."""


class Webhook(Message):
    """One notice for the operator's own systems. Signaling delivers it at least once."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """The same in every repetition."""
    type: Literal["call.started", "call.ended", "call.failed", "call.person_asked"]
    """`call.failed`: it ended before the client's first audio, or by a failure of ours. `call.person_asked`: its agent
    wants a person to take it over."""
    at: float
    """Unix time."""
    call: CallSummary
    """At that time."""
    reason: EndReason | None = None
    """None: it has not ended."""
    cause: str = ""
    """As in `Ended`."""
    summary: str = Field(default="", max_length=4000)
    """Of `call.person_asked`: what its agent says to that person."""
