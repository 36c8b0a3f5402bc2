"""nats-py's parser of what the server sends, with limits and a report to `Liveness`."""

from __future__ import annotations

from typing import Final, Protocol

from nats import errors
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from antiphon.runtime.nats.liveness import Liveness

MAX_LINE: Final = 64 << 10
"""Bytes of a line without its end. The longest line of a server, INFO, names the servers of its cluster."""
MAX_MESSAGE: Final = (64 << 20) + MAX_LINE
"""Octets that a message may announce; NATS itself has 64 MiB as the highest limit."""


class _Watched(Protocol):
    liveness: Liveness


class BoundedParser(Parser):
    """nats-py's parser, which reports received bytes and limits the length of lines and messages.

    Owned by one client, called by its reading task.
    """

    nc: _Watched

    async def parse(self, data: bytes = b"") -> None:
        """As nats-py's; `ProtocolError` for a line or message above its limit."""
        if data:
            self.nc.liveness.bytes_received()
        await super().parse(data)
        if self.state == AWAITING_CONTROL_LINE:
            if len(self.buf) > MAX_LINE:
                raise errors.ProtocolError
        elif self.needed > MAX_MESSAGE:
            raise errors.ProtocolError
