"""The sessions of a process and the two ways to find one: by ufrag for checks, by client for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from antiphon.rtc import stun
from antiphon.schemas import MalformedError, tunnel
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.session.session import Session


@dataclass
class SocketCounters:
    """Datagrams that reached no session, by reason."""

    untrusted: int = 0
    malformed: int = 0
    unknown_client: int = 0
    refused_checks: int = 0


class Demux:
    """Who gets a datagram. Sans-IO."""

    def __init__(self) -> None:
        self.counters = SocketCounters()
        self.elsewhere: Callable[[str, bytes, tuple[str, int]], bool] = lambda ufrag, packet, relay: False
        """Passes on a check for a session that is not here; whether it could."""
        self._by_id: dict[str, Session] = {}
        self._by_ufrag: dict[str, Session] = {}
        self._by_client: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_id.values()))

    def add(self, session: Session) -> None:
        self._by_id[session.state.session_id] = session
        for ufrag in session.state.ufrags:
            self._by_ufrag[ufrag] = session

    def remove(self, session: Session) -> None:
        """Forget a session under all its names."""
        self._by_id.pop(session.state.session_id, None)
        for ufrag in [ufrag for ufrag, owner in self._by_ufrag.items() if owner is session]:
            del self._by_ufrag[ufrag]
        for header in [header for header, owner in self._by_client.items() if owner is session]:
            del self._by_client[header]

    def adopt(self, session: Session) -> None:
        """A session that came from another process: its client is known already."""
        for header in session.ice.headers:
            self._by_client[header] = session

    def restart_ice(self, session: Session, ufrag: str) -> None:
        """Find the session under one more ufrag."""
        session.restart_ice(ufrag)
        for known in [known for known, owner in self._by_ufrag.items() if owner is session]:
            if known not in session.state.ufrags:
                del self._by_ufrag[known]
        self._by_ufrag[ufrag] = session

    def get(self, session_id: str) -> Session | None:
        return self._by_id.get(session_id)

    def owner_of(self, header: bytes) -> Session | None:
        """Whose client this tunnel header names."""
        return self._by_client.get(header)

    def clients(self) -> tuple[bytes, ...]:
        """The tunnel headers of all clients, for a relay that has to learn its flows again."""
        return tuple(self._by_client)

    def receive(self, packet: bytes, relay: tuple[str, int], now: float, unix_ns: int) -> None:
        """Deliver one tunnel packet of a trusted relay, read at `now`, which is `unix_ns` by the wall clock."""
        header, datagram = packet[:8], packet[8:]
        session = self._by_client.get(header)
        if session is not None and datagram and datagram[0] > 3:  # nearly always: media of a known IPv4 client
            session.receive(datagram, Path(header, relay), now, unix_ns)
            return
        try:
            read = tunnel.unpack(packet)
        except MalformedError:
            self.counters.malformed += 1
            return
        path = Path(read.header, relay)
        if stun.is_stun(read.payload):
            self._check(read, path, now)
            return
        session = self._by_client.get(read.header)
        if session is None or not read.payload:
            self.counters.unknown_client += 1
            return
        session.receive(read.payload, path, now, unix_ns)

    def _check(self, read: tunnel.Tunnelled, path: Path, now: float) -> None:
        try:
            request = stun.unpack_binding_request(read.payload)
        except stun.StunError:
            self.counters.malformed += 1
            return
        session = self._by_ufrag.get(request.local_ufrag)
        if session is None and self.elsewhere(request.local_ufrag, read.header + read.payload, path.relay):
            return
        if session is None or not session.receive_check(request, read.payload, read.client, path, now):
            self.counters.refused_checks += 1
            return
        if self._by_client.get(path.header) is not session:
            self._by_client[path.header] = session
            # What the session no longer keeps as checked must not be delivered to it either.
            kept = set(session.ice.headers)
            for header in [h for h, owner in self._by_client.items() if owner is session and h not in kept]:
                del self._by_client[header]
