"""The workers as processes, and the sockets they work with: what exists before asyncio and NATS are imported.

A crew is launched first thing, so that packets move while the control side still arrives. Its sockets stay
open here: what clients send while a dead worker is replaced waits in the kernel for the next one.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Final

from antiphon.relay.control import state_file
from antiphon.relay.control.ipc import SOCKETS, Routes, Start, pack
from antiphon.relay.control.port_takeover import free_port, steer_away, stop_steering
from antiphon.relay.control.sockets import RELEASE_SECONDS, bind_udp, bound_port, listen_tcp
from antiphon.relay.settings import RelaySettings
from antiphon.schemas.addresses import Address

END_SECONDS: Final = 1.0


class WorkerProcess:
    """One life of a worker."""

    def __init__(self, start: Start, tunnel: socket.socket, module: str) -> None:
        self.control, control = socket.socketpair()
        self._handover, handover = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with control, handover:
            descriptors = [control.fileno(), handover.fileno(), tunnel.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, descriptors)], stdin=subprocess.DEVNULL, pass_fds=descriptors
            )
        self.control.sendall(pack(start))

    def hand_over(self, public: list[socket.socket]) -> None:
        """Let it read from and write to these sockets."""
        if public:
            socket.send_fds(self._handover, [SOCKETS], [each.fileno() for each in public])

    @property
    def pid(self) -> int:
        return self._process.pid

    def status(self) -> int | None:
        """Exit status; None while it lives."""
        return self._process.poll()

    def end(self) -> None:
        """It ends by itself when these are closed; if it does not, `kill`."""
        self.control.close()
        self._handover.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class WorkerPool:
    """Sockets and workers by number; the last one is for ICE-TCP, if that is offered.

    Raises OSError with a text for the operator when a port can't be had.
    """

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self.known = state_file.read(settings.relay_state_file)
        self._start = Start(
            settings.route_keys_text(),
            settings.relay_max_flows,
            settings.relay_path,
            settings.relay_new_flows,
            settings.relay_learn,
        )
        asked = [free_port(address) for address in settings.relay_bind]
        self.addresses = [address for address, _ in asked]
        """Public addresses, with their ports."""
        self.beside_another = not all(free for _, free in asked)
        """Another process has the port: it is to be taken over from, not to be torn from."""
        self.public: list[list[socket.socket]] = [[] for _ in range(settings.relay_workers)]
        if not self.beside_another:
            self.take_port()
        self.tcp_addresses: list[Address] = []
        if settings.relay_tcp_bind is not None:
            listener = listen_tcp(settings.relay_tcp_bind)
            self.public.append([listener])
            self.tcp_addresses = [settings.relay_tcp_bind._replace(port=bound_port(listener))]
        self.tunnels = [self._bind_tunnel(number) for number in range(len(self.public))]
        self.workers = [self.hire(number) for number in range(len(self.public))]

    def _bind_tunnel(self, number: int) -> socket.socket:
        address = self._settings.relay_tunnel_bind
        if address.port:
            return bind_udp(address._replace(port=address.port + number))
        if number < len(self.known.tunnel_ports) and not self.beside_another:
            try:
                return bind_udp(address._replace(port=self.known.tunnel_ports[number]), patience=RELEASE_SECONDS)
            except OSError:
                pass  # somebody else's by now
        return bind_udp(address)

    def take_port(self) -> None:
        """Bind the public port, a socket for each worker."""
        for mine in self.public[: self._settings.relay_workers]:
            mine.extend(bind_udp(address, shared=True) for address in self.addresses)

    def hire(self, number: int) -> WorkerProcess:
        """A new process for this worker's sockets."""
        of_tcp = number >= self._settings.relay_workers
        module = "antiphon.relay.dataplane.ice_tcp_worker" if of_tcp else "antiphon.relay.dataplane.worker"
        worker = WorkerProcess(self._start, self.tunnels[number], module)
        if self.known.routes:
            worker.control.sendall(pack(Routes(self.known.routes)))
        worker.hand_over(self.public[number])
        return worker

    def set_routes(self, routes: Routes) -> None:
        """What workers that are started from now on, and the state file, begin with."""
        self.known = state_file.StateFile(routes.table, [bound_port(tunnel) for tunnel in self.tunnels])

    def set_route_keys(self, route_keys: str) -> bool:
        """What workers that are started from now on begin with; False if these keys are live already."""
        changed = route_keys != self._start.route_keys
        self._start = self._start._replace(route_keys=route_keys)
        return changed

    def write_state_file(self) -> None:
        """Write down routes and tunnel ports, if a file is set."""
        if self._settings.relay_state_file is not None:
            state_file.write(self._settings.relay_state_file, self.known)

    def tunnel_addresses(self, host: str) -> list[Address]:
        """Where this crew's tunnel packets come from."""
        return [Address(host, bound_port(tunnel)) for tunnel in self.tunnels]

    def yield_port(self, to_workers: int) -> None:
        """Let new packets go to another process's sockets; what has come is still read."""
        for each in self.public[0]:
            steer_away(each, self._settings.relay_workers, to_workers)

    def keep_port(self) -> None:
        """Whoever yielded the port to us is gone."""
        for each in self.public[0]:
            stop_steering(each)

    def close(self) -> None:
        for each in (*self.tunnels, *(public for mine in self.public for public in mine)):
            each.close()
