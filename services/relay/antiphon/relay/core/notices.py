"""What a relay tells transceivers of its own accord about clients: strays, and clients that are no longer theirs. Pure.

A stray is SRTP from an unknown client. A NAT may have given a caller another port: its media comes from there at once,
its next check, which names its transceiver, up to 6 s later (Firefox). So a few of its packets go to every announced
transceiver. One that knows the SSRC, and finds the packet authentic and new, makes the flow known by a bare header.

A transceiver that sends for a client which has moved to another one gets that client's bare header: its caller has
dialled anew. Both are bounded, because any host can send such packets; what is beyond that is as it was without them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from antiphon.relay.core.flow_key import header_of

PER_SECOND: Final = 512
"""Packets to transceivers, all together, and as many at once."""
STRAYS_PER_CLIENT: Final = 8
"""Of one unknown client in `STRAY_SECONDS`: 160 ms of speech, for UDP may lose some."""
STRAY_SECONDS: Final = 2.0
DISOWNED_EVERY: Final = 1.0
"""Seconds between two notices about one client to one transceiver."""
REMEMBERED: Final = 1024
"""Clients of each kind; the oldest goes first."""
MIN_SRTP: Final = 12 + 4
"""Octets: a header and the shortest tag."""


class Notices:
    """Belongs to a worker's `RelayCore`, which alone calls it."""

    def __init__(self) -> None:
        self._allowance, self._counted = float(PER_SECOND), 0.0
        self._strays: dict[int, tuple[float, int]] = {}
        self._disowned: dict[tuple[int, int], float] = {}
        self._waiting: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, client: int, datagram: bytes | memoryview, transceivers: Collection[int], now: float) -> None:
        """A packet of an unknown client: if it is SRTP, it goes to all of these."""
        if not 127 < datagram[0] < 192 or len(datagram) < MIN_SRTP or 191 < datagram[1] < 224:
            return
        since, count = self._strays.pop(client, (now, 0))
        if now - since >= STRAY_SECONDS:
            since, count = now, 0
        if count < STRAYS_PER_CLIENT and self._may_send(len(transceivers), now):
            count += 1
            packet = header_of(client) + bytes(datagram)
            self._waiting += [(transceiver, packet) for transceiver in transceivers]
        while len(self._strays) >= REMEMBERED:
            del self._strays[next(iter(self._strays))]
        self._strays[client] = since, count

    def disown(self, transceiver: int, client: int, now: float) -> None:
        """This transceiver has sent for a client that is another one's."""
        pair = transceiver, client
        if now - self._disowned.get(pair, float("-inf")) < DISOWNED_EVERY or not self._may_send(1, now):
            return
        self._disowned.pop(pair, None)
        while len(self._disowned) >= REMEMBERED:
            del self._disowned[next(iter(self._disowned))]
        self._disowned[pair] = now
        self._waiting.append((transceiver, header_of(client)))

    def _may_send(self, packets: int, now: float) -> bool:
        self._allowance = min(PER_SECOND, self._allowance + (now - self._counted) * PER_SECOND)
        self._counted = now
        if not 0 < packets <= self._allowance or len(self._waiting) >= PER_SECOND:
            return False
        self._allowance -= packets
        return True

    def take(self) -> list[tuple[int, bytes]]:
        """(transceiver, tunnel packet) to send now."""
        waiting, self._waiting = self._waiting, []
        return waiting
