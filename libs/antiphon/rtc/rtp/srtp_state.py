"""Keys and counters of SRTP as a plain value: what another process needs to continue the same streams."""

from __future__ import annotations

from dataclasses import dataclass


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
