"""What the transceiver reports about a session, on `session_event`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from antiphon.schemas.messages.message import AudioRate, Message


class Connected(Message):
    """DTLS is done: media and data may flow."""

    type: Literal["connected"] = "connected"
    setup_ms: float
    """ms from the open request to the end of the DTLS handshake."""


class MediaStarted(Message):
    """The first audio packet of the caller was decrypted."""

    type: Literal["media_started"] = "media_started"
    setup_ms: float
    """ms from the open request to this packet."""


class Playout(Message):
    """How far the speech was played: at its start, every 200 ms while it plays, and at its end."""

    type: Literal["playout"] = "playout"
    generation: int
    """The generation that plays."""
    played_samples: int
    """Samples of this generation that were sent to the client, at `rate`."""
    rate: AudioRate
    """Hz, as in the agent's frames."""
    queued_ms: int
    """ms of speech that wait in the transceiver, of all generations."""
    state: Literal["started", "playing", "paused", "ended"]
    """`ended`: the frame with the flag end of utterance was sent, or the queue ran empty after it."""


class Flushed(Message):
    """A flush took effect, and how much of the speech was played until then."""

    type: Literal["flushed"] = "flushed"
    generation: int
    """The generation that was interrupted."""
    played_samples: int
    """Samples of that generation that were sent to the client, at `rate`."""
    rate: AudioRate
    """Hz, as in the agent's frames."""
    dropped_ms: int
    """ms of queued speech that the flush dropped."""


class PlayoutOverflow(Message):
    """The speech queue is full and frames were dropped. An agent slows down by the `queued_ms` of `Playout`."""

    type: Literal["playout_overflow"] = "playout_overflow"
    dropped_frames: int
    """Frames of 20 ms dropped since the session's start."""


class DirectionChanged(Message):
    """Audio flows another way than before: the client holds the call, or goes on with it.

    Also once behind `Connected`, where audio does not flow both ways from the beginning.
    """

    type: Literal["direction_changed"] = "direction_changed"
    direction: Literal["sendrecv", "sendonly", "recvonly", "inactive"]
    """The transceiver's own (RFC 3264). `recvonly`: the client wants no audio, and the agent's speech waits until it
    does. `sendonly`: nothing comes of the caller. `inactive`: both, a hold."""


class ChannelOpened(Message):
    """The client opened a data channel."""

    type: Literal["channel_opened"] = "channel_opened"
    channel: str
    """Its label, such as `EVENTS_CHANNEL`."""


class ChannelClosed(Message):
    """No data channel of this label is open any more: the client closed the last one, or its association ended."""

    type: Literal["channel_closed"] = "channel_closed"
    channel: str
    """Its label, such as `EVENTS_CHANNEL`."""


class Suspect(Message):
    """No authentic packet has come from the client for 5 s, or (`silent_s` 0) one has come again."""

    type: Literal["suspect"] = "suspect"
    silent_s: float
    """Seconds since the client's last authentic packet."""


class TakenOver(Message):
    """Another transceiver process continues the session: the one before was killed, or stops.

    After a kill (`handed_over` false) queued speech is lost; `Playout` reports a reply in progress as `ended`.
    """

    type: Literal["taken_over"] = "taken_over"
    handed_over: bool
    """The process before handed the session over, and nothing is lost."""
    checkpoint_age_ms: float
    """Age of the stored state from which the session continues, ms."""


class Transferred(Message):
    """The session is with another agent from now on: no event follows under the name of this one."""

    type: Literal["transferred"] = "transferred"
    agent: str
    """The agent that has the session now, under its own subjects."""
    instance: str = ""
    """Its instance, as in the answer to the claim; empty: it has not named itself."""


class TransferFailed(Message):
    """No instance of the other agent has taken the session: it stays where it is."""

    type: Literal["transfer_failed"] = "transfer_failed"
    agent: str
    """The agent that was asked; empty: a person was, and the operator's system refuses."""
    message: str
    """Why, for people."""


class PersonAsked(Message):
    """The operator's system is told that a person should take the session over."""

    type: Literal["person_asked"] = "person_asked"
    summary: str = Field(default="", max_length=4000)
    """What the agent says to that person."""


class Draining(Message):
    """The transceiver stops: it ends the session after `seconds`, unless the session has ended before."""

    type: Literal["draining"] = "draining"
    seconds: float
    """Seconds that the session has left."""


class TelephoneEvent(Message):
    """A key of the caller's telephone (RFC 4733), once per key press, when the key is released."""

    type: Literal["telephone_event"] = "telephone_event"
    event: int = Field(ge=0, le=255)
    """0-9 are the digits, 10 `*`, 11 `#`, 12-15 A to D."""
    duration_ms: float
    """How long the key was pressed, ms."""

    @property
    def key(self) -> str:
        """The character on the key; empty for other events (16 is a hook flash)."""
        return "0123456789*#ABCD"[self.event : self.event + 1]


class AudioLevel(Message):
    """How loud the caller's last 200 ms were by the client's own measure (RFC 6464), each 200 ms."""

    type: Literal["audio_level"] = "audio_level"
    level_dbov: int = Field(ge=-127, le=0)
    """Of the loudest packet, dBov: 0 is the loudest possible, -127 silence."""
    voice: bool
    """The client marked at least one of the packets as speech."""


class Statistics(Message):
    """Counters of a call since its start."""

    type: Literal["statistics"] = "statistics"
    packets_received: int
    """RTP packets of the client that were decrypted."""
    packets_lost: int
    """RTP packets of the client that did not arrive (RFC 3550 section 6.4.1)."""
    packets_late: int
    """RTP packets of the client that arrived after their place in the jitter buffer was played."""
    frames_concealed: int
    """Frames of 20 ms made up for lost packets, by FEC or concealment."""
    packets_sent: int
    """RTP packets sent to the client."""
    jitter_ms: float
    """Interarrival jitter of the client's packets, ms (RFC 3550 section 6.4.1)."""
    round_trip_ms: float | None = None
    """To the client and back, ms: by its last receiver report, or by its answer to our last connectivity check where it
    sends no reports; None before the first of both."""
    remote_packets_lost: int | None = None
    """RTP packets that the client reports as lost; None before its first receiver report."""
    packets_refused: int = 0
    """SRTP and SRTCP packets of the client's address that were malformed or failed authentication. This one and the two
    below count what reached the process that has the call now."""
    packets_replayed: int = 0
    """SRTP and SRTCP packets that came twice: doubled by the network, sent again without need, or replayed."""
    records_refused: int = 0
    """DTLS records that failed authentication, came twice, or were late ones of the handshake."""
    packets_over_budget: int = 0
    """Packets of the client beyond what a session takes; they were dropped unread."""
    checks_replayed: int = 0
    """Connectivity checks of the client that came again from another address, or long after the first time."""
    events_dropped: int = 0
    """Events of the client's doing (keys, audio levels, channels) beyond what a session publishes."""
    checks_refused: int = 0
    """Our connectivity checks that the client answered with an error."""


class ClaimExpired(Message):
    """An agent instance has accepted its claim too late: it does not have the session, and drops it."""

    type: Literal["claim_expired"] = "claim_expired"
    instance: str
    """As in its `ClaimReply`."""


class SessionError(Message):
    """A frame or message for this session could not be used."""

    type: Literal["error"] = "error"
    message: str
    """Names what is wrong with it, for people."""


EndReason = Literal[
    "hang_up",
    "client_closed",
    "client_vanished",
    "agent_lost",
    "setup_timeout",
    "dtls_failed",
    "over_budget",
    "draining",
    "internal",
]
"""Why a session ended."""


class Ended(Message):
    """The session has ended; no event follows."""

    type: Literal["ended"] = "ended"
    reason: EndReason
    """Which side or failure ended it."""
    cause: str = ""
    """With `hang_up`: the `reason` of the `HangUp`."""
    statistics: Statistics | None = None
    """The counters of the whole call; None if the session ended while it was being made."""


SessionEvent = Annotated[
    Connected
    | MediaStarted
    | Playout
    | Flushed
    | PlayoutOverflow
    | DirectionChanged
    | ChannelOpened
    | ChannelClosed
    | Suspect
    | TakenOver
    | Transferred
    | TransferFailed
    | PersonAsked
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
