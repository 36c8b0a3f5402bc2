"""A forwarding worker: a process that does nothing but move datagrams.

Why a process and not a thread: the control side parses JSON, talks to NATS and collects garbage, and while it
holds the interpreter's lock no packet moves. Here nothing else runs, so the collector can be off
(nothing on the packet path makes cycles). It reads no configuration and opens no socket: the control process
binds them and hands them over, so that datagrams wait in the kernel while a dead worker is replaced.
It ends when its control process does: the socket pair tells at once, also after a kill -9.

Its imports are few: a relay that was killed forwards again when its worker is up, not when NATS is connected.
"""

from __future__ import annotations

import contextlib
import gc
import select
import signal
import socket
import sys
import time
from typing import Final

from antiphon.relay.batched import BatchedPath
from antiphon.relay.channel import (
    MAX_LINE,
    MAX_SOCKETS,
    Ask,
    Find,
    Found,
    Hello,
    Keys,
    Ready,
    Routes,
    Start,
    Statistics,
    Word,
    pack,
    unpack,
)
from antiphon.relay.core import RelayCore
from antiphon.relay.flow_key import key_of_address
from antiphon.relay.mmsg import why_not
from antiphon.relay.portable import PortablePath
from antiphon.schemas.addresses import parse_address
from antiphon.schemas.route_token import RouteKeyring

TICK_SECONDS: Final = 0.1
ROUNDS: Final = 4
"""Batches read from one socket before the other one gets its turn."""


class ControlEndedError(Exception):
    """The control process closed its end of the socket pair, or died."""


class Worker:
    """The loop: sockets in, decisions of the core, sockets out."""

    def __init__(self, control: socket.socket, handover: socket.socket, tunnel: socket.socket) -> None:
        self._control = control
        self._handover = handover
        self._public: dict[socket.AddressFamily, socket.socket] = {}
        self._tunnel = tunnel
        self._unread = b""
        self._lateness = 0.0
        tunnel.setblocking(False)
        start = self._first_word()
        self._core = RelayCore(
            RouteKeyring.from_text(start.route_keys),
            start.max_flows,
            time.time(),
            start.new_flows_per_network,
            learning=start.learning,
            asking=start.learning,
        )
        reason = ""
        if start.path == "portable":
            reason = "ANTIPHON_RELAY_PATH says so"
        elif tunnel.family != socket.AF_INET:
            reason = "the tunnel socket is IPv6"
        else:
            reason = why_not() or ""
        loop = PortablePath if reason else BatchedPath
        self._path = loop(self._core, self._public, tunnel)
        control.setblocking(False)
        handover.setblocking(False)
        self._why_this_path = reason

    def _first_word(self) -> Start:
        while b"\n" not in self._unread:
            self._read_control()
        line, _, self._unread = self._unread.partition(b"\n")
        start = unpack(line)
        assert isinstance(start, Start), f"the control process began with {type(start).__name__}"
        return start

    def run(self) -> None:
        """Forward until the control process ends."""
        families: dict[int, socket.AddressFamily] = {}
        sockets = {self._tunnel.fileno(): self._tunnel}
        control_fd, handover_fd, path, core = self._control.fileno(), self._handover.fileno(), self._path, self._core
        poll = select.poll()
        for fd in (*sockets, control_fd, handover_fd):
            poll.register(fd, select.POLLIN)
        next_tick = time.monotonic()

        def take_over() -> None:
            for public in self._take_over():
                families[public.fileno()], sockets[public.fileno()] = public.family, public
                poll.register(public.fileno(), select.POLLIN)

        take_over()  # before the first hello: its answers are already for clients
        self._heed(next_tick)  # routes that came along with the first word
        self._say(Ready(path.name, self._why_this_path, time.monotonic()))
        while True:
            ready = poll.poll(TICK_SECONDS * 1000)
            now = time.monotonic()
            for fd, event in ready:
                if fd == control_fd:
                    self._hear_control(now)
                    continue
                if fd == handover_fd:
                    take_over()
                    continue
                if event & select.POLLERR:
                    sockets[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading clears it
                family = families.get(fd)
                for _ in range(ROUNDS):
                    more = path.from_tunnel(now) if family is None else path.from_clients(family, now)
                    if not more:
                        break
            for client in core.questions():
                self._say(Find(client))
            if now >= next_tick:
                self._lateness = max(self._lateness, now - next_tick - TICK_SECONDS)
                next_tick = now + TICK_SECONDS
                core.tick(now, time.time())
                for owner in core.due_hellos(now):
                    path.hello(owner)
                path.release_held()

    def _take_over(self) -> list[socket.socket]:
        """Public sockets that were just handed to us."""
        try:
            said, descriptors, _, _ = socket.recv_fds(self._handover, 64, MAX_SOCKETS)
        except BlockingIOError:
            return []
        if not said:
            raise ControlEndedError
        taken = [socket.socket(fileno=fd) for fd in descriptors]
        for public in taken:
            public.setblocking(False)
            self._public[public.family] = public
        return taken

    def _read_control(self) -> None:
        data = self._control.recv(1 << 16)
        if not data:
            raise ControlEndedError
        self._unread += data
        if len(self._unread) > MAX_LINE and b"\n" not in self._unread:
            raise ControlEndedError

    def _hear_control(self, now: float) -> None:
        with contextlib.suppress(BlockingIOError):
            self._read_control()
            self._heed(now)

    def _heed(self, now: float) -> None:
        *lines, self._unread = self._unread.split(b"\n")
        core = self._core
        for line in lines:
            match unpack(line):
                case Routes() as routes:
                    core.set_routes(
                        {who: key_of_address(parse_address(at)) for who, at in routes.by_identity().items()}, now
                    )
                case Hello():
                    core.say_hello_again(now)
                case Found(client, cluster, slot, epoch):
                    if core.found(client, (cluster, slot, epoch), now) is not None:
                        self._path.release_held()
                case Keys(route_keys):
                    core.set_keyring(RouteKeyring.from_text(route_keys))
                case Ask():
                    self._say(self._statistics())
        for owner in core.due_hellos(now):
            self._path.hello(owner)

    def _statistics(self) -> Statistics:
        counters, flows = self._core.counters, self._core.flows
        lateness, self._lateness = self._lateness, 0.0
        batches: dict[str, int] = {}
        for size, times in counters.batches.items():
            up_to = str(1 << (size - 1).bit_length())
            batches[up_to] = batches.get(up_to, 0) + times
        return Statistics(
            packets_to_transceivers=counters.packets_to_transceivers,
            bytes_to_transceivers=counters.bytes_to_transceivers,
            packets_to_clients=counters.packets_to_clients,
            bytes_to_clients=counters.bytes_to_clients,
            hellos_sent=counters.hellos_sent,
            flows_confirmed=flows.confirmed,
            flows_half_open=flows.half_open,
            flows_found=counters.flows_found,
            routes=self._core.routes,
            lateness_ms=round(lateness * 1000, 2),
            drops={reason: count for reason, count in counters.drops.items() if count},
            batches=batches,
        )

    def _say(self, word: Word) -> None:
        # Questions are few and one `Ask` is outstanding at most, so the pair's buffer holds every line whole.
        with contextlib.suppress(BlockingIOError):
            self._control.sendall(pack(word))


def main() -> None:
    """`python -m antiphon.relay.worker CONTROL HANDOVER TUNNEL`: started by the control process only."""
    try:
        control, handover, tunnel = map(int, sys.argv[1:])
    except ValueError:
        sys.exit("antiphon.relay.worker is started by antiphon.relay, with three file descriptors; not by hand")
    # Ctrl-C and a service manager signal the whole group; the control process decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(ControlEndedError, ConnectionError):
        worker = Worker(*(socket.socket(fileno=fd) for fd in (control, handover, tunnel)))
        gc.collect()
        gc.freeze()
        gc.disable()
        worker.run()


if __name__ == "__main__":
    main()
