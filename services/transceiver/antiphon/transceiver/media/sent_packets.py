"""The packets that were sent last, for a client that asks for some of them again (NACK, RFC 4585). Pure."""

from __future__ import annotations

from typing import Final

HISTORY: Final = 64
"""Protected packets kept for retransmission: 1.3 s, longer than a client waits for one."""
REPEATED: Final = 4
"""Packets that are sent again by a new path: what was on its way to the old one for 80 ms may be lost with it."""
MAX_RETRANSMITTED: Final = 50
"""Packets between two reports, which are a second apart, that are sent again: as many as are sent at first; more NACKs
are ignored."""


class SentPackets:
    """Owner: an `AudioSender`, for its whole life. Bounded by `HISTORY`: the oldest packet goes."""

    def __init__(self) -> None:
        self._packets: dict[int, bytes] = {}
        """By sequence number."""
        self._retransmitted = 0
        """Since the last report."""

    def keep(self, sequence: int, packet: bytes) -> None:
        """This packet was sent."""
        self._packets[sequence] = packet
        self._packets.pop((sequence - HISTORY) & 0xFFFF, None)

    def asked_for(self, sequence: int) -> bytes | None:
        """The packet to send again; None if it is too old, or too many were sent again."""
        packet = self._packets.get(sequence)
        if packet is None or self._retransmitted >= MAX_RETRANSMITTED:
            return None
        self._retransmitted += 1
        return packet

    def last(self) -> list[bytes]:
        """The last packets, to send again by another path; none if too many were sent again."""
        last = list(self._packets.values())[-REPEATED:]
        if self._retransmitted + len(last) > MAX_RETRANSMITTED:
            return []
        self._retransmitted += len(last)
        return last

    def reported(self) -> None:
        """A report was sent: the client may ask for as many again."""
        self._retransmitted = 0

    def clear(self) -> None:
        self._packets.clear()
