"""What the transceiver tells everybody about a session."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from antiphon.schemas.messages.message import AudioRate, Message


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
    packets_refused: int = 0
    """SRTP and SRTCP packets of the client's address that were malformed or failed authentication. This one and the two
    below count what reached the process that has the call now."""
    packets_replayed: int = 0
    """SRTP and SRTCP packets that came twice: doubled by the network, sent again without need, or replayed."""
    records_refused: int = 0
    """DTLS records that failed authentication, came twice, or were late ones of the handshake."""


class ClaimExpired(Message):
    """An agent instance has accepted after its time: it does not have the session, and is to drop it."""

    type: Literal["claim_expired"] = "claim_expired"
    instance: str


class SessionError(Message):
    """Something sent for this session could not be used."""

    type: Literal["error"] = "error"
    message: str


EndReason = Literal[
    "hang_up",
    "client_closed",
    "client_vanished",
    "agent_lost",
    "setup_timeout",
    "dtls_failed",
    "draining",
    "internal",
]
"""Why a session is over, as everybody is told."""


class Ended(Message):
    """The session is over; nothing follows."""

    type: Literal["ended"] = "ended"
    reason: EndReason
    cause: str = ""
    """With `hang_up`: what was given as its reason."""
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
    | ClaimExpired
    | SessionError
    | Ended,
    Field(discriminator="type"),
]

SESSION_EVENT: Final[TypeAdapter[Any]] = TypeAdapter(SessionEvent)
