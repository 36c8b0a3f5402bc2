"""Where calls of a process are reached: identities of route tokens, each with a socket of its own.

A process has one seat of its own. It keeps others until their last session is over: those of processes whose
sessions it has taken over, and a former one of its own whose slot somebody else has taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from antiphon.transceiver.failover.slot_claim import Slot
from antiphon.transceiver.net.udp_socket import TunnelSocket

Identity = tuple[int, int, int]
"""Cluster, slot, epoch."""


class Moved(NamedTuple):
    """Where a session is that was on another seat when its token was minted."""

    key: str
    """Where this stands in the bucket: in the place of the session's checkpoint."""
    to: Identity
    ufrags: tuple[str, ...]


@dataclass(eq=False)
class Endpoint:
    """Tokens that name its identity are routed to `address`, which is `port` as relays see it."""

    cluster: int
    slot: Slot
    address: str
    port: TunnelSocket
    sessions: set[str] = field(default_factory=set)
    filling: bool = False
    """Sessions are on their way to it."""
    moved: dict[str, Moved] = field(default_factory=dict)
    """By ufrag: sessions of this seat that sit on another process's now. Checks of their clients still come here."""
    given_up: bool = False
    """It is another process's now: not announced any more."""

    @property
    def identity(self) -> Identity:
        """As a route token names it."""
        return self.cluster, self.slot.number, self.slot.epoch


class Endpoints:
    """The seats of a process, and on which of them each session sits."""

    def __init__(self) -> None:
        self.own: Endpoint
        self.kept: dict[Identity, Endpoint] = {}
        self._of: dict[str, Endpoint] = {}

    def __iter__(self) -> Iterator[Endpoint]:
        yield self.own
        yield from tuple(self.kept.values())

    def of(self, session_id: str) -> Endpoint:
        return self._of[session_id]

    def put(self, session_id: str, seat: Endpoint) -> None:
        self._of[session_id] = seat
        seat.sessions.add(session_id)

    def remove(self, session_id: str) -> None:
        seat = self._of.pop(session_id, None)
        if seat is not None:
            seat.sessions.discard(session_id)

    def replace_own(self, seat: Endpoint) -> None:
        """Another seat takes new sessions; the former one is kept for those that it has."""
        former, self.own = self.own, seat
        self.kept[former.identity] = former

    def let_go(self) -> list[Endpoint]:
        """Close the kept seats that nobody sits on any more."""
        empty = [each for each in self.kept.values() if not each.sessions and not each.filling and not each.moved]
        for seat in empty:
            del self.kept[seat.identity]
            seat.port.close()
        return empty

    def close(self) -> None:
        for seat in self:
            seat.port.close()
