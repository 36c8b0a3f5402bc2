"""What makes a session, as one plain value that can be written and read back.

Every counter that must never repeat is an integer in here; OpenSSL, libsrtp and libopus objects are engines
that are made from it and hold nothing of their own that a session could not lose. That is what lets a
session move to another process without its client noticing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import msgpack

STATE_VERSION = 1


@dataclass
class SrtpState:
    """Keys and indices of RFC 3711 and RFC 7714."""

    profile: str
    """OpenSSL's name, such as SRTP_AEAD_AES_128_GCM."""
    local_key: bytes
    """Master key and salt of what we send."""
    remote_key: bytes
    local_index: int = 0
    """48 bit: rollover counter and sequence number of the last packet sent."""
    remote_ssrc: int = 0
    remote_index: int = -1
    """48 bit: the highest received; -1 before the first packet."""
    rtcp_index: int = 0
    """SRTCP packets sent."""


@dataclass
class DtlsState:
    """The record layer after the handshake (RFC 6347, epoch 1)."""

    suite: str
    """OpenSSL's cipher name."""
    client: bool
    """We are the DTLS client (`a=setup:active`)."""
    key_block: bytes
    write_sequence: int = 1
    read_highest: int = 0
    read_window: int = 1
    """Bit n: record `read_highest - n` was read."""


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


@dataclass
class SessionState:
    """One session. Addresses are those of the checked path that answers take."""

    session_id: str
    agent: str
    ufrags: list[str]
    """Ours, newest first: an ICE restart adds one and keeps the old until the new is used."""
    remote_fingerprints: list[tuple[str, str]]
    """(algorithm, value) pairs from the offer."""
    input_rate: int
    rtp: RtpState
    session_settings: dict[str, Any] = field(default_factory=dict)
    path_header: bytes = b""
    """The tunnel header in front of everything we send; empty before the first check."""
    path_relay: tuple[str, int] | None = None
    srtp: SrtpState | None = None
    dtls: DtlsState | None = None
    has_audio: bool = True
    data_port: int | None = None
    """The client's SCTP port; None without a data channel section."""
    data_max_message: int = 65536
    nack: bool = False
    telephone: tuple[int, int] | None = None
    """(payload type, clock rate) of telephone events."""
    audio_level_id: int | None = None
    input_sequence: int = 0
    input_samples: int = 0
    """Samples published so far, at `input_rate`, gaps included."""
    sdp_origin: int = 0
    sdp_version: int = 1
    """Of our answers: an ICE restart raises it (RFC 3264 section 8)."""
    sctp: dict[str, Any] | None = None
    """What the association was when this was written (`sctp_state`); None without one."""
    generation: int = 0
    """The first generation of speech that may be heard."""

    def to_bytes(self) -> bytes:
        """The whole value as msgpack. It holds media keys: encrypt it before it leaves the process."""
        packed: bytes = msgpack.packb([STATE_VERSION, asdict(self)], use_bin_type=True)
        return packed

    def reserve(self, packets: int) -> None:
        """Jump over so many packets of every kind: what another process may have sent after this was written.

        Nothing that was sent before is ever sent again with the same counter, so no keystream is used twice.
        Clients accept sequence numbers up to 32768 ahead (RFC 3711 section 3.3.1).
        """
        self.rtp.sequence = (self.rtp.sequence + packets) & 0xFFFF
        self.rtp.timestamp = (self.rtp.timestamp + packets * 960) & 0xFFFFFFFF
        if self.srtp is not None:
            self.srtp.local_index += packets
            self.srtp.rtcp_index += packets
        if self.dtls is not None:
            self.dtls.write_sequence += packets

    @classmethod
    def from_bytes(cls, data: bytes) -> SessionState:
        """Read back what `to_bytes` wrote; ValueError for another version."""
        version, fields = msgpack.unpackb(data, raw=False, strict_map_key=False)
        if version != STATE_VERSION:
            raise ValueError(f"session state has version {version}: this process reads version {STATE_VERSION}")
        fields["rtp"] = RtpState(**fields["rtp"])
        fields["srtp"] = fields["srtp"] and SrtpState(**fields["srtp"])
        fields["dtls"] = fields["dtls"] and DtlsState(**fields["dtls"])
        fields["path_relay"] = fields["path_relay"] and tuple(fields["path_relay"])
        fields["telephone"] = fields["telephone"] and tuple(fields["telephone"])
        fields["remote_fingerprints"] = [tuple(pair) for pair in fields["remote_fingerprints"]]
        return cls(**fields)
