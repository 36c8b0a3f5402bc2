"""The sessions of a process and the two ways to find one: by ufrag for checks, by client address for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from antiphon.rtc import stun
from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import MalformedError, tunnel
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.net.contested_address import ContestedAddress
from antiphon.transceiver.session.session import Session

_LENGTHS: Final = {
    (family | flags).to_bytes(2, "little"): tunnel.header_length((family | flags).to_bytes(2, "little") + bytes(26))
    for family in (tunnel.FAMILY_IPV4, tunnel.FAMILY_IPV6)
    for flags in (0, tunnel.TCP_BIT, tunnel.BACKBONE_BIT, tunnel.TCP_BIT | tunnel.BACKBONE_BIT)
}
"""Bytes of the header that begins with these two."""
STRAYS: Final = (200, 400)
"""SRTP packets from unknown addresses per second, and at once, whose session is looked for: 20 us each."""


@dataclass
class SocketCounters:
    """Datagrams that reached no session, by reason. Owner: `Demux`; `TunnelReceiver` counts what it refuses itself."""

    untrusted: int = 0
    malformed: int = 0
    unknown_client: int = 0
    refused_checks: int = 0


class Unrouted(NamedTuple):
    """A packet for a session that is not here. It may have moved to another transceiver.

    Of a client that entered by a relay of another place this may be any packet: those relays know only the identity
    that its header names. Of other clients it is a check: relays send the rest where the session is.
    """

    ufrag: str
    """Of the check; empty: it is none."""
    packet: bytes
    """The whole tunnel packet."""
    relay: tuple[str, int]


class Demux:
    """Which session gets a datagram. Sans-IO.

    Owner: the process, for its whole life. Event loop only. Sessions are added and removed by `SessionTable` alone;
    what it finds them by are the ufrags and client addresses that each session itself knows.
    """

    def __init__(self) -> None:
        self.counters = SocketCounters()
        self.removed = 0
        """Sessions that were here and are no more."""
        self._by_id: dict[str, Session] = {}
        self._by_ufrag: dict[str, Session] = {}
        self._by_client: dict[bytes, Session | ContestedAddress] = {}
        self._strays = TokenBucket(*STRAYS)

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
        if self._by_id.pop(session.state.session_id, None) is not None:
            self.removed += 1
        self._forget(session, session.state.ufrags, session.ice.headers)

    def adopt(self, session: Session) -> None:
        """A session that came from another process: the addresses of its client are known already."""
        if self._is_here(session):
            for header in session.ice.headers:
                self._by_client[header] = session

    def restart_ice(self, session: Session, ufrag: str, client: tuple[str, str] | None = None) -> None:
        """Find the session under one more ufrag. `client`: ufrag and password of the offer that asks for it."""
        before = tuple(session.state.ufrags)
        session.restart_ice(ufrag, client)
        self._forget(session, [each for each in before if each not in session.state.ufrags], ())
        self._by_ufrag[ufrag] = session

    def get(self, session_id: str) -> Session | None:
        return self._by_id.get(session_id)

    def owner_of(self, header: bytes) -> Session | None:
        """The session whose client has this tunnel header; of several the one that has proved it."""
        found = self._by_client.get(header)
        return found.owner if isinstance(found, ContestedAddress) else found

    def receive(self, packet: bytes, relay: tuple[str, int], now: float, unix_ns: int) -> Unrouted | None:
        """Deliver one tunnel packet of a trusted relay, read at `now`, which is `unix_ns` by the wall clock.

        A packet for a session that is not here is returned.
        """
        # Nearly always media of a known client, so that header is neither checked nor unpacked. One of IPv4 and one hop
        # is found at the first look, and the others cost 0.15 us more (`tests/transceiver/measure_demux.py`).
        header = packet[: tunnel.IPV4_HEADER]
        session = self._by_client.get(header)
        if session is not None:
            datagram = packet[tunnel.IPV4_HEADER :]
        else:
            length = _LENGTHS.get(packet[:2], 0)
            header, datagram = packet[:length], packet[length:]
            session = self._by_client.get(header)
        if session is not None and datagram and datagram[0] > 3:
            session.receive(datagram, Path(header, relay), now, unix_ns)
            return None
        try:
            read = tunnel.unpack(packet)
            path = Path(read.header, relay)
            route = path.route
        except MalformedError:
            self.counters.malformed += 1
            return None
        if stun.is_stun(read.payload):
            return self._receive_stun(packet, read, path, now)
        if session is None and read.payload and 127 < read.payload[0] < 192:
            if self._receive_stray(read.payload, path, now, unix_ns):
                return None
        elif session is not None:
            if read.payload:  # it begins as STUN does and is none
                self.counters.malformed += 1
            else:
                session.disowned(path, now)
            return None
        unrouted = Unrouted("", packet, relay)
        if route is not None and read.payload:
            return unrouted
        self.count_lost(unrouted)
        return None

    def count_lost(self, unrouted: Unrouted) -> None:
        """The packet goes nowhere: its session is not known at other transceivers either."""
        if unrouted.ufrag:
            self.counters.refused_checks += 1
        else:
            self.counters.unknown_client += 1

    def _receive_stun(self, packet: bytes, read: tunnel.Tunnelled, path: Path, now: float) -> Unrouted | None:
        match stun.message_type(read.payload):
            case stun.BINDING_REQUEST:
                return self._check(packet, read, path, now)
            case stun.BINDING_SUCCESS | stun.BINDING_ERROR:
                session = self._by_client.get(path.header)
                if session is not None:
                    session.receive_answer(read.payload, path, now)
                    return None
                unrouted = Unrouted("", packet, path.relay)
                if path.route is not None:
                    return unrouted
                self.count_lost(unrouted)
            case stun.BINDING_INDICATION:
                pass  # a keepalive (RFC 8445 section 11): it asks for nothing
            case _:
                self.counters.malformed += 1
        return None

    def _receive_stray(self, datagram: bytes, path: Path, now: float, unix_ns: int) -> bool:
        """SRTP from an unknown address: find its session by SSRC, for a NAT may have given the client another port."""
        if len(datagram) < 12 or not self._strays.take(1, now):
            return False
        ssrc = int.from_bytes(datagram[8:12], "big")
        for session in self._by_id.values():
            srtp = session.state.srtp
            if srtp is not None and srtp.remote_ssrc == ssrc and srtp.remote_index >= 0:
                headers = session.ice.headers
                if session.receive_stray(datagram, path, now, unix_ns):
                    if self._is_here(session):
                        self._forget(session, (), [each for each in headers if each not in session.ice.headers])
                        self._by_client[path.header] = session
                    return True
        return False

    def _check(self, packet: bytes, read: tunnel.Tunnelled, path: Path, now: float) -> Unrouted | None:
        try:
            request = stun.unpack_binding_request(read.payload)
        except stun.NoCredentialsError as error:
            known = self._by_client.get(path.header)
            if known is not None:
                known.receive_keepalive(error, path, now)
            elif path.route is not None:
                return Unrouted("", packet, path.relay)
            else:
                self.counters.unknown_client += 1
            return None
        except stun.StunError:
            self.counters.malformed += 1
            return None
        session = self._by_ufrag.get(request.local_ufrag)
        if session is None:
            return Unrouted(request.local_ufrag, packet, path.relay)
        ufrags, headers = tuple(session.state.ufrags), session.ice.headers
        if not session.receive_check(request, read.payload, read.client, path, now):
            self.counters.refused_checks += 1
            return None
        if self._is_here(session):  # it may have ended when its handshake began
            # A check with the newest ufrag replaces the others; one from a ninth address replaces the oldest.
            kept = session.ice.headers
            self._forget(
                session,
                [each for each in ufrags if each not in session.state.ufrags],
                [each for each in headers if each not in kept],
            )
            self._claim(path.header, session, now)
        return None

    def _claim(self, header: bytes, session: Session, now: float) -> None:
        """A check of this session came from this address, which may be another session's."""
        former = self._by_client.get(header)
        if former is None or former is session:
            self._by_client[header] = session
        elif isinstance(former, ContestedAddress):
            former.claim(session, now)
        elif self._is_here(former):
            self._by_client[header] = ContestedAddress(header, former, session, now, self._settled)
        else:
            self._by_client[header] = session

    def _settled(self, header: bytes, owner: Session) -> None:
        """Of the sessions that claimed this address only one is left."""
        self._by_client[header] = owner

    def _is_here(self, session: Session) -> bool:
        return self._by_id.get(session.state.session_id) is session

    def _forget(self, session: Session, ufrags: Iterable[str], headers: Iterable[bytes]) -> None:
        for ufrag in ufrags:
            if self._by_ufrag.get(ufrag) is session:
                del self._by_ufrag[ufrag]
        for header in headers:
            found = self._by_client.get(header)
            if isinstance(found, ContestedAddress):  # another call came from the same address
                found.release(session)
            elif found is session:
                del self._by_client[header]
