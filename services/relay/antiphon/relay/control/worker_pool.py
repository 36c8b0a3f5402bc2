"""The workers as processes, and the sockets they work with: what exists before asyncio and NATS are imported.

The pool is started first, so that packets move while the control process still imports and connects. Its sockets stay
open here: what clients send while a dead worker is replaced waits in the kernel for the next one.
"""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from antiphon.relay.control import state_file
from antiphon.relay.control.ipc import SOCKETS, Backbone, Moves, Routes, Start, pack
from antiphon.relay.control.port_takeover import free_port, steer_away, stop_steering
from antiphon.relay.control.sockets import BIND_PATIENCE, bind_block, bind_kept, bind_udp, bound_port, listen_tcp
from antiphon.relay.settings import NO_CLUSTER, RelaySettings
from antiphon.schemas.addresses import Address

if TYPE_CHECKING:  # it imports pydantic, and no packet moves before the pool is there
    from antiphon.relay.control.backbone_client import BackboneTables

END_SECONDS: Final = 1.0


UDP_WORKER: Final = "antiphon.relay.dataplane.worker"
ICE_TCP_WORKER: Final = "antiphon.relay.dataplane.ice_tcp_worker"


class WorkerProcess:
    """One run of a worker process; made for a `WorkerPool`, ended by the `WorkerSupervisor`.

    It imports what it needs and then waits for `begin`.
    """

    def __init__(self, module: str) -> None:
        self.control, control = socket.socketpair()
        self._handover, handover = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with control, handover:
            descriptors = [control.fileno(), handover.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, descriptors)], stdin=subprocess.DEVNULL, pass_fds=descriptors
            )

    def begin(self, start: Start, sockets: Sequence[socket.socket]) -> None:
        """Let it forward with these settings and sockets: the tunnel's, the backbone's. OSError if it has ended."""
        socket.send_fds(self._handover, [SOCKETS], [each.fileno() for each in sockets])
        self.control.sendall(pack(start))

    def hand_over(self, public: list[socket.socket]) -> None:
        """Let it read from and write to these sockets."""
        if public:
            socket.send_fds(self._handover, [SOCKETS], [each.fileno() for each in public])

    @property
    def pid(self) -> int:
        return self._process.pid

    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Close our ends of its sockets, which ends it; if it does not end, `kill`."""
        self.control.close()
        self._handover.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def start_workers(settings: RelaySettings) -> list[WorkerProcess]:
    """The processes of a pool: they import while this one binds its sockets, or waits as a standby."""
    tcp = [ICE_TCP_WORKER] if settings.relay_tcp_bind is not None else []
    return [WorkerProcess(module) for module in [UDP_WORKER] * settings.relay_workers + tcp]


class WorkerPool:
    """Sockets and workers by number; the last one is for ICE-TCP, if that is offered.

    Made once in `__main__`, before there is an event loop; `Control` owns it then, and closes it at the end.
    Raises OSError with a text for the operator when a port can't be had.
    """

    def __init__(self, settings: RelaySettings, started: list[WorkerProcess]) -> None:
        """`started`: what `start_workers` gave."""
        self._settings = settings
        self.saved = state_file.read(settings.relay_state_file)
        if settings.relay_backbone_bind is None or settings.hub is None:
            self.saved = self.saved._replace(ingress=0)  # it was claimed there
        self._start = Start(
            settings.route_keys_text(),
            settings.relay_max_flows,
            settings.relay_path,
            settings.relay_new_flows,
            settings.relay_learn,
            settings.relay_flow_packets_per_second,
            settings.relay_flow_burst,
            settings.relay_ingress or self.saved.ingress,
            None if settings.cluster == NO_CLUSTER else settings.cluster,
            backbone_keys=settings.backbone_key_text(),
        )
        asked = [free_port(address) for address in settings.relay_bind]
        self.addresses = [address for address, _ in asked]
        """Public addresses, with their ports."""
        self.port_is_taken = not all(free for _, free in asked)
        """Another process has the port: bind beside it when its clients are known (`take_port`), not before."""
        self.public: list[list[socket.socket]] = [[] for _ in range(settings.relay_workers)]
        if not self.port_is_taken:
            self.take_port()
        self.tcp_addresses: list[Address] = []
        if settings.relay_tcp_bind is not None:
            listener = listen_tcp(settings.relay_tcp_bind)
            self.public.append([listener])
            self.tcp_addresses = [settings.relay_tcp_bind._replace(port=bound_port(listener))]
        self.tunnels = [self._bind_tunnel(number) for number in range(len(self.public))]
        self.backbones = self._bind_backbones()
        """A socket for each worker, towards other relays; none without a backbone."""
        if settings.relay_backbone_bind is None:
            self.saved = self.saved._replace(relays=[])
        if not settings.cluster_keys_text():
            self.saved = self.saved._replace(moves=[])
        if settings.cluster is not None:
            self.saved = self.saved._replace(routes=[each for each in self.saved.routes if each[0] == settings.cluster])
        self._keep_ports()
        self.workers = [self._begin(number, worker) for number, worker in enumerate(started)]
        self._spare: WorkerProcess | None = None

    def _bind_tunnel(self, number: int) -> socket.socket:
        address = self._settings.relay_tunnel_bind
        if address.port:
            return bind_udp(address._replace(port=address.port + number))
        saved = self.saved.tunnel_ports if not self.port_is_taken else []
        return bind_kept(address, saved[number : number + 1])

    def _bind_backbones(self) -> list[socket.socket]:
        """Kept over restarts, as tunnel sockets; with a port given, its and the next ports.

        Where those belong to the process that we take over from: the ones behind them. Other relays learn from our
        announcement which ones they are.
        """
        address, count = self._settings.relay_backbone_bind, len(self.public)
        if address is None:
            return []
        if not address.port:
            saved = self.saved.backbone_ports if not self.port_is_taken else []
            return [bind_kept(address, saved[number : number + 1]) for number in range(count)]
        try:
            return bind_block(address, count, 0.0 if self.port_is_taken else BIND_PATIENCE)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not self.port_is_taken or address.port + 2 * count > 1 << 16:
                raise OSError(error.errno, f"ANTIPHON_RELAY_BACKBONE_BIND: {error.strerror}") from None
        try:
            return bind_block(address._replace(port=address.port + count), count, 0.0)
        except OSError as error:
            raise OSError(
                error.errno,
                f"ANTIPHON_RELAY_BACKBONE_BIND: the process that is taken over has the ports from {address.port} on, "
                f"and those behind them are taken as well: {error.strerror}",
            ) from None

    @property
    def has_port(self) -> bool:
        """Whether clients reach this process: it has bound the public port."""
        return bool(self.public[0])

    def take_port(self) -> None:
        """Bind the public port, a socket for each worker."""
        for mine in self.public[: self._settings.relay_workers]:
            mine.extend(bind_udp(address, shared=True) for address in self.addresses)

    def start_worker(self, number: int) -> WorkerProcess:
        """Let a process work with this worker's sockets: the spare one, which has imported all, or a new one.

        Connections of ICE-TCP end with their worker in any case: there is no spare one for it.
        """
        if number >= self._settings.relay_workers:
            return self._begin(number, WorkerProcess(ICE_TCP_WORKER))
        spare, self._spare = self._spare, None
        if spare is not None:
            try:
                return self._begin(number, spare)
            except OSError:  # it has ended
                spare.end()
                spare.kill()
        return self._begin(number, WorkerProcess(UDP_WORKER))

    @property
    def has_spare(self) -> bool:
        """A process waits to be a worker."""
        return self._spare is not None and self._spare.status() is None

    def prepare_spare(self) -> None:
        """Start the spare process, if there is none; OSError if the system has no resources for it."""
        if not self.has_spare:
            if self._spare is not None:
                self._spare.end()
            self._spare = WorkerProcess(UDP_WORKER)

    def _begin(self, number: int, worker: WorkerProcess) -> WorkerProcess:
        worker.begin(self._start._replace(worker=number), [self.tunnels[number], *self.backbones[number : number + 1]])
        if self.saved.routes:
            worker.control.sendall(pack(Routes(self.saved.routes)))
        if self.saved.relays:
            worker.control.sendall(pack(Backbone(self.saved.relays)))
        if self.saved.moves:
            worker.control.sendall(pack(Moves([(old, new) for old, new, _ in self.saved.moves])))
        worker.hand_over(self.public[number])
        return worker

    def set_routes(self, routes: Routes) -> None:
        """What workers that are started from now on, and the state file, begin with."""
        self.saved = self.saved._replace(routes=routes.table)

    def set_backbone(self, tables: BackboneTables) -> None:
        """Likewise."""
        self._start = self._start._replace(ingress=tables.ingress)
        self.saved = self.saved._replace(relays=tables.relays, moves=tables.moves, ingress=tables.ingress)

    def _keep_ports(self) -> None:
        self.saved = self.saved._replace(
            tunnel_ports=[bound_port(tunnel) for tunnel in self.tunnels],
            backbone_ports=[bound_port(backbone) for backbone in self.backbones],
        )

    def set_route_keys(self, route_keys: str) -> bool:
        """What workers that are started from now on begin with; False if these keys are live already."""
        changed = route_keys != self._start.route_keys
        self._start = self._start._replace(route_keys=route_keys)
        return changed

    def set_backbone_keys(self, backbone_keys: str) -> bool:
        """As `set_route_keys`, of backbone keys."""
        changed = backbone_keys != self._start.backbone_keys
        self._start = self._start._replace(backbone_keys=backbone_keys)
        return changed

    def write_state_file(self) -> None:
        """Write down what is known and which ports we have, if a file is set."""
        if self._settings.relay_state_file is not None:
            state_file.write(self._settings.relay_state_file, self.saved)

    def tunnel_addresses(self, host: str) -> list[Address]:
        """Where this relay's tunnel packets come from, with `host` as their IP."""
        return [Address(host, bound_port(tunnel)) for tunnel in self.tunnels]

    def backbone_addresses(self, host: str) -> list[Address]:
        """Where other relays reach the workers, with `host` as their IP; none without a backbone."""
        return [Address(host, bound_port(backbone)) for backbone in self.backbones]

    def yield_port(self, to_workers: int) -> None:
        """Steer new packets to another process's sockets; our workers still read what has come."""
        for each in self.public[0]:
            steer_away(each, self._settings.relay_workers, to_workers)

    def stop_yielding_port(self) -> None:
        """The process that yielded the port to us is gone: the kernel may spread clients over our sockets."""
        for each in self.public[0]:
            stop_steering(each)

    def close(self) -> None:
        """Close all sockets, and end the spare process; the workers have ended."""
        if self._spare is not None:
            self._spare.end()
            self._spare.kill()
        for each in (*self.tunnels, *self.backbones, *(public for mine in self.public for public in mine)):
            each.close()
