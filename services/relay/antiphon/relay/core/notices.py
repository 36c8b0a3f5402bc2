"""What a relay tells transceivers of its own accord about clients: strays, and clients that are no longer theirs. Pure.

A stray is SRTP from an unknown client. A NAT may have given a caller another port: its media comes from there at once,
its next check, which names its transceiver, up to 6 s later (Firefox). So what looks like a stream, `IN_A_ROW` packets
of one SSRC one after the other, goes to every announced transceiver, a few packets of it. One that knows the SSRC, and
finds a packet authentic and new, makes the flow known by a bare header.

A transceiver that sends for a client which has moved to another one gets that client's bare header: its caller has
dialled anew. Both are bounded, because any host can send such packets; what is beyond that is as it was without them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from antiphon.relay.core.flow_key import header_of

PER_SECOND: Final = 512
"""Packets to transceivers, all together, and as many at once."""
IN_A_ROW: Final = 3
"""Packets of an unknown client with one SSRC and consecutive numbers, from which on they are offered: 40 ms of speech,
which wait for it. What is sent at random never gets so far."""
STRAYS_PER_CLIENT: Final = 8
"""Of one unknown client in `STRAY_SECONDS`: 160 ms of speech, for UDP may lose some."""
STRAY_SECONDS: Final = 2.0
DISOWNED_EVERY: Final = 1.0
"""Seconds between two notices about one client to one transceiver."""
REMEMBERED: Final = 1024
"""Clients of each kind; the oldest goes first."""
MIN_SRTP: Final = 12 + 4
"""Octets: a header and the shortest tag."""


class _Stray:
    """An unknown client that sends SRTP."""

    __slots__ = ("held", "offered", "sequence", "since", "ssrc")

    def __init__(self, since: float, ssrc: bytes, sequence: int) -> None:
        """`sequence`: of its last packet."""
        self.since, self.ssrc, self.sequence = since, ssrc, sequence
        self.held: list[bytes] = []
        """Packets in a row so far, while they are fewer than `IN_A_ROW`."""
        self.offered = 0


class Notices:
    """Belongs to a worker's `RelayCore`, which alone calls it."""

    def __init__(self) -> None:
        self._allowance, self._counted = float(PER_SECOND), 0.0
        self._strays: dict[int, _Stray] = {}
        self._disowned: dict[tuple[int, int], float] = {}
        self._waiting: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, client: int, datagram: bytes | memoryview, transceivers: Collection[int], now: float) -> None:
        """A packet of an unknown client: if it is one of a stream of SRTP, it goes to all of these."""
        if not 127 < datagram[0] < 192 or len(datagram) < MIN_SRTP or 191 < datagram[1] < 224:
            return
        packet = bytes(datagram)
        ssrc, sequence = packet[8:12], packet[2] << 8 | packet[3]
        stray = self._strays.pop(client, None)
        if stray is None or now - stray.since >= STRAY_SECONDS or stray.ssrc != ssrc:
            stray = _Stray(now, ssrc, sequence)
        elif not stray.offered and sequence != (stray.sequence + 1) & 0xFFFF:
            stray.held.clear()
        stray.sequence = sequence
        while len(self._strays) >= REMEMBERED:
            del self._strays[next(iter(self._strays))]
        self._strays[client] = stray
        stray.held.append(packet)
        if stray.offered or len(stray.held) >= IN_A_ROW:
            self._offer_held(stray, header_of(client), transceivers, now)

    def _offer_held(self, stray: _Stray, header: bytes, transceivers: Collection[int], now: float) -> None:
        held, stray.held = stray.held, []
        if stray.offered < STRAYS_PER_CLIENT and self._may_send(len(held) * len(transceivers), now):
            stray.offered += len(held)
            self._waiting += [(to, header + packet) for packet in held for to in transceivers]

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
