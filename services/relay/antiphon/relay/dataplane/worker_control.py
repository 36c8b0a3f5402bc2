"""A worker's end of the socket pair to its control process: the messages on it and what all workers do about them."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

from antiphon.relay.control.ipc import MAX_LINE, Busy, IpcMessage, Keys, Routes, Start, pack, unpack
from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import key_of_address
from antiphon.relay.core.packet_budget import PacketLimit, Spent
from antiphon.schemas.addresses import parse_address
from antiphon.schemas.route_token import UFRAG_LENGTH, RouteKeyring

READ_AT_ONCE: Final = 1 << 16


class ControlEndedError(Exception):
    """The control process closed its end of the socket pair, or died."""


class WorkerControl:
    """Messages from and to the control process. Belongs to the worker, whose loop alone calls it.

    Blocks until the first message has come, and never again.
    """

    def __init__(self, control: socket.socket) -> None:
        self._socket = control
        self._unread = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive_start(self) -> Start:
        """The first message, which the control process sends at once; waits for it."""
        while b"\n" not in self._unread:
            self._read()
        self._socket.setblocking(False)
        line, _, self._unread = self._unread.partition(b"\n")
        start = unpack(line)
        assert isinstance(start, Start), f"the control process began with {type(start).__name__}"
        return start

    def receive(self) -> list[IpcMessage]:
        """The messages that have come since, if any; raises `ControlEndedError`."""
        with contextlib.suppress(BlockingIOError):
            self._read()
        *lines, self._unread = self._unread.split(b"\n")
        return [unpack(line) for line in lines]

    def _read(self) -> None:
        data = self._socket.recv(READ_AT_ONCE)
        self._unread += data
        if not data or (len(self._unread) > MAX_LINE and b"\n" not in self._unread):
            raise ControlEndedError

    def send(self, message: IpcMessage) -> None:
        """Send one message; dropped if the control process does not read."""
        # Look-ups are few and one `Ask` is outstanding at most, so the pair's buffer holds every line whole.
        with contextlib.suppress(BlockingIOError):
            self._socket.sendall(pack(message))


def warm_up() -> None:
    """Have the cipher of the tokens loaded, which takes 20 ms the first time."""
    RouteKeyring.from_text(f"A:{bytes(16).hex()}").find(b"A" * UFRAG_LENGTH)


def new_core(start: Start, *, learning: bool, tcp: bool = False) -> RelayCore:
    """The core of a worker that was started with these settings."""
    return RelayCore(
        RouteKeyring.from_text(start.route_keys),
        start.max_flows,
        time.time(),
        start.new_flows_per_network,
        learning=learning,
        asking=learning,
        tcp=tcp,
        limit=PacketLimit(start.packets_per_second, start.packets_burst),
    )


def apply(core: RelayCore, message: IpcMessage, now: float) -> None:
    """What every worker does about a message; other messages change nothing."""
    match message:
        case Routes() as routes:
            core.set_routes({who: key_of_address(parse_address(at)) for who, at in routes.by_identity().items()}, now)
        case Keys(route_keys):
            core.set_keyring(RouteKeyring.from_text(route_keys))
        case Busy(spent):
            core.spent_elsewhere([Spent(tuple(token), half, packets) for token, half, packets in spent], now)


def report_busy(core: RelayCore, control: WorkerControl) -> None:
    """Tell the relay's other workers which calls send much through this one; to be called at each tick."""
    busy = core.take_busy()
    if busy:
        control.send(Busy([(list(token), half_open, packets) for token, half_open, packets in busy]))


class _Runnable(Protocol):
    def run(self) -> None: ...


def receive_tunnel(handover: socket.socket) -> socket.socket:
    """The tunnel socket, which the control process hands over first; waits for it."""
    data, descriptors, _, _ = socket.recv_fds(handover, 64, 1)
    if not data:
        raise ControlEndedError
    return socket.socket(fileno=descriptors[0])


def run_worker(module: str, worker: Callable[[socket.socket, socket.socket], _Runnable]) -> None:
    """`python -m MODULE CONTROL HANDOVER`: started by the control process only, and ends with it."""
    try:
        control, handover = map(int, sys.argv[1:])
    except ValueError:
        sys.exit(f"{module} is started by antiphon.relay, with two file descriptors; not by hand")
    # Ctrl-C and a service manager signal the whole group; the control process decides when this one ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ControlEndedError, ConnectionError):
        worker(*(socket.socket(fileno=fd) for fd in (control, handover))).run()
