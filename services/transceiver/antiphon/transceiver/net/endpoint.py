"""Where the calls of a process are reached: an identity that route tokens name, with one UDP socket for each.

A process has one endpoint of its own, which takes new calls. It keeps others until their last session has ended: the
endpoints of processes whose sessions it has taken over, and a former one of its own whose slot another process took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from antiphon.transceiver.net.datagram_batch import ReceiveBatch
from antiphon.transceiver.net.udp_socket import TunnelSocket

MAX_HEADERS: Final = 8
"""Of one client whose session has moved: as many as a session knows itself. The one learned first goes first."""


class TransceiverIdentity(NamedTuple):
    """What a route token names: one incarnation of one slot. Never used twice, because each claim raises the epoch."""

    cluster: int
    slot: int
    epoch: int


class Moved(NamedTuple):
    """Where a session is now that was at another endpoint when its token was minted."""

    key: str
    """Of this entry in the bucket of sessions: the place where the session's checkpoint was."""
    to: TransceiverIdentity
    ufrags: tuple[str, ...]
    headers: tuple[bytes, ...] = ()
    """Of its client, where that entered by a relay of another place: its packets name the old endpoint."""


class PacketReceiver(Protocol):
    """What becomes of the packets that the endpoints of a process receive: `TunnelReceiver`."""

    def received(self, endpoint: Endpoint, packet: bytes, source: tuple[str, int]) -> None: ...
    def received_batch(self, endpoint: Endpoint, batch: ReceiveBatch, count: int) -> None: ...


class _OfEndpoint(NamedTuple):
    """What one endpoint's socket calls."""

    receiver: PacketReceiver
    endpoint: Endpoint

    def received(self, packet: bytes, source: tuple[str, int]) -> None:
        self.receiver.received(self.endpoint, packet, source)

    def received_batch(self, batch: ReceiveBatch, count: int) -> None:
        self.receiver.received_batch(self.endpoint, batch, count)


class Endpoint:
    """An identity and its socket. Relays route the tokens that name `identity` to `address`.

    Owner: `Endpoints`, from the claim of the identity until it closes the socket. Event loop only. Other components
    change it by the methods below; `sessions` is changed by `Endpoints` alone.
    """

    def __init__(self, identity: TransceiverIdentity, address: str, socket: TunnelSocket) -> None:
        """`address`: the socket's address as relays and other transceivers reach it."""
        self.identity = identity
        self.address = address
        self.socket = socket
        self.sessions: set[str] = set()
        self._moved: dict[str, Moved] = {}
        self._moved_clients: dict[bytes, Moved] = {}
        self._filling = False
        self._withdrawn = False

    def start(self, receiver: PacketReceiver, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """Read from now on: the packets go to `receiver`, `begin` and `end` are called around those of a wakeup."""
        self.socket.start(_OfEndpoint(receiver, self), begin, end)

    # ---- sessions that have moved on -------------------------------------------------------------------

    @property
    def moved(self) -> frozenset[Moved]:
        """Sessions whose tokens name this endpoint and which are at another one now."""
        return frozenset(self._moved.values())

    def moved_session(self, ufrag: str) -> Moved | None:
        """Where the session with this ufrag has moved to, if it has: checks of its client still come here."""
        return self._moved.get(ufrag)

    def moved_client(self, header: bytes) -> Moved | None:
        """Where the session of the client with this header has moved to, if it has and the header names us."""
        return self._moved_clients.get(header)

    def set_moved(self, moved: Iterable[Moved]) -> None:
        self._moved = {ufrag: each for each in moved for ufrag in each.ufrags}
        by_key = {each.key: each for each in self._moved.values()}
        learned = self._moved_clients.items()
        self._moved_clients = {header: each for each in by_key.values() for header in each.headers}
        self._moved_clients |= {header: by_key[each.key] for header, each in learned if each.key in by_key}

    def forget_moved(self, moved: Moved) -> None:
        self._moved = {ufrag: each for ufrag, each in self._moved.items() if each != moved}
        self._moved_clients = {header: each for header, each in self._moved_clients.items() if each != moved}

    def learn_moved_client(self, header: bytes, moved: Moved) -> None:
        """The client of a session that has moved has proved to be there as well."""
        known = [each for each, of in self._moved_clients.items() if of.key == moved.key and each != header]
        for oldest in known[: max(0, len(known) + 1 - MAX_HEADERS)]:
            del self._moved_clients[oldest]
        self._moved_clients.pop(header, None)
        self._moved_clients[header] = moved

    # ---- its life --------------------------------------------------------------------------------------

    @property
    def withdrawn(self) -> bool:
        """Another process has this identity now: we no longer announce it."""
        return self._withdrawn

    def withdraw(self) -> None:
        self._withdrawn = True

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Within it the endpoint is kept although it has no session yet: a takeover is bringing them."""
        self._filling = True
        try:
            yield
        finally:
            self._filling = False

    @property
    def idle(self) -> bool:
        """Nothing needs its socket."""
        return not (self.sessions or self._moved or self._filling)


class Endpoints:
    """The endpoints of a process, and at which of them each session is.

    Owner: the process, for its whole life. Event loop only.
    """

    def __init__(self, own: Endpoint) -> None:
        self._own = own
        self._kept: dict[TransceiverIdentity, Endpoint] = {}
        self._of: dict[str, Endpoint] = {}
        self._copied: Endpoint | None = None

    @property
    def own(self) -> Endpoint:
        """The one that takes new calls."""
        return self._own

    def for_call(self, copied: bool) -> Endpoint:
        """Where a new call goes. Calls with a copy have an endpoint apart: another cluster may go on with all of it."""
        return self._copied if copied and self._copied is not None else self._own

    def set_copied(self, endpoint: Endpoint) -> None:
        """This endpoint takes new calls that have a copy; the former one is kept for the sessions that it has."""
        self._copied = endpoint
        self.keep(endpoint)

    def __iter__(self) -> Iterator[Endpoint]:
        yield self._own
        yield from tuple(self._kept.values())

    def of(self, session_id: str) -> Endpoint:
        return self._of[session_id]

    def put(self, session_id: str, endpoint: Endpoint) -> None:
        self._of[session_id] = endpoint
        endpoint.sessions.add(session_id)

    def remove(self, session_id: str) -> None:
        endpoint = self._of.pop(session_id, None)
        if endpoint is not None:
            endpoint.sessions.discard(session_id)

    def keep(self, endpoint: Endpoint) -> None:
        """One more, for sessions that are taken over."""
        self._kept[endpoint.identity] = endpoint

    def replace_own(self, endpoint: Endpoint) -> None:
        """Another endpoint takes new calls; the former one is kept for the sessions that it has."""
        former, self._own = self._own, endpoint
        self._kept[former.identity] = former

    def close_idle(self) -> list[Endpoint]:
        """Close the kept endpoints that nothing needs any more; returns them."""
        idle = [each for each in self._kept.values() if each.idle and each is not self._copied]
        for endpoint in idle:
            del self._kept[endpoint.identity]
            endpoint.socket.close()
        return idle

    def close(self) -> None:
        for endpoint in self:
            endpoint.socket.close()
