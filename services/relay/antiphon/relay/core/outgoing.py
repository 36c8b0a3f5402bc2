"""What the core decides to send: a datagram, the socket that it leaves by, and where to."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

MAX_DATAGRAM: Final = 1500
"""Bytes of a client's datagram: more does not come through the internet in one piece."""


class Through(enum.Enum):
    """The socket that a datagram leaves by."""

    PUBLIC = "to a client"
    TUNNEL = "to a transceiver"
    BACKBONE = "to another relay"


class Outgoing(NamedTuple):
    """A datagram to be sent. A value."""

    through: Through
    to: int
    """As a key (see `flow_key`)."""
    data: bytes | memoryview
    payload: int
    """Octets of a client's datagram in it; 0: it is none, and is not counted."""
