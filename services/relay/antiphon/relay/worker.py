"""A forwarding worker: a process that does nothing but move datagrams.

Why a process and not a thread: the control side parses JSON, talks to NATS and collects garbage, and while it
holds the interpreter's lock no packet moves. Here nothing else runs, so the collector can be off
(nothing on the packet path makes cycles). It reads no configuration and opens no socket: the control process
binds them and hands them over, so that datagrams wait in the kernel while a dead worker is replaced.
It ends when its control process does: the socket pair tells at once, also after a kill -9.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import select
import signal
import socket
import time
from typing import Final

from antiphon.relay.batched import BatchedPath
from antiphon.relay.channel import MAX_LINE, Ask, Ready, Routes, Start, Statistics, pack, unpack
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

    def __init__(self, control: socket.socket, public: list[socket.socket], tunnel: socket.socket) -> None:
        self._control = control
        self._public = {each.family: each for each in public}
        self._tunnel = tunnel
        self._unread = b""
        for each in (*public, tunnel):
            each.setblocking(False)
        start = self._first_word()
        self._core = RelayCore(RouteKeyring.from_text(start.route_keys), start.max_flows, time.time())
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
        self._say(pack(Ready(self._path.name, reason)))

    def _first_word(self) -> Start:
        while b"\n" not in self._unread:
            self._read_control()
        line, _, self._unread = self._unread.partition(b"\n")
        start = unpack(line)
        assert isinstance(start, Start), f"the control process began with {type(start).__name__}"
        return start

    def run(self) -> None:
        """Forward until the control process ends."""
        families = {each.fileno(): family for family, each in self._public.items()}
        sockets = {each.fileno(): each for each in (*self._public.values(), self._tunnel)}
        poll = select.poll()
        for fd in (*sockets, self._control.fileno()):
            poll.register(fd, select.POLLIN)
        control_fd, path = self._control.fileno(), self._path
        next_tick = 0.0
        self._heed(time.monotonic())  # routes that came along with the first word
        while True:
            ready = poll.poll(TICK_SECONDS * 1000)
            now = time.monotonic()
            for fd, event in ready:
                if fd == control_fd:
                    self._hear_control(now)
                    continue
                if event & select.POLLERR:
                    sockets[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading clears it
                family = families.get(fd)
                for _ in range(ROUNDS):
                    more = path.from_tunnel(now) if family is None else path.from_clients(family, now)
                    if not more:
                        break
            if now >= next_tick:
                next_tick = now + TICK_SECONDS
                self._core.tick(now, time.time())
                for owner in self._core.due_hellos(now):
                    path.hello(owner)

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
        for line in lines:
            match unpack(line):
                case Routes() as routes:
                    self._core.set_routes(
                        {who: key_of_address(parse_address(at)) for who, at in routes.by_identity().items()}, now
                    )
                    for owner in self._core.due_hellos(now):
                        self._path.hello(owner)
                case Ask():
                    self._say(pack(self._statistics()))

    def _statistics(self) -> Statistics:
        counters, flows = self._core.counters, self._core.flows
        return Statistics(
            counters.packets_to_transceivers,
            counters.bytes_to_transceivers,
            counters.packets_to_clients,
            counters.bytes_to_clients,
            counters.hellos_sent,
            len(flows.confirmed),
            flows.half_open,
            self._core.routes,
            {reason: count for reason, count in counters.drops.items() if count},
        )

    def _say(self, line: bytes) -> None:
        # One question is outstanding at most, so the pair's buffer holds every answer whole.
        with contextlib.suppress(BlockingIOError):
            self._control.sendall(line)


def main() -> None:
    """`python -m antiphon.relay.worker`: started by the control process only."""
    arguments = argparse.ArgumentParser(description="Forwarding worker of antiphon.relay; not to be started by hand.")
    arguments.add_argument("--control", type=int, required=True, help="file descriptor of the socket pair")
    arguments.add_argument("--tunnel", type=int, required=True, help="file descriptor of the tunnel socket")
    arguments.add_argument("--public", type=int, required=True, action="append", help="... of a public socket")
    given = arguments.parse_args()
    # Ctrl-C and a service manager signal the whole group; the control process decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(ControlEndedError, ConnectionError):
        worker = Worker(
            socket.socket(fileno=given.control),
            [socket.socket(fileno=fd) for fd in given.public],
            socket.socket(fileno=given.tunnel),
        )
        gc.collect()
        gc.freeze()
        gc.disable()
        worker.run()


if __name__ == "__main__":
    main()
