"""A forwarding worker: a process that does nothing but move datagrams.

Why a process and not a thread: the control process parses JSON, talks to NATS and collects garbage, and no packet
moves while it holds the interpreter's lock. Here nothing else runs, so the collector can be off (nothing on the packet
path makes cycles). A worker reads no configuration and opens no socket: the control process binds them and hands them
over, so that datagrams wait in the kernel while a dead worker is replaced. A worker ends when its control process does:
the socket pair closes at once, also after a kill -9.

Its imports are few: a relay that was killed forwards again when its worker is up, not when NATS is connected.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from typing import Final

from antiphon.relay.control.ipc import MAX_SOCKETS, Ask, Find, Found, Hello, Ready, Statistics
from antiphon.relay.dataplane.batched import BatchedPath, Batches
from antiphon.relay.dataplane.mmsg import why_not
from antiphon.relay.dataplane.portable import PortablePath
from antiphon.relay.dataplane.worker_control import (
    ControlEndedError,
    WorkerControl,
    apply,
    new_core,
    receive_own_sockets,
    report_busy,
    report_round_trips,
    run_worker,
    warm_up,
)

TICK_SECONDS: Final = 0.1
ROUNDS: Final = 4
"""Batches read from one socket before the other one gets its turn."""
TIMED_BATCHES: Final = 16
"""One in so many is timed, from before its read to after its last send: 1 us each time (`antiphon bench metrics`)."""


class Worker:
    """The loop: sockets in, decisions of the core, sockets out. One per worker process, for the life of it."""

    def __init__(self, control: socket.socket, handover: socket.socket) -> None:
        # Before the order to begin, which may be that of a standby: what takes 0.1 s is done by then.
        gc.collect()
        gc.freeze()
        gc.disable()
        warm_up()
        batches = Batches() if why_not() is None else None
        self._control = WorkerControl(control)
        start = self._control.receive_start()
        tunnel, backbone = receive_own_sockets(handover)
        self._handover = handover
        self._public: dict[socket.AddressFamily, socket.socket] = {}
        self._tunnel = tunnel
        self._lateness = 0.0
        tunnel.setblocking(False)
        self._core = new_core(start, backbone, learning=start.learning)
        reason = ""
        if start.path == "portable":
            reason = "ANTIPHON_RELAY_PATH is portable"
        elif tunnel.family != socket.AF_INET:
            reason = "the tunnel socket is IPv6"
        else:
            reason = why_not() or ""
        if reason or batches is None:
            self._path = PortablePath(self._core, self._public, tunnel, backbone)
        else:
            self._path = BatchedPath(self._core, self._public, tunnel, batches, backbone)
        handover.setblocking(False)
        self._why_this_path = reason

    def run(self) -> None:
        """Forward until the control process ends."""
        families: dict[int, socket.AddressFamily] = {}
        sockets = {self._tunnel.fileno(): self._tunnel}
        control_fd, handover_fd, path, core = self._control.fileno(), self._handover.fileno(), self._path, self._core
        backbone = path.backbone
        backbone_fd = -1
        poll = select.poll()
        if backbone is not None:
            backbone_fd = backbone.socket.fileno()
            sockets[backbone_fd] = backbone.socket
        for fd in (*sockets, control_fd, handover_fd):
            poll.register(fd, select.POLLIN)
        next_tick = time.monotonic()
        samples = 0

        def add_sockets() -> None:
            for public in self._receive_sockets():
                families[public.fileno()], sockets[public.fileno()] = public.family, public
                poll.register(public.fileno(), select.POLLIN)

        add_sockets()  # before the first hello: its answers are already for clients
        self._apply_messages(next_tick)  # routes that came along with the first message
        self._control.send(Ready(path.name, self._why_this_path, time.monotonic()))
        while True:
            wait = TICK_SECONDS
            if backbone is not None:
                wait = min(wait, backbone.wait(time.monotonic()))
            ready = poll.poll(wait * 1000)
            now = time.monotonic()
            for fd, event in ready:
                if fd == control_fd:
                    self._apply_messages(now)
                    continue
                if fd == handover_fd:
                    add_sockets()
                    continue
                if event & select.POLLERR and backbone is not None and fd == backbone_fd:
                    backbone.read_errors(now)
                elif event & select.POLLERR:
                    sockets[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading clears it
                family = families.get(fd)
                samples += 1
                began = 0.0 if samples % TIMED_BATCHES else time.monotonic()
                for _ in range(ROUNDS):
                    if family is not None:
                        more = path.from_clients(family, now)
                    else:
                        more = path.from_backbone(now) if fd == backbone_fd else path.from_tunnel(now)
                    if began:
                        if fd != backbone_fd:
                            direction = "to_clients" if family is None else "to_transceivers"
                            core.counters.delayed(direction, time.monotonic() - began)
                        began = 0.0  # the next batch has waited meanwhile
                    if not more:
                        break
            if backbone is not None:
                backbone.send_hellos(now)
            if core.notices:
                path.send_notices()
            for client in core.questions():
                self._control.send(Find(client))
            if now >= next_tick:
                self._lateness = max(self._lateness, now - next_tick - TICK_SECONDS)
                next_tick = now + TICK_SECONDS
                core.tick(now, time.time())
                report_busy(core, self._control)
                report_round_trips(backbone, self._control, now)
                for owner in core.due_hellos(now):
                    path.hello(owner)
                path.forward_pending()

    def _receive_sockets(self) -> list[socket.socket]:
        """Public sockets that the control process has handed over since."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._handover, 64, MAX_SOCKETS)
        except BlockingIOError:
            return []
        if not data:
            raise ControlEndedError
        taken = [socket.socket(fileno=fd) for fd in descriptors]
        for public in taken:
            public.setblocking(False)
            self._public[public.family] = public
        return taken

    def _apply_messages(self, now: float) -> None:
        core, backbone = self._core, self._path.backbone
        for message in self._control.receive():
            if backbone is not None:
                backbone.look_soon()
            match message:
                case Hello():
                    core.repeat_hellos(now)
                case Found(client, cluster, slot, epoch):
                    if core.found(client, (cluster, slot, epoch), now) is not None:
                        self._path.forward_pending()
                case Ask():
                    self._control.send(Statistics(core.measured(self._lateness).values()))
                    self._lateness = 0.0
                case _:
                    apply(core, message, now)
        for owner in core.due_hellos(now):
            self._path.hello(owner)


if __name__ == "__main__":
    run_worker("antiphon.relay.dataplane.worker", Worker)
