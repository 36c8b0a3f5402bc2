"""The other processes of this agent, as their beats describe them: which one should take a call instead of us? Pure.

NATS gives a claim to any process of the queue group, also to one that is full while another has nothing to do. So
the process that gets a claim passes it on to the one with most room, once; the answer goes straight to the transceiver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from antiphon.schemas.messages import AgentBeat

FRESH_SECONDS: Final = 1.0
"""A beat older than this (four are due) does not say that its process is alive."""
MARGIN: Final = 2
"""By so many calls another one must be better off before a claim is passed on: passing costs time."""
MAX_PEERS: Final = 1024


@dataclass
class _Peer:
    sessions: int
    capacity: int
    received_at: float


class Peers:
    """The processes of this agent that are alive, `MAX_PEERS` at most; then the one without a beat for longest goes.

    Owner: the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._peers: dict[str, _Peer] = {}

    def received(self, beat: AgentBeat, now: float) -> None:
        """A beat of our agent came, perhaps our own."""
        if beat.instance == self._instance:
            return
        self._peers.pop(beat.instance, None)
        if not beat.leaving and beat.capacity > 0:
            self._peers[beat.instance] = _Peer(beat.sessions, beat.capacity, now)
        while len(self._peers) > MAX_PEERS:
            del self._peers[next(iter(self._peers))]

    def better(self, sessions: int, capacity: int, now: float) -> str | None:
        """The instance that should take the next call instead of us with `sessions` of `capacity`; None: we should."""
        fit = [
            (peer.sessions / peer.capacity, name)
            for name, peer in self._peers.items()
            if now - peer.received_at <= FRESH_SECONDS and peer.sessions < peer.capacity
        ]
        if not fit:
            return None
        name = min(fit)[1]
        peer = self._peers[name]
        if sessions >= capacity or (peer.sessions + MARGIN) / peer.capacity <= sessions / capacity:
            peer.sessions += 1  # until its next beat: several claims may come at once
            return name
        return None
