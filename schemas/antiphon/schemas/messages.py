"""Every control message on NATS: pydantic models in JSON, each with its schema version.

Fields that a reader does not know are ignored, so that a version can grow optional fields; a version that
a reader does not know is refused. `encode` and `decode` are the only way in and out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from antiphon.schemas.addresses import parse_address
from antiphon.schemas.errors import MalformedError

MESSAGE_VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 512 * 1024
"""A control message above this is refused unread (an SDP offer is below 64 KiB)."""

AudioRate = Literal[8000, 16000, 24000, 48000]
M = TypeVar("M", bound="Message")
T = TypeVar("T")


class Message(BaseModel):
    """What all messages share."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = MESSAGE_VERSION


def _addresses(value: list[str]) -> list[str]:
    return [str(parse_address(text)) for text in value]


# ---- who is there --------------------------------------------------------------------------------


class TransceiverAnnouncement(Message):
    """A transceiver says where it is and how it fares; each second and on change."""

    cluster: int = Field(ge=0, lt=1 << 12)
    slot: int = Field(ge=0, lt=1 << 16)
    epoch: int = Field(ge=0, lt=1 << 16)
    tunnel_address: str
    """Where relays send tunnel packets, and where its tunnel packets come from: `ip:port`."""
    state: Literal["ready", "draining"]
    sessions: int = Field(ge=0)
    capacity: int = Field(ge=0)
    lateness_ms: float = Field(ge=0, default=0.0)
    """p99 of due time against done time over the last seconds."""
    holder: str = Field(default="", max_length=64)
    """Random identity of the process: it may speak for several slots, its own and those it has taken over."""
    lifeline: str | None = None
    """TCP `ip:port` where it says its `holder` and holds the line: a line that breaks tells of its death at once."""

    @field_validator("tunnel_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(parse_address(value))


class TakeOver(Message):
    """A transceiver that ends asks another one to go on with its sessions, all of them written down."""

    cluster: int = Field(ge=0, lt=1 << 12)
    slot: int = Field(ge=0, lt=1 << 16)
    epoch: int = Field(ge=0, lt=1 << 16)
    holder: str = Field(max_length=64)
    """Who asks."""


class Adopt(Message):
    """A transceiver that has taken over another's seat asks a third one to go on with some of its sessions.

    Who does moves their checkpoints to its own seat, and leaves word where they were.
    """

    cluster: int = Field(ge=0, lt=1 << 12)
    slot: int = Field(ge=0, lt=1 << 16)
    epoch: int = Field(ge=0, lt=1 << 16)
    sessions: list[str] = Field(min_length=1, max_length=10_000)


class RelayAnnouncement(Message):
    """A relay says under which addresses clients reach it and where its tunnel packets come from."""

    name: str
    region: str = "local"
    public_addresses: list[str] = Field(min_length=1, max_length=16)
    """UDP addresses for the candidates of an answer, `ip:port`."""
    tunnel_addresses: list[str] = Field(min_length=1, max_length=256)
    """Source addresses of its tunnel sockets, one per worker: transceivers accept no others."""
    tcp_addresses: list[str] = Field(default_factory=list, max_length=16)
    """ICE-TCP addresses for candidates of type passive (RFC 6544), `ip:port`; empty: none offered."""
    state: Literal["ready", "draining"] = "ready"

    _are_addresses = field_validator("public_addresses", "tunnel_addresses", "tcp_addresses")(_addresses)


class RelayStatistics(Message):
    """A relay's counters since its start, without any client's address."""

    name: str
    path: Literal["batched", "portable", "none"]
    """The packet loop that runs; none while there is no worker."""
    workers: int = 0
    """Forwarding processes that answered; everything below is their sum, except `routes`."""
    packets_to_transceivers: int = 0
    bytes_to_transceivers: int = 0
    """Octets of the clients' datagrams, the tunnel header not counted; likewise below."""
    packets_to_clients: int = 0
    bytes_to_clients: int = 0
    hellos_sent: int = 0
    flows_confirmed: int = 0
    flows_half_open: int = 0
    flows_found: int = 0
    """Flows learned by asking on the bus."""
    routes: int = 0
    """Transceivers it would forward to."""
    drops: dict[str, int] = Field(default_factory=dict)
    """Packets that went nowhere, by reason."""


class SlotClaim(Message):
    """Who holds a transceiver slot, kept in `BUCKET_SLOTS` so that an epoch is never used twice."""

    epoch: int = Field(ge=0, lt=1 << 16)
    holder: str
    """Random identity of the process that took the slot."""
    claimed_at: float
    """Unix time, s."""


# ---- placing a call ------------------------------------------------------------------------------


class OpenRequest(Message):
    """Signaling asks a transceiver to open a session."""

    offer: str = Field(max_length=256 * 1024)
    """The client's SDP offer, as it came."""
    agent: str = Field(default="-", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Unread where `session_id` is set."""
    session: dict[str, Any] = Field(default_factory=dict)
    """Session settings of the OpenAI realtime protocol, handed to the agent unread."""
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
    code: Literal["full", "draining", "bad_offer", "no_audio", "no_opus", "no_agent", "no_session", "internal"]
    message: str
    """For the person who reads the error: names the thing, the value and the way out."""


OpenReply = Annotated[Opened | Refused, Field(discriminator="type")]


class Claim(Message):
    """A transceiver asks for an agent to take a session (request to `agent_claim`, queue group)."""

    session_id: str
    agent: str
    session: dict[str, Any] = Field(default_factory=dict)


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
    state: dict[str, Any] = Field(default_factory=dict)
    """What the agent wants to remember, such as the conversation so far; see `leases.MAX_STATE_BYTES`."""


class AgentBeat(Message):
    """An agent instance lives: on `agent_beat`, four times a second."""

    instance: str
    sessions: int = Field(default=0, ge=0)
    capacity: int = Field(default=0, ge=0)
    leaving: bool = False
    """The last beat of an orderly stop: its leases are free now."""


# ---- control: agent, bridge or signaling to the transceiver ----------------------------------------


class Flush(Message):
    """Stop speaking now: fade out within 20 ms, drop all queued speech below `generation`."""

    type: Literal["flush"] = "flush"
    generation: int = Field(ge=0)
    """The first generation that may be heard again."""


class Pause(Message):
    """Hold the speech at the exact sample."""

    type: Literal["pause"] = "pause"


class Resume(Message):
    """Go on from the exact sample at which `Pause` held."""

    type: Literal["resume"] = "resume"


class HangUp(Message):
    """End the session."""

    type: Literal["hang_up"] = "hang_up"
    reason: str = "hang_up"


Control = Annotated[Flush | Pause | Resume | HangUp, Field(discriminator="type")]


class ControlReply(Message):
    """The transceiver's answer to a control message."""

    ok: bool
    message: str = ""


# ---- events: the transceiver to everybody ----------------------------------------------------------


class Connected(Message):
    """DTLS is done: media and data may flow."""

    type: Literal["connected"] = "connected"
    setup_ms: float
    """From the open request to here."""


class MediaStarted(Message):
    """The first audio packet of the caller was decrypted."""

    type: Literal["media_started"] = "media_started"
    setup_ms: float


class Playout(Message):
    """Where the speech is: at its start, every 200 ms while it plays, and at its end."""

    type: Literal["playout"] = "playout"
    generation: int
    played_samples: int
    """Samples of this generation that were sent, at `rate`."""
    rate: AudioRate
    queued_ms: int
    """Speech that waits in the transceiver."""
    state: Literal["started", "playing", "paused", "ended"]
    """`ended`: the frame flagged end of utterance was sent, or the queue has run dry after it."""


class Flushed(Message):
    """A flush took effect; the last sample that was sent."""

    type: Literal["flushed"] = "flushed"
    generation: int
    """The generation that was interrupted."""
    played_samples: int
    rate: AudioRate
    dropped_ms: int


class PlayoutOverflow(Message):
    """The speech queue is full: frames were refused. Slow down by the `queued_ms` of `Playout`."""

    type: Literal["playout_overflow"] = "playout_overflow"
    dropped_frames: int


class ChannelOpened(Message):
    """The client opened a data channel."""

    type: Literal["channel_opened"] = "channel_opened"
    channel: str


class Suspect(Message):
    """Nothing authentic has come from the client for 5 s, or (`silent_s` 0) it is heard again."""

    type: Literal["suspect"] = "suspect"
    silent_s: float


class TakenOver(Message):
    """Another transceiver process goes on with the session: its own was killed, or is to end.

    After a kill (`handed_over` false) speech that was queued is lost; a reply in progress is told as `ended`.
    """

    type: Literal["taken_over"] = "taken_over"
    handed_over: bool
    checkpoint_age_ms: float
    """How old the state is that it goes on from."""


class Draining(Message):
    """The transceiver is to stop: the session ends by itself or is ended after `seconds`."""

    type: Literal["draining"] = "draining"
    seconds: float


class TelephoneEvent(Message):
    """A key of the caller's telephone (RFC 4733), once per key press, when it is over."""

    type: Literal["telephone_event"] = "telephone_event"
    event: int = Field(ge=0, le=255)
    """0-9 are the digits, 10 `*`, 11 `#`, 12-15 A to D."""
    duration_ms: float

    @property
    def key(self) -> str:
        """What stands on the key; empty for other events (16 is a hook flash)."""
        return "0123456789*#ABCD"[self.event : self.event + 1]


class AudioLevel(Message):
    """How loud the caller's last 200 ms were by the client's own measure (RFC 6464), each 200 ms."""

    type: Literal["audio_level"] = "audio_level"
    level_dbov: int = Field(ge=-127, le=0)
    """The loudest packet."""
    voice: bool
    """The client took any of it for speech."""


class Statistics(Message):
    """Counters of a call since its start."""

    type: Literal["statistics"] = "statistics"
    packets_received: int
    packets_lost: int
    packets_late: int
    frames_concealed: int
    packets_sent: int
    jitter_ms: float
    round_trip_ms: float | None = None
    remote_packets_lost: int | None = None


class SessionError(Message):
    """Something sent for this session could not be used."""

    type: Literal["error"] = "error"
    message: str


class Ended(Message):
    """The session is over; nothing follows."""

    type: Literal["ended"] = "ended"
    reason: Literal[
        "hang_up", "client_closed", "client_vanished", "setup_timeout", "dtls_failed", "draining", "internal"
    ]
    statistics: Statistics | None = None


SessionEvent = Annotated[
    Connected
    | MediaStarted
    | Playout
    | Flushed
    | PlayoutOverflow
    | ChannelOpened
    | Suspect
    | TakenOver
    | Draining
    | TelephoneEvent
    | AudioLevel
    | Statistics
    | SessionError
    | Ended,
    Field(discriminator="type"),
]


# ---- data channel ----------------------------------------------------------------------------------


class DataMessage(Message):
    """One message of a data channel: text, or base64 of bytes."""

    channel: str = "oai-events"
    text: str | None = None
    base64: str | None = None

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
        if isinstance(payload, str):
            return cls(channel=channel, text=payload)
        return cls(channel=channel, base64=base64.b64encode(payload).decode())


# ---- relay asks ------------------------------------------------------------------------------------


class FlowFind(Message):
    """A relay asks whose client this is."""

    client: str
    """`ip:port`."""
    tcp: bool = False


class FlowOwner(Message):
    """The owner's answer (silence from everybody else)."""

    cluster: int
    slot: int
    epoch: int


# ---- in and out ------------------------------------------------------------------------------------

OPEN_REPLY: Final[TypeAdapter[Opened | Refused]] = TypeAdapter(OpenReply)
CONTROL: Final[TypeAdapter[Flush | Pause | Resume | HangUp]] = TypeAdapter(Control)
SESSION_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(SessionEvent)

MESSAGES: Final[dict[str, TypeAdapter[Any]]] = {
    **{
        model.__name__: TypeAdapter(model)
        for model in (
            TransceiverAnnouncement,
            RelayAnnouncement,
            RelayStatistics,
            SlotClaim,
            TakeOver,
            Adopt,
            OpenRequest,
            Claim,
            ClaimReply,
            Lease,
            AgentBeat,
            ControlReply,
            DataMessage,
            FlowFind,
            FlowOwner,
        )
    },
    "OpenReply": OPEN_REPLY,
    "Control": CONTROL,
    "SessionEvent": SESSION_EVENT,
}
"""Every message by name: what `antiphon schema export` writes and the property tests go through."""


def encode(message: Message) -> bytes:
    """The message as JSON; fields that are None are left out."""
    return message.model_dump_json(exclude_none=True).encode()


def decode(data: bytes, model: type[M]) -> M:
    """Read one model; `MalformedError` says which field is wrong."""
    return _read(data, model.__name__, model.model_validate_json)


def decode_any(data: bytes, adapter: TypeAdapter[T], name: str) -> T:
    """Read one of a union: `OPEN_REPLY`, `CONTROL`, `SESSION_EVENT`."""
    return _read(data, name, adapter.validate_json)


def _read(data: bytes, name: str, validate: Callable[[bytes], T]) -> T:
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedError(f"{name} of {len(data)} bytes is refused: at most {MAX_MESSAGE_BYTES} are read")
    try:
        return validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise MalformedError(f"{name} is malformed at {where}: {first['msg']}") from None
