"""ICE-TCP (RFC 6544, passive): a process that takes clients' connections and tunnels what they frame (RFC 4571).

For clients whose network lets no UDP through. Each frame is a datagram to the core, and goes the way of all
datagrams, with bit 15 of the tunnel header's family set. A connection is kept only while it is a call's:

- it may say nothing before a binding request with a good token, and must be answered by the owner within 10 s;
- who reads slowly loses datagrams, as on UDP, and holds at most `MAX_QUEUED` octets of ours;
- `MAX_CONNECTIONS` at a time; when they are taken the oldest that no owner has answered makes room.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import select
import signal
import socket
import sys
import time
from typing import Final

from antiphon.relay import stun
from antiphon.relay.channel import (
    MAX_LINE,
    MAX_SOCKETS,
    Ask,
    Keys,
    Ready,
    Routes,
    Start,
    Statistics,
    Word,
    pack,
    unpack,
)
from antiphon.relay.core import MAX_DATAGRAM, RelayCore
from antiphon.relay.flow_key import header_of, key_of, key_of_address, sockaddr_of
from antiphon.schemas.addresses import parse_address
from antiphon.schemas.route_token import RouteKeyring
from antiphon.schemas.tunnel import TCP_BIT

TICK_SECONDS: Final = 0.1
AUTHENTICATE_SECONDS: Final = 10.0
MAX_CONNECTIONS: Final = 4096
SPARE_DESCRIPTORS: Final = 64
"""Beside the connections: listeners, the tunnel, the control process."""
MAX_QUEUED: Final = 64 * 1024
"""About two seconds of a call in both audio and data."""
READ_AT_ONCE: Final = 64 * 1024
_LENGTH: Final = 2


class ControlEndedError(Exception):
    """The control process closed its end of the socket pair, or died."""


class Connection:
    """One client's, with what is read in part and what is not written yet."""

    def __init__(self, client: socket.socket, key: int, now: float) -> None:
        self.socket = client
        self.key = key
        self.since = now
        self.requested = False
        """A binding request with a good token came."""
        self.unread = b""
        self.unwritten = bytearray()

    def frames(self, data: bytes) -> list[bytes] | None:
        """The frames that are complete with this data; None if one is longer than a datagram."""
        unread, at, frames = self.unread + data, 0, []
        while len(unread) - at >= _LENGTH:
            length = unread[at] << 8 | unread[at + 1]
            if length > MAX_DATAGRAM:
                return None
            if len(unread) - at - _LENGTH < length:
                break
            at += _LENGTH
            if length:
                frames.append(unread[at : at + length])
            at += length
        self.unread = unread[at:]
        return frames

    def write(self, payload: bytes) -> bool:
        """Frame and send a datagram, or queue it; False if it is dropped because the client reads too slowly.

        Raises OSError when the connection is gone.
        """
        frame = len(payload).to_bytes(_LENGTH, "big") + payload
        if self.unwritten:
            if len(self.unwritten) + len(frame) > MAX_QUEUED:
                return False
            self.unwritten += frame
            return True
        self.unwritten += frame
        self.flush()
        return True

    def flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            del self.unwritten[: self.socket.send(self.unwritten)]


class TcpWorker:
    """The loop: connections in, decisions of the core, tunnel out; and back."""

    def __init__(self, control: socket.socket, handover: socket.socket, tunnel: socket.socket) -> None:
        self._control = control
        self._handover = handover
        self._tunnel = tunnel
        self._unread = b""
        self._core: RelayCore | None = None
        self._listeners: dict[int, socket.socket] = {}
        self._connections: dict[int, Connection] = {}  # by descriptor, oldest first
        self._by_key: dict[int, Connection] = {}
        self._poll = select.poll()
        for each in (control, handover, tunnel):
            each.setblocking(False)
            self._poll.register(each.fileno(), select.POLLIN)

    def run(self) -> None:
        """Forward until the control process ends."""
        next_tick = 0.0
        while True:
            now = time.monotonic()
            for fd, event in self._poll.poll(TICK_SECONDS * 1000):
                if fd == self._control.fileno():
                    self._hear_control(now)
                elif fd == self._handover.fileno():
                    self._take_over()
                elif self._core is None:
                    continue
                elif fd == self._tunnel.fileno():
                    self._from_tunnel(self._core, now)
                elif fd in self._listeners:
                    self._accept(self._listeners[fd], now)
                elif fd in self._connections:
                    self._serve(self._core, self._connections[fd], event, now)
            if now >= next_tick and self._core is not None:
                next_tick = now + TICK_SECONDS
                self._core.tick(now, time.time())
                self._close_what_is_no_call(self._core, now)

    # ---- connections ----

    def _accept(self, listener: socket.socket, now: float) -> None:
        try:
            client, sockaddr = listener.accept()
        except OSError as error:
            # Gone again; or no descriptor is left, and then the newcomer waits in the kernel until there is one.
            if error.errno in (errno.EMFILE, errno.ENFILE) and not self._make_room():
                self._count("too_many_connections")
            return
        if len(self._connections) >= MAX_CONNECTIONS and not self._make_room():
            self._count("too_many_connections")
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(client, key_of(sockaddr) | TCP_BIT, now)
        former = self._by_key.get(connection.key)
        if former is not None:  # it was broken off, which we have not read yet: nobody else can have its port
            self._close(former)
        self._connections[client.fileno()] = self._by_key[connection.key] = connection
        self._poll.register(client.fileno(), select.POLLIN)

    def _make_room(self) -> bool:
        for connection in self._connections.values():
            if self._core is None or self._core.flows.confirmed_owner(connection.key) is None:
                self._close(connection)
                return True
        return False

    def _serve(self, core: RelayCore, connection: Connection, event: int, now: float) -> None:
        try:
            if event & select.POLLOUT:
                connection.flush()
                self._watch(connection)
            data = connection.socket.recv(READ_AT_ONCE) if event & ~select.POLLOUT else None
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data is None:
            return
        frames = connection.frames(data)
        if not data or frames is None:
            if frames is None:
                self._count("bad_length")
            self._close(connection)
            return
        for frame in frames:
            owner = core.from_client(connection.key, frame, now)
            if owner is None and not connection.requested:
                self._close(connection)  # who has no call has nothing to say here
                return
            connection.requested = connection.requested or stun.is_binding_request(frame)
            if owner is not None:
                try:
                    self._tunnel.sendto(header_of(connection.key) + frame, sockaddr_of(owner))
                    core.counters.packets_to_transceivers += 1
                    core.counters.bytes_to_transceivers += len(frame)
                except OSError:
                    self._count("send_failed")

    def _from_tunnel(self, core: RelayCore, now: float) -> None:
        for _ in range(64):
            try:
                packet, sockaddr = self._tunnel.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                self._count("socket_error")
                continue
            client = core.from_tunnel(key_of(sockaddr), packet, now)
            if client is None:
                continue
            connection = self._by_key.get(client)
            if connection is None:
                self._count("not_connected")
                continue
            payload = packet[len(header_of(client)) :]
            try:
                if connection.write(payload):
                    core.counters.packets_to_clients += 1
                    core.counters.bytes_to_clients += len(payload)
                else:
                    self._count("slow_reader")
                self._watch(connection)
            except OSError:
                self._close(connection)

    def _watch(self, connection: Connection) -> None:
        events = select.POLLIN | (select.POLLOUT if connection.unwritten else 0)
        self._poll.modify(connection.socket.fileno(), events)

    def _close_what_is_no_call(self, core: RelayCore, now: float) -> None:
        for connection in list(self._connections.values()):
            known = core.flows.confirmed_owner(connection.key) is not None
            if not known and now - connection.since > AUTHENTICATE_SECONDS:
                self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._poll.unregister(connection.socket.fileno())
        del self._connections[connection.socket.fileno()], self._by_key[connection.key]
        connection.socket.close()
        if self._core is not None:
            self._core.flows.forget_client(connection.key)

    # ---- the control process ----

    def _take_over(self) -> None:
        with contextlib.suppress(BlockingIOError):
            said, descriptors, _, _ = socket.recv_fds(self._handover, 64, MAX_SOCKETS)
            if not said:
                raise ControlEndedError
            for fd in descriptors:
                listener = socket.socket(fileno=fd)
                listener.setblocking(False)
                self._listeners[fd] = listener
                self._poll.register(fd, select.POLLIN)

    def _hear_control(self, now: float) -> None:
        try:
            data = self._control.recv(1 << 16)
        except BlockingIOError:
            return
        self._unread += data
        if not data or (len(self._unread) > MAX_LINE and b"\n" not in self._unread):
            raise ControlEndedError
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            self._heed(unpack(line), now)

    def _heed(self, word: Word, now: float) -> None:
        if isinstance(word, Start):
            # Nothing is learned here: a connection ends with its relay, and no packet of an owner brings it back.
            self._core = RelayCore(
                RouteKeyring.from_text(word.route_keys),
                word.max_flows,
                time.time(),
                word.new_flows_per_network,
                learning=False,
                tcp=True,
            )
            self._say(Ready("portable", "connections of clients", time.monotonic()))
            return
        core = self._core
        assert core is not None, "the control process speaks before it starts"
        match word:
            case Routes() as routes:
                core.set_routes(
                    {who: key_of_address(parse_address(at)) for who, at in routes.by_identity().items()}, now
                )
            case Keys(route_keys):
                core.set_keyring(RouteKeyring.from_text(route_keys))
            case Ask():
                counters, flows = core.counters, core.flows
                self._say(
                    Statistics(
                        packets_to_transceivers=counters.packets_to_transceivers,
                        bytes_to_transceivers=counters.bytes_to_transceivers,
                        packets_to_clients=counters.packets_to_clients,
                        bytes_to_clients=counters.bytes_to_clients,
                        flows_confirmed=flows.confirmed,
                        flows_half_open=flows.half_open,
                        routes=core.routes,
                        drops={reason: count for reason, count in counters.drops.items() if count},
                    )
                )

    def _count(self, reason: str) -> None:
        if self._core is not None:
            self._core.counters.drops[reason] += 1

    def _say(self, word: Word) -> None:
        with contextlib.suppress(BlockingIOError):
            self._control.sendall(pack(word))


def allow_descriptors() -> None:
    """Let this process have as many open as it has connections, where the usual 1024 may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    """`python -m antiphon.relay.tcp_worker CONTROL HANDOVER TUNNEL`: started by the control process only."""
    try:
        control, handover, tunnel = map(int, sys.argv[1:])
    except ValueError:
        sys.exit("antiphon.relay.tcp_worker is started by antiphon.relay, with three file descriptors; not by hand")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    allow_descriptors()
    with contextlib.suppress(ControlEndedError, ConnectionError):
        TcpWorker(*(socket.socket(fileno=fd) for fd in (control, handover, tunnel))).run()


if __name__ == "__main__":
    main()
