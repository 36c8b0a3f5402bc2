"""Both ends of every flow of `antiphon bench relay`, and what is measured between them."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from antiphon.bench.relay.load import BATCH, Prepared, Sink, client_host, segmented, udp_socket
from antiphon.bench.relay.relays_under_test import PAYLOAD, RelayUnderTest
from antiphon.cli.errors import UsageError

DELAY_PPS: Final = 20_000
MAX_LATE: Final = 0.0005
"""Seconds by which the generator of `delays` may be behind."""
OVERLOAD: Final = 3.0
SETUP_PASSES: Final = 4
"""Times that all flows are made known, until the relay under test has them all; the compiled loop does not say."""
_TIMESTAMPNS: Final = 35


class FlowEnds:
    """Both ends of every flow, and what is measured between them.

    Owned by one run of `antiphon bench relay`, which closes it; used from one thread, that of the measurement.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds`: length of a measurement of `peak` and `overload`."""
        self.flows = 0
        self.seconds = seconds
        self.clients = udp_socket("0.0.0.0")
        self.owner = udp_socket("127.0.0.1")
        self.port: int = self.clients.getsockname()[1]
        self.prepared: dict[tuple[str, str], Prepared] = {}
        """Load by direction and name of the forwarder."""
        self._bare: dict[str, Prepared] = {}

    def close(self) -> None:
        self.clients.close()
        self.owner.close()

    def header(self, number: int) -> bytes:
        return struct.pack("<H", 2) + struct.pack(">H", self.port) + client_host(number)

    def make_flows(self, forwarder: RelayUnderTest, flows: int) -> None:
        """Bare headers of the owner, slowly enough that none is lost; and the load for this many flows."""
        order = list(range(flows))
        random.Random(1).shuffle(order)
        bare = Prepared([(self.header(number), forwarder.tunnel, None) for number in order])
        for number in range(SETUP_PASSES):
            for _ in range(0, flows, BATCH):
                bare.send(self.owner.fileno())
                time.sleep(0.0005 * (number + 1))
            if forwarder.statistics is not None and forwarder.statistics().flows_confirmed >= flows:
                break
        self._bare[forwarder.name] = bare
        some = order[: max(BATCH, min(flows, 1 << 17))]
        self.flows = flows
        self.prepared |= {
            ("up", forwarder.name): Prepared([(PAYLOAD, forwarder.public, client_host(number)) for number in some]),
            ("down", forwarder.name): Prepared([(self.header(n) + PAYLOAD, forwarder.tunnel, None) for n in some]),
        }
        if forwarder.statistics is not None:
            known = forwarder.statistics().flows_confirmed
            if known < flows * 0.99:
                raise UsageError(f"only {known} of {flows} flows were learned by the {forwarder.name} loop")

    def renew_flows(self, forwarder: RelayUnderTest) -> None:
        """The owner sends a header for each client once: a relay drops a flow that had no packet for a minute."""
        bare = self._bare[forwarder.name]
        for _ in range(0, bare.count, BATCH):
            bare.send(self.owner.fileno())
            time.sleep(0.0005)

    def senders(self, forwarder: RelayUnderTest, direction: str) -> list[Callable[[int], int]]:
        ways = {
            "up": lambda count: self.prepared["up", forwarder.name].send(self.clients.fileno(), count),
            "down": lambda count: self.prepared["down", forwarder.name].send(self.owner.fileno(), count),
        }
        return list(ways.values()) if direction == "both" else [ways[direction]]

    def arrived(self, settled: bool = False) -> int:
        sinks = (Sink(self.owner), Sink(self.clients))
        return sum(sink.settled() if settled else sink.arrived() for sink in sinks)

    def peak(self, forwarder: RelayUnderTest, direction: str) -> tuple[float, float, float, float]:
        """(forwarded per second, offered per second, user us, kernel us) under more load than it can bear."""
        senders = self.senders(forwarder, direction)
        self._offer(senders, 0.1)
        before, cpu, began = self.arrived(), forwarder.cpu_seconds(), time.perf_counter()
        sent = self._offer(senders, self.seconds)
        took, forwarded, after = time.perf_counter() - began, self.arrived() - before, forwarder.cpu_seconds()
        self.arrived(settled=True)
        per = max(1, forwarded) / 1e6
        return forwarded / took, sent / took, (after[0] - cpu[0]) / per, (after[1] - cpu[1]) / per

    def _offer(self, senders: list[Callable[[int], int]], seconds: float) -> int:
        until, sent = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            for send in senders:
                sent += send(BATCH)
        return sent

    def paced(self, forwarder: RelayUnderTest, direction: str, rate: float, seconds: float) -> tuple[int, int]:
        """(sent, arrived) at a steady rate, in small batches."""
        senders = self.senders(forwarder, direction)
        before, began, sent, at_once = self.arrived(settled=True), time.perf_counter(), 0, 16
        while (now := time.perf_counter() - began) < seconds:
            if sent < now * rate:
                for send in senders:
                    sent += send(at_once)
        return sent, self.arrived(settled=True) - before

    def loss_free(self, forwarder: RelayUnderTest, peak: float) -> float:
        """The highest of 8 steps between nothing and the peak at which nothing was lost."""
        low, high = 0.0, peak * 1.1
        for _ in range(6):
            rate = (low + high) / 2
            sent, arrived = self.paced(forwarder, "up", rate, 0.5)
            low, high = (rate, high) if arrived >= sent - 2 else (low, rate)
        return low

    def overload(self, forwarder: RelayUnderTest, peak: float) -> tuple[float, float]:
        """(forwarded, offered) per second at up to `OVERLOAD` times the peak, by segmentation offload."""
        count = 50
        before, began, sent, number = self.arrived(), time.perf_counter(), 0, 0
        while (now := time.perf_counter() - began) < self.seconds:
            if sent < now * peak * OVERLOAD:
                number = (number + 1) % self.flows
                segmented(self.clients, PAYLOAD * count, len(PAYLOAD), forwarder.public, client_host(number))
                sent += count
        took = time.perf_counter() - began
        forwarded = self.arrived() - before
        self.arrived(settled=True)
        return forwarded / took, sent / took

    def delays(self, to: tuple[str, int], seconds: float) -> list[float]:
        """Down: the owner sends for a client that is the sink, whose flow its first packet makes; `("", 0)`: straight
        to the sink."""
        with delay_sink() as sink:
            here = sink.getsockname()
            if to == ("", 0):
                return delays(self.owner, sink, b"", here, seconds)
            header = struct.pack("<H", 2) + struct.pack(">H", here[1]) + socket.inet_aton(here[0])
            return delays(self.owner, sink, header, to, seconds)


def delay_sink() -> socket.socket:
    """A socket whose packets have the time of their arrival in the kernel."""
    sink = udp_socket("127.0.0.1", small=False)
    sink.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
    sink.setblocking(False)
    return sink


def delays(
    owner: socket.socket, sink: socket.socket, header: bytes, to: tuple[str, int], seconds: float
) -> list[float]:
    """One-way delay in us of packets at `DELAY_PPS`, from before the send call to the arrival in the kernel.

    A generator that was stopped for a while does not make up for it: the burst would wait for itself.
    """
    found: list[float] = []
    due, until = time.perf_counter(), time.perf_counter() + seconds
    while due < until:
        due += 1 / DELAY_PPS
        while (now := time.perf_counter()) < due:
            pass
        if now - due > MAX_LATE:
            due = now
        owner.sendto(header + struct.pack("<Q", time.time_ns()) + PAYLOAD[8:], to)
        with contextlib.suppress(BlockingIOError):
            while True:
                data, control, _, _ = sink.recvmsg(256, 64)
                came, nanoseconds = struct.unpack("<qq", control[0][2][:16])
                found.append((came * 1_000_000_000 + nanoseconds - int.from_bytes(data[:8], "little")) / 1000)
    return found
