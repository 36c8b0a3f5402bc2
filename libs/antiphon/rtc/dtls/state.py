"""Keys and counters of DTLS records as a plain value: what another process needs to continue with them."""

from __future__ import annotations

from dataclasses import dataclass


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
