"""A session as one plain value that can be written and read back.

Every counter that must never repeat is an integer in here. OpenSSL, libsrtp and libopus objects are engines made from
it; a session can lose all that only they hold. So a session can move to another process, and its client notices
nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, TypeVar

import msgpack

from antiphon.rtc.codec import CLOCK_RATES, CodecName
from antiphon.rtc.dtls.state import DtlsState
from antiphon.rtc.rtp.srtp_state import SrtpState
from antiphon.rtc.sdp.audio import Direction

T = TypeVar("T")
STATE_VERSION: Final = 5

RTP_AHEAD: Final = 2048
"""Packets that may be sent before the next checkpoint is stored: more than the speech queue holds (1500). A client
takes sequence numbers up to 32768 ahead (RFC 3711 section 3.3.1)."""
RTCP_AHEAD: Final = 600
"""Reports, one a second. A process that takes over runs libsrtp's index forward over them, 1.5 us each."""
RECORDS_AHEAD: Final = 4096
"""DTLS records."""
FRAMES_AHEAD: Final = 1
"""Outgoing frames whose timestamps are skipped: the clocks of two machines differ a little."""


@dataclass
class RtpState:
    """What we send (RFC 3550)."""

    ssrc: int
    payload_type: int
    sequence: int
    timestamp: int
    """Of the next packet, 32 bit."""
    packets: int = 0
    octets: int = 0
    sent_at: float = 0.0
    """Unix time of the last packet, when this was written; 0 before the first."""
    codec: CodecName = "opus"
    """Both ways."""

    @property
    def frame_ticks(self) -> int:
        """Ticks of the codec's clock in a frame of 20 ms."""
        return CLOCK_RATES[self.codec] // 50


@dataclass
class SpeechState:
    """How much of the agent's speech was played."""

    generation: int = 0
    """Of the reply in progress."""
    played_samples: int = 0
    rate: int = 24000
    announced: bool = False
    """Published as started and not yet as ended."""
    paused: bool = False
    frames: list[bytes] = field(default_factory=list)
    """Frames that wait to be played, packed: only where one process hands the session to another."""


@dataclass
class RtviState:
    """A client that speaks RTVI in place of the realtime protocol, and the little that its dialect has to remember."""

    label: str = ""
    """Of the data channel that the client has opened for its messages; empty before."""
    client_major: int = 0
    """First number of the protocol version that `client-ready` named; 0 before."""
    transcribed: dict[str, str] = field(default_factory=dict)
    """What was transcribed so far of each item of the caller whose transcript is not complete."""
    pending: dict[str, str] = field(default_factory=dict)
    """What was played (or written) of each message of the agent and is no whole sentence yet."""
    segment: int = 0
    """Sentences of the agent that were sent so far."""


@dataclass
class SessionState:
    """One session. Addresses are those of the checked path that answers take.

    Owner: the `Session`. Its engines write into it, on the event loop only.
    """

    session_id: str
    agent: str
    ufrags: list[str]
    """Ours, newest first: an ICE restart adds one and keeps the old until the new is used."""
    remote_fingerprints: list[tuple[str, str]]
    """(algorithm, value) pairs from the offer."""
    input_rate: int
    rtp: RtpState
    local_fingerprint: str = ""
    """SHA-256 of the certificate that the client knows us by."""
    session_settings: dict[str, Any] = field(default_factory=dict)
    creator: str = ""
    """Which credential made the call: as in `OpenRequest.creator`."""
    locked_settings: list[str] = field(default_factory=list)
    """Those that the client may not change, as in the claim."""
    path_header: bytes = b""
    """The tunnel header in front of everything we send; empty before the first check."""
    path_relay: tuple[str, int] | None = None
    srtp: SrtpState | None = None
    dtls: DtlsState | None = None
    data_port: int | None = None
    """The client's SCTP port; None without a data channel section."""
    data_max_message: int = 65536
    telephone: tuple[int, int] | None = None
    """(payload type, clock rate) of telephone events."""
    audio_level_id: int | None = None
    input_sequence: int = 0
    input_samples: int = 0
    """Samples published so far, at `input_rate`, gaps included."""
    input_timestamp: int | None = None
    """RTP timestamp of the sample after these at `input_at`; None before the first packet."""
    input_at: float = 0.0
    """Unix time."""
    packets_received: int = 0
    packets_lost: int = 0
    """Both as of the statistics, at the time of writing; another process counts on from there."""
    sdp_origin: int = 0
    sdp_version: int = 1
    """Of our answers: an ICE restart raises it (RFC 3264 section 8)."""
    sctp: dict[str, Any] | None = None
    """The SCTP association (`association_state`) at the time of writing; None without one."""
    seen_checks: list[bytes] = field(default_factory=list)
    """Connectivity checks that were received already (`SeenChecks.export`)."""
    strikes: int = 0
    """Of the last seconds, those in which the client was beyond its budget (`PacketBudget`)."""
    generation: int = 0
    """The first generation of speech that may be played."""
    speech: SpeechState = field(default_factory=SpeechState)
    written_at: float = 0.0
    """Unix time."""
    copied: bool = False
    """A second region keeps a copy of it, as far as copies count (`copies`)."""
    token_identities: list[tuple[int, int, int]] = field(default_factory=list)
    """Transceivers of other clusters that tokens of the client name: it had the session before its cluster was lost."""
    slot_moves: list[str] = field(default_factory=list)
    """Signed announcements of how it came here (`messages.SlotMoved`, encoded), the oldest first: the next cluster
    repeats those whose key it does not have."""
    foreign_passwords: dict[str, str] = field(default_factory=dict)
    """Of the ufrags that another cluster made: the passwords, which go by its key, not by ours."""
    path_aliases: list[bytes] = field(default_factory=list)
    """Other headers with which packets of its client may come, since it came from another cluster."""
    taken_at: int = 0
    """Milliseconds of Unix time since when it is in this cluster; 0: from its beginning."""
    handed_over: bool = False
    """Its process detached the session after it wrote this: every counter is exact, none has to be skipped."""
    direction: Direction = "sendrecv"
    """Of our audio, as last answered. Without receiving, the caller's audio is dropped."""
    listens: bool = True
    """The client has wanted audio at some time: while it wants none, the agent's speech waits. To a client that never
    wanted any, such as one that only publishes, speech is played as if it was sent."""
    rtvi: RtviState | None = None
    """Set: the client speaks RTVI, not the realtime protocol, over its data channel."""
    listens_to: str = ""
    """The call whose two voices the client gets, without an agent of its own; empty: this is a call."""
    remote_credentials: dict[str, tuple[str, str]] = field(default_factory=dict)
    """(ufrag, password) of the client, by the ufrag of ours that its offer was answered with: our checks go by them."""
    tie_breaker: int = 0
    """Of our checks (RFC 8445 section 5.2): the same in all of a call; 0: none is drawn yet."""

    call_trace: dict[str, Any] = field(default_factory=dict)
    """Root span of the call, as `messages.CallTrace`; empty: it is not traced."""
    owner_span: str = ""
    """`traceparent` of the span by which its process has got it: the next one links to that."""
    began_at: float = 0.0
    """Unix time of the offer."""
    moves: int = 0
    """How often another process has gone on with it."""
    turns: int = 0
    """Turns that agents have reported."""
    last_turn: dict[str, Any] = field(default_factory=dict)
    """As `messages.Turn`; empty before the first."""
    consent_tone: float = 0.0
    """Seconds between two tones that tell the caller of a recording; 0: there are none."""
    consent_tone_from: float = 0.0
    """Unix time of the first one; 0 before."""

    def to_bytes(self) -> bytes:
        """The whole value as msgpack. It holds media keys: encrypt it before it leaves the process."""
        packed: bytes = msgpack.packb([STATE_VERSION, asdict(self)], use_bin_type=True)
        return packed

    def skip_reserved(self, unix_time: float) -> None:
        """Skip every counter that another process may have used after it wrote this: no keystream is used twice.

        `association_state` skips those of the association when that is restored.
        """
        self.rtp.sequence = (self.rtp.sequence + RTP_AHEAD) & 0xFFFF
        if self.rtp.sent_at:
            frames = round(max(0.0, unix_time - self.rtp.sent_at) * 50) + FRAMES_AHEAD
            self.rtp.timestamp = (self.rtp.timestamp + frames * self.rtp.frame_ticks) & 0xFFFFFFFF
            self.rtp.sent_at = unix_time
        if self.srtp is not None:
            self.srtp.local_index += RTP_AHEAD
            self.srtp.rtcp_index += RTCP_AHEAD
        if self.dtls is not None:
            self.dtls.write_sequence += RECORDS_AHEAD

    @classmethod
    def from_bytes(cls, data: bytes) -> SessionState:
        """Read back what `to_bytes` wrote; ValueError for another version.

        A process of another release may have written it: fields that we do not know are left out, those that it did not
        know have their defaults. A field without which a call would break raises `STATE_VERSION`.
        """
        version, found = msgpack.unpackb(data, raw=False, strict_map_key=False)
        if version != STATE_VERSION:
            raise ValueError(f"session state has version {version}: this process reads version {STATE_VERSION}")
        found["rtp"] = _of(RtpState, found["rtp"])
        found["speech"] = _of(SpeechState, found.get("speech", {}))
        found["srtp"] = found.get("srtp") and _of(SrtpState, found["srtp"])
        found["dtls"] = found.get("dtls") and _of(DtlsState, found["dtls"])
        found["path_relay"] = found.get("path_relay") and tuple(found["path_relay"])
        found["telephone"] = found.get("telephone") and tuple(found["telephone"])
        found["remote_fingerprints"] = [tuple(pair) for pair in found["remote_fingerprints"]]
        found["rtvi"] = found.get("rtvi") and _of(RtviState, found["rtvi"])
        found["remote_credentials"] = {
            ours: tuple(theirs) for ours, theirs in found.get("remote_credentials", {}).items()
        }
        found["token_identities"] = [tuple(identity) for identity in found.get("token_identities", [])]
        return _of(cls, found)


def _of(kind: type[T], found: dict[str, Any]) -> T:
    """The value with the fields that this release knows."""
    return kind(**{each.name: found[each.name] for each in fields(kind) if each.name in found})  # type: ignore[arg-type]
