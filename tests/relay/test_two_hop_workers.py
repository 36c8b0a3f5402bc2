"""Worker processes of two regions, without control processes: relays that are killed or stopped in mid-call, ICE-TCP.

The test hands over sockets and messages as a control process does, and answers as the transceiver.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from support.processes.relay_process import ROUTE_KEYS, binding_request, mint

from antiphon.relay.control.ipc import (
    SOCKETS,
    Ask,
    Backbone,
    IpcMessage,
    Ready,
    RoundTrips,
    Routes,
    Start,
    Statistics,
    pack,
    unpack,
)
from antiphon.relay.dataplane.rfc4571 import pack_frame
from antiphon.schemas.addresses import Address
from antiphon.schemas.backbone import Route, pack_header
from antiphon.schemas.tunnel import HELLO, header_length, ingress_of_hello

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="ICMP errors by socket: Linux")]

KEY = "6b" * 32
MEDIA = b"\x80media"


def bound(host: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.settimeout(5)
    return made


def text(of: socket.socket) -> str:
    return str(Address(*of.getsockname()[:2]))


class WorkerUnderTest:
    """A worker of its own relay, and the control process's ends of its sockets."""

    def __init__(self, name: str, cluster: int, ingress: int, module: str = "worker") -> None:
        self.name, self.cluster, self.ingress = name, cluster, ingress
        self.tunnel, self.backbone = bound(), bound()
        self.public = bound() if module == "worker" else socket.create_server(("127.0.0.1", 0))
        self.control, control = socket.socketpair()
        self.handover, handover = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        descriptors = [control.fileno(), handover.fileno()]
        with control, handover:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"antiphon.relay.dataplane.{module}", *map(str, descriptors)],
                pass_fds=descriptors,
            )
        self._unread = b""
        self.control.settimeout(10)
        socket.send_fds(self.handover, [SOCKETS], [self.tunnel.fileno(), self.backbone.fileno()])
        self.tell(Start(ROUTE_KEYS, 100, "auto", ingress=ingress, cluster=cluster, backbone_keys=KEY))
        socket.send_fds(self.handover, [SOCKETS], [self.public.fileno()])

    def tell(self, *messages: IpcMessage) -> None:
        self.control.sendall(b"".join(map(pack, messages)))

    def told(self, wanted: Callable[[IpcMessage], bool]) -> IpcMessage:
        """The next message that is wanted."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            line, found, rest = self._unread.partition(b"\n")
            if not found:
                self._unread += self.control.recv(1 << 16)
                continue
            self._unread = rest
            message = unpack(line)
            if wanted(message):
                return message
        raise AssertionError(f"{self.name} did not say what was waited for")

    def entry(self) -> tuple[int | None, str, int, str, list[str]]:
        return self.cluster, self.name, self.ingress, "ready", [text(self.backbone)]

    def kill(self) -> None:
        """As a power cut of the relay would: no process has its sockets any more."""
        self.process.kill()
        self.process.wait(5)
        self.tunnel.close()
        self.backbone.close()

    def close(self) -> None:
        for each in (self.control, self.handover, self.tunnel, self.backbone, self.public):
            each.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait(5)


class Regions:
    """An ingress, two relays of cluster 2 and their transceiver."""

    def __init__(self, module: str = "worker") -> None:
        self.near = WorkerUnderTest("near", 1, 7, module)
        self.far = [WorkerUnderTest("far-a", 2, 8), WorkerUnderTest("far-b", 2, 9)]
        self.transceiver = bound()
        self.workers = [self.near, *self.far]
        table = Backbone([each.entry() for each in self.workers])
        for worker in self.workers:
            worker.told(lambda message: isinstance(message, Ready))
            worker.tell(Routes([(2, 4, 3, text(self.transceiver))] if worker in self.far else []), table)
        self.near.told(lambda message: isinstance(message, RoundTrips) and 2 in message.by_cluster)

    def packet(self) -> tuple[bytes, tuple[str, int]]:
        """The next packet of a client at the transceiver, and where from."""
        while True:
            packet, source = self.transceiver.recvfrom(4096)
            if packet != HELLO and ingress_of_hello(packet) is None:
                return packet, source

    def waiting(self) -> list[tuple[bytes, tuple[str, int]]]:
        found = []
        while select.select([self.transceiver], [], [], 0)[0]:
            found.append(self.transceiver.recvfrom(4096))
        return found

    def __enter__(self) -> Regions:
        return self

    def __exit__(self, *_: object) -> None:
        self.transceiver.close()
        for worker in self.workers:
            worker.close()


@contextlib.contextmanager
def udp_call(regions: Regions) -> Iterator[tuple[socket.socket, WorkerUnderTest]]:
    """A client in a call, and the relay of the cluster that its packets take."""
    with bound() as client:
        client.connect(regions.near.public.getsockname())
        client.send(binding_request(mint(4, 3, 2)))
        packet, source = regions.packet()
        regions.transceiver.sendto(packet[:16] + b"\1\1answer", source)
        assert client.recv(4096) == b"\1\1answer"
        yield client, next(each for each in regions.far if each.tunnel.getsockname() == source)


def until_moved(regions: Regions, client: socket.socket, to: WorkerUnderTest) -> None:
    """The client speaks until its packets come by this relay."""
    deadline = time.monotonic() + 10
    while to.tunnel.getsockname() not in [source for packet, source in regions.waiting() if packet.endswith(MEDIA)]:
        assert time.monotonic() < deadline, f"no packet comes by {to.name}"
        client.send(MEDIA)
        time.sleep(0.02)  # as often as a caller speaks


def test_a_call_goes_on_by_another_relay_when_its_own_stops_or_is_killed() -> None:
    with Regions() as regions, udp_call(regions) as (client, taken):
        other = next(each for each in regions.far if each is not taken)
        os.kill(taken.process.pid, signal.SIGSTOP)
        until_moved(regions, client, other)
        name = pack_header(Address(*client.getsockname()), Route(7, 4, 3, 0))
        regions.transceiver.sendto(name + b"\x80back", other.tunnel.getsockname())
        assert client.recv(4096) == b"\x80back"
        said = regions.near.told(lambda message: isinstance(message, RoundTrips) and bool(message.out))
        assert isinstance(said, RoundTrips)
        assert said.out == [taken.name]
        assert said.by_cluster.keys() == {2}
        os.kill(taken.process.pid, signal.SIGCONT)
        until_moved(regions, client, taken)
        taken.kill()
        until_moved(regions, client, other)


def test_an_ice_tcp_client_is_served_over_two_hops() -> None:
    with Regions("ice_tcp_worker") as regions, socket.create_connection(regions.near.public.getsockname()) as client:
        client.settimeout(5)
        client.sendall(pack_frame(binding_request(mint(4, 3, 2))))
        packet, source = regions.packet()
        name = pack_header(Address(*client.getsockname()), Route(7, 4, 3, 0), tcp=True)
        assert packet[: header_length(packet)] == name
        for payload in (b"\1\1answer", b"\x80media"):
            regions.transceiver.sendto(name + payload, source)
            assert client.recv(4096) == pack_frame(payload)
        client.sendall(pack_frame(MEDIA))
        assert regions.packet()[0] == name + MEDIA
        regions.near.tell(Ask())
        said = regions.near.told(lambda message: isinstance(message, Statistics))
        assert isinstance(said, Statistics)
        assert (said.values["packets_to_relays"], said.values["packets_to_clients"]) == (2, 2)


def test_a_restarted_ingress_learns_its_clients_from_the_other_region() -> None:
    with Regions() as regions, udp_call(regions) as (client, _):
        name = pack_header(Address(*client.getsockname()), Route(7, 4, 3, 0))
        former = regions.near
        former.process.kill()
        former.process.wait(5)
        regions.waiting()
        successor = WorkerUnderTest("near", 1, 7)
        regions.workers.append(successor)
        table = [successor.entry(), *(each.entry() for each in regions.far)]
        for worker in (successor, *regions.far):
            worker.tell(Backbone(table))
        packet = b""
        while ingress_of_hello(packet) != 7:
            packet, source = regions.transceiver.recvfrom(4096)
        regions.transceiver.sendto(name, source)  # a bare header: this client is mine
        regions.transceiver.sendto(name + b"\x80after", source)
        successor.tell(Ask())
        deadline = time.monotonic() + 5
        flows = 0
        while not flows and time.monotonic() < deadline:
            said = successor.told(lambda message: isinstance(message, Statistics))
            assert isinstance(said, Statistics)
            flows = said.values["flows_confirmed"]
            successor.tell(Ask())
        assert flows == 1
