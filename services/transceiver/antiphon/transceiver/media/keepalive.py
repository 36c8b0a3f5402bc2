"""When a report has to go out because nothing else does. Pure."""

from __future__ import annotations

from typing import Final

KEEPALIVE_AFTER: Final = 0.1
"""Seconds without a packet after which a keepalive is due. It is checked every 50 ms: at most 150 ms between two."""


class Keepalive:
    """With it a client distinguishes a silent agent from a dead relay as fast as it would during speech.

    Owner: an `AudioSender`, for its whole life.
    """

    def __init__(self) -> None:
        self._counted = 0, 0
        """Packets and reports sent, as of the last check."""
        self._counted_at = 0.0

    def is_due(self, packets: int, reports: int, now: float) -> bool:
        """Call every 50 ms with the numbers of packets and reports sent so far."""
        if (packets, reports) != self._counted:
            self._counted, self._counted_at = (packets, reports), now
            return False
        return now - self._counted_at >= KEEPALIVE_AFTER
