"""ICE-TCP (RFC 6544, passive): a process that takes clients' connections and tunnels what they frame (RFC 4571).

For clients whose network lets no UDP through. Each frame is a datagram to the core, and goes the way of all
datagrams, with bit 15 of the tunnel header's family set. A connection is kept only while it is a call's:

- its first frame must be a binding request with a good token, and the owner must answer it within 10 s;
- a client that reads slowly loses datagrams, as on UDP; at most `MAX_QUEUED` octets wait for it;
- what its caller sends beyond its budget is read and dropped, `READ_AT_ONCE` octets in `PAUSE_SECONDS` at most;
- `MAX_CONNECTIONS` at a time; when all are taken, the oldest one that no owner has answered makes room.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import select
import socket
import time
from typing import Final

from antiphon.relay.control.ipc import MAX_SOCKETS, Ask, Ready, Statistics
from antiphon.relay.core import stun
from antiphon.relay.core.core import OVER_BUDGET_REASON
from antiphon.relay.core.flow_key import header_of, key_of
from antiphon.relay.core.outgoing import MAX_DATAGRAM
from antiphon.relay.dataplane.backbone_socket import BackboneSocket
from antiphon.relay.dataplane.outgoing_sender import OutgoingSender
from antiphon.relay.dataplane.portable import BACKBONE_FLAG
from antiphon.relay.dataplane.rfc4571 import FrameReader, FrameTooLongError, pack_frame
from antiphon.relay.dataplane.worker_control import (
    ControlEndedError,
    WorkerControl,
    apply,
    new_core,
    receive_own_sockets,
    report_busy,
    report_round_trips,
    run_worker,
)
from antiphon.schemas.tunnel import TCP_BIT

TICK_SECONDS: Final = 0.1
AUTHENTICATE_SECONDS: Final = 10.0
MAX_CONNECTIONS: Final = 4096
SPARE_DESCRIPTORS: Final = 64
"""Beside the connections: listeners, the tunnel, the control process."""
MAX_QUEUED: Final = 64 * 1024
"""About two seconds of a call in both audio and data."""
READ_AT_ONCE: Final = 16 * 1024
"""Frames of one octet would be 5500: some 2 ms of work, for which other connections wait."""
PAUSE_SECONDS: Final = 0.01
"""A connection that sends too much is not read for so long: it gets a small share of this process's time."""


class Connection:
    """One client's connection; belongs to the `IceTcpWorker` that accepted it, until either end closes it."""

    def __init__(self, client: socket.socket, key: int, now: float) -> None:
        self.socket = client
        self.key = key
        self.since = now
        self.requested = False
        """A binding request with a good token came."""
        self.frames = FrameReader(MAX_DATAGRAM)
        self.unwritten = bytearray()

    def write(self, payload: bytes) -> bool:
        """Frame and send a datagram, or queue it; False if it is dropped because the client reads too slowly.

        Raises OSError when the connection is gone.
        """
        frame = pack_frame(payload)
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


class IceTcpWorker:
    """The loop: connections in, decisions of the core, tunnel out; and back. One per process, for the life of it."""

    def __init__(self, control: socket.socket, handover: socket.socket) -> None:
        self._control = WorkerControl(control)
        start = self._control.receive_start()
        self._handover = handover
        self._tunnel, backbone = receive_own_sockets(handover)
        # Nothing is learned here: a connection ends with its relay, and no packet of an owner brings it back.
        self._core = new_core(start, backbone, learning=False, tcp=True)
        self._backbone = BackboneSocket(self._core, backbone) if backbone is not None else None
        self._outgoing = OutgoingSender(self._core, self._tunnel, self._backbone, self._send_to_client)
        self._listeners: dict[int, socket.socket] = {}
        self._connections: dict[int, Connection] = {}  # by descriptor, oldest first
        self._by_key: dict[int, Connection] = {}
        self._paused: dict[int, float] = {}  # by descriptor, until when; the first to end first
        self._poll = select.poll()
        handover.setblocking(False)
        self._tunnel.setblocking(False)
        for fd in (self._control.fileno(), handover.fileno(), self._tunnel.fileno()):
            self._poll.register(fd, select.POLLIN)
        if backbone is not None:
            self._poll.register(backbone.fileno(), select.POLLIN)

    def run(self) -> None:
        """Forward until the control process ends."""
        self._apply_messages(time.monotonic())  # routes that came along with the first message
        self._control.send(Ready("portable", "connections of clients", time.monotonic()))
        next_tick = 0.0
        while True:
            now = time.monotonic()
            wait = PAUSE_SECONDS if self._paused else TICK_SECONDS
            if self._backbone is not None:
                wait = min(wait, self._backbone.wait(now))
            for fd, event in self._poll.poll(wait * 1000):
                if fd == self._control.fileno():
                    self._apply_messages(now)
                elif fd == self._handover.fileno():
                    self._receive_sockets()
                elif fd == self._tunnel.fileno():
                    self._from_tunnel(now)
                elif self._backbone is not None and fd == self._backbone.socket.fileno():
                    if event & select.POLLERR:
                        self._backbone.read_errors(now)
                    self._from_backbone(self._backbone.socket, now)
                elif fd in self._listeners:
                    self._accept(self._listeners[fd], now)
                elif fd in self._connections:
                    self._serve(self._connections[fd], event, now)
            self._read_again(now)
            for owner, packet in self._core.notices.take():
                self._outgoing.to_transceiver(packet, owner, 0)
            if self._backbone is not None:
                self._backbone.send_hellos(time.monotonic())
            if now >= next_tick:
                next_tick = now + TICK_SECONDS
                self._core.tick(now, time.time())
                report_busy(self._core, self._control)
                report_round_trips(self._backbone, self._control, now)
                self._close_what_is_no_call(now)

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
        if former is not None:  # it has ended, which we have not read yet: no other client can have its port
            self._close(former)
        self._connections[client.fileno()] = self._by_key[connection.key] = connection
        self._poll.register(client.fileno(), select.POLLIN)

    def _make_room(self) -> bool:
        for connection in self._connections.values():
            if self._core.flows.confirmed_owner(connection.key) is None:
                self._close(connection)
                return True
        return False

    def _serve(self, connection: Connection, event: int, now: float) -> None:
        core = self._core
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
        if not data:
            self._close(connection)
            return
        try:
            frames = connection.frames.receive(data)
        except FrameTooLongError:
            self._count("bad_length")
            self._close(connection)
            return
        if len(data) == READ_AT_ONCE:  # no call sends so much: empty frames, or a caller beyond its budget
            self._pause(connection, now)
        dropped = core.counters.drops[OVER_BUDGET_REASON]
        for number, frame in enumerate(frames):
            if core.counters.drops[OVER_BUDGET_REASON] > dropped and connection.requested:
                core.counters.drops[OVER_BUDGET_REASON] += len(frames) - number
                self._pause(connection, now)
                return
            owner = core.from_client(connection.key, frame, now)
            if owner is None and not connection.requested:
                self._close(connection)  # a client without a call
                return
            connection.requested = connection.requested or stun.is_binding_request(frame)
            if owner is not None:
                self._outgoing.forward(connection.key, owner, frame)

    def _pause(self, connection: Connection, now: float) -> None:
        self._paused[connection.socket.fileno()] = now + PAUSE_SECONDS
        self._watch(connection)

    def _read_again(self, now: float) -> None:
        while self._paused:
            fd, until = next(iter(self._paused.items()))
            if now < until:
                break
            del self._paused[fd]
            self._watch(self._connections[fd])

    def _from_tunnel(self, now: float) -> None:
        core = self._core
        for _ in range(64):
            try:
                packet, sockaddr = self._tunnel.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                self._count("socket_error")
                continue
            if self._backbone is not None and len(packet) > 1 and packet[1] & BACKBONE_FLAG:
                self._outgoing.deliver_all(core.backbone.to_ingress(key_of(sockaddr), packet, now))
                continue
            client = core.from_tunnel(key_of(sockaddr), packet, now)
            if client is not None:
                self._send_to_client(client, memoryview(packet)[len(header_of(client)) :])

    def _from_backbone(self, backbone: socket.socket, now: float) -> None:
        core = self._core
        for _ in range(64):
            try:
                packet, sockaddr = backbone.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error, which is read as such
                continue
            self._outgoing.deliver_all(core.backbone.received(key_of(sockaddr), packet, now))

    def _send_to_client(self, client: int, payload: memoryview) -> None:
        connection = self._by_key.get(client)
        if connection is None:
            self._count("not_connected")
            return
        counters = self._core.counters
        try:
            if connection.write(bytes(payload)):
                counters.packets_to_clients += 1
                counters.bytes_to_clients += len(payload)
            else:
                self._count("slow_reader")
            self._watch(connection)
        except OSError:
            self._close(connection)

    def _watch(self, connection: Connection) -> None:
        fd = connection.socket.fileno()
        events = (0 if fd in self._paused else select.POLLIN) | (select.POLLOUT if connection.unwritten else 0)
        self._poll.modify(fd, events)

    def _close_what_is_no_call(self, now: float) -> None:
        for connection in list(self._connections.values()):
            known = self._core.flows.confirmed_owner(connection.key) is not None
            if not known and now - connection.since > AUTHENTICATE_SECONDS:
                self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._poll.unregister(connection.socket.fileno())
        self._paused.pop(connection.socket.fileno(), None)
        del self._connections[connection.socket.fileno()], self._by_key[connection.key]
        connection.socket.close()
        self._core.flows.forget_client(connection.key)

    # ---- the control process ----

    def _receive_sockets(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data, descriptors, _, _ = socket.recv_fds(self._handover, 64, MAX_SOCKETS)
            if not data:
                raise ControlEndedError
            for fd in descriptors:
                listener = socket.socket(fileno=fd)
                listener.setblocking(False)
                self._listeners[fd] = listener
                self._poll.register(fd, select.POLLIN)

    def _apply_messages(self, now: float) -> None:
        for message in self._control.receive():
            if self._backbone is not None:
                self._backbone.look_soon()
            if isinstance(message, Ask):
                self._control.send(Statistics(self._core.measured().values()))
            else:
                apply(self._core, message, now)

    def _count(self, reason: str) -> None:
        self._core.counters.drops[reason] += 1


def allow_descriptors() -> None:
    """Let this process have as many open as it has connections, where the usual 1024 may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


if __name__ == "__main__":
    allow_descriptors()
    run_worker("antiphon.relay.dataplane.ice_tcp_worker", IceTcpWorker)
