"""A worker's end of the socket pair to its control process: the messages on it and what all workers do about them."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from antiphon.relay.control.ipc import (
    MAX_LINE,
    MAX_SOCKETS,
    Backbone,
    Busy,
    Ingress,
    IpcMessage,
    Keys,
    Moves,
    RoundTrips,
    Routes,
    Start,
    TagKeys,
    pack,
    unpack,
)
from antiphon.relay.core.backbone_table import Relay
from antiphon.relay.core.core import RelayCore
from antiphon.relay.core.flow_key import key_of, key_of_address
from antiphon.relay.core.packet_budget import PacketLimit, Spent
from antiphon.relay.core.two_hops import TwoHopsSettings
from antiphon.relay.dataplane.backbone_socket import BackboneSocket
from antiphon.schemas.addresses import parse_address
from antiphon.schemas.backbone import BackboneKeys
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


def new_core(start: Start, backbone: socket.socket | None, *, learning: bool, tcp: bool = False) -> RelayCore:
    """The core of a worker that was started with these settings; `backbone`: its socket there, if it has one."""
    two_hops = None
    if backbone is not None:
        keys = BackboneKeys.from_text(start.backbone_keys)
        two_hops = TwoHopsSettings(start.ingress, start.cluster, start.worker, keys, key_of(backbone.getsockname()))
    return RelayCore(
        RouteKeyring.from_text(start.route_keys),
        start.max_flows,
        time.time(),
        start.new_flows_per_network,
        learning=learning,
        asking=learning,
        tcp=tcp,
        limit=PacketLimit(start.packets_per_second, start.packets_burst),
        two_hops=two_hops,
    )


def apply(core: RelayCore, message: IpcMessage, now: float) -> None:
    """What every worker does about a message; other messages change nothing."""
    match message:
        case Routes() as routes:
            core.set_routes({who: key_of_address(parse_address(at)) for who, at in routes.by_identity().items()}, now)
        case Backbone(relays):
            core.set_relays([_relay(*each) for each in relays], now)
        case Moves(moves):
            core.set_moves([(_identity(old), _identity(new)) for old, new in moves], now)
        case Ingress(number):
            core.set_ingress(number, now)
        case Keys(route_keys):
            core.set_keyring(RouteKeyring.from_text(route_keys))
        case TagKeys(backbone_keys):
            core.set_backbone_keys(BackboneKeys.from_text(backbone_keys))
        case Busy(spent):
            core.spent_elsewhere([Spent(tuple(token), half, packets) for token, half, packets in spent], now)


def _relay(cluster: int | None, name: str, ingress: int, state: str, addresses: list[str]) -> Relay:
    keys = tuple(key_of_address(parse_address(each)) for each in addresses)
    return Relay(cluster, name, ingress, state == "ready", keys)


def _identity(numbers: Sequence[int]) -> tuple[int, int, int]:
    cluster, slot, epoch = numbers
    return cluster, slot, epoch


def report_round_trips(backbone: BackboneSocket | None, control: WorkerControl, now: float) -> None:
    """Tell the control process how far other clusters are; to be called at each tick."""
    report = backbone.due_report(now) if backbone is not None else None
    if report is not None:
        control.send(RoundTrips(*report))


def report_busy(core: RelayCore, control: WorkerControl) -> None:
    """Tell the relay's other workers which calls send much through this one; to be called at each tick."""
    busy = core.take_busy()
    if busy:
        control.send(Busy([(list(token), half_open, packets) for token, half_open, packets in busy]))


class _Runnable(Protocol):
    def run(self) -> None: ...


def receive_own_sockets(handover: socket.socket) -> tuple[socket.socket, socket.socket | None]:
    """The tunnel socket and the backbone socket, if the relay has one; the control process hands them over first."""
    data, descriptors, _, _ = socket.recv_fds(handover, 64, MAX_SOCKETS)
    if not data:
        raise ControlEndedError
    tunnel, *backbone = (socket.socket(fileno=fd) for fd in descriptors)
    return tunnel, backbone[0] if backbone else None


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
