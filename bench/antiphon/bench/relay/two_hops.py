"""`antiphon bench relay --hops 2`: what each of the two relays of a call forwards, and what both add to its delay.

Each role is measured alone on one core, with the load on the other one that also plays the other relay:

- ingress: clients whose transceivers are in another cluster, packets to and from a relay of that cluster;
- cluster: packets from and to an ingress relay, and the tunnel of a transceiver.

One hop, ingress and cluster are measured in turn in each round, without a tag and with it; compare ratios within one
run. `ratio_to_one_hop` is that of the slower role. `two_hops_delay` measures what both add to a packet's delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from nats.aio.client import Client

from antiphon.bench._lib.processes import nats_server
from antiphon.bench._lib.statistics import median, relative_spread
from antiphon.bench.relay import two_hops_delay
from antiphon.bench.relay.backbone_port import BackbonePort
from antiphon.bench.relay.ends import DELAY_PPS, FlowEnds
from antiphon.bench.relay.load import BATCH, Prepared, Sink, client_host
from antiphon.bench.relay.relays_under_test import PAYLOAD, RelayUnderTest, relay, two_cores
from antiphon.cli.errors import UsageError
from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import backbone, subjects
from antiphon.schemas.addresses import Address
from antiphon.schemas.backbone import BackboneKeys, Route
from antiphon.schemas.messages import RelayAnnouncement, encode

DIRECTIONS: Final = ("up", "down", "both")
PATIENCE: Final = 10.0
"""Seconds until the relays know each other."""


class RoleEnds(FlowEnds):
    """Both ends of every flow of one role. Owned by one run of the bench, which closes it."""

    def __init__(self, seconds: float, role: str, cluster: int, keys: BackboneKeys) -> None:
        """`cluster`: of the relay under test. The other relay has the numbers `other_cluster` and `other_ingress`."""
        super().__init__(seconds)
        self.role = role
        self.cluster, self.ingress = cluster, cluster
        self.other_cluster = self.other_ingress = cluster + 1000
        self.keys = keys
        self.other = BackbonePort(keys)

    def close(self) -> None:
        super().close()
        self.other.close()

    def arrived(self, settled: bool = False) -> int:
        ends = (self.other.sink, self.clients if self.role == "ingress" else self.owner)
        sinks = tuple(map(Sink, ends))
        return sum(sink.settled() if settled else sink.arrived() for sink in sinks)

    def announcement(self) -> RelayAnnouncement:
        """Of the relay that the bench plays."""
        return RelayAnnouncement(
            name=f"bench-other-{self.cluster}",
            public_addresses=[self.other.address],
            tunnel_addresses=[self.other.address],
            cluster=self.other_cluster,
            ingress=self.other_ingress,
            backbone_addresses=[self.other.address],
        )

    def sealed(self, number: int, payload: bytes = PAYLOAD) -> bytes:
        """As the other relay sends it for this client."""
        return self.keys.seal(self._header(number), payload)

    def _header(self, number: int) -> bytes:
        ingress = self.ingress if self.role == "ingress" else self.other_ingress
        client = Address(socket.inet_ntoa(client_host(number)), self.port)
        return backbone.pack_header(client, Route(ingress, two_hops_delay.SLOT, two_hops_delay.EPOCH, 0))

    def make_flows(self, forwarder: RelayUnderTest, flows: int) -> None:
        order = list(range(flows))
        random.Random(1).shuffle(order)
        self.flows = flows
        to_other = [(self.sealed(number), forwarder.backbone, None) for number in order]
        if self.role == "ingress":
            up = Prepared([(PAYLOAD, forwarder.public, client_host(number)) for number in order])
            down = Prepared(to_other)
        else:
            up = Prepared(to_other)
            down = Prepared([(self._header(number) + PAYLOAD, forwarder.tunnel, None) for number in order])
        self.prepared = {("up", forwarder.name): up, ("down", forwarder.name): down}
        if self.role == "ingress":
            self._teach(forwarder, order)
        self._until_forwarding(forwarder)

    def _teach(self, forwarder: RelayUnderTest, order: list[int]) -> None:
        """Bare headers: the ingress has asked for them at its start."""
        assert forwarder.statistics is not None
        bare = Prepared([(self.sealed(number, b""), forwarder.backbone, None) for number in order])
        known, until = 0, time.monotonic() + PATIENCE
        while known < len(order) and time.monotonic() < until:
            for _ in range(0, len(order), BATCH):
                bare.send(self.other.sink.fileno())
                time.sleep(0.001)
            known = forwarder.statistics().flows_confirmed
        if known < len(order) * 0.99:
            raise UsageError(f"only {known} of {len(order)} flows were learned by the ingress relay")

    def _until_forwarding(self, forwarder: RelayUnderTest) -> None:
        """Packets of both directions reach the other end."""
        until = time.monotonic() + PATIENCE
        for direction in ("up", "down"):
            before = self.arrived(settled=True)
            while self.arrived() - before < BATCH // 2:
                if time.monotonic() > until:
                    raise UsageError(f"the relay of this bench forwards nothing {direction} as {self.role}")
                for send in self.senders(forwarder, direction):
                    send(BATCH)
                time.sleep(0.05)

    def renew_flows(self, forwarder: RelayUnderTest) -> None:
        """A relay drops a flow that had no packet for a minute."""
        for _ in range(0, self.flows, BATCH):
            self.prepared["down", forwarder.name].send(self._down.fileno())
            time.sleep(0.0005)

    @property
    def _down(self) -> socket.socket:
        return self.other.sink if self.role == "ingress" else self.owner

    def senders(self, forwarder: RelayUnderTest, direction: str) -> list[Callable[[int], int]]:
        up = self.clients if self.role == "ingress" else self.other.sink
        ways: dict[str, Callable[[int], int]] = {
            "up": lambda count: self.prepared["up", forwarder.name].send(up.fileno(), count),
            "down": lambda count: self.prepared["down", forwarder.name].send(self._down.fileno(), count),
        }
        return list(ways.values()) if direction == "both" else [ways[direction]]


def _settings(cluster: int, key: str, ingress: int) -> dict[str, str]:
    return {
        "ANTIPHON_CLUSTER": str(cluster),
        "ANTIPHON_RELAY_BACKBONE_BIND": "127.0.0.1:0",
        "ANTIPHON_RELAY_BACKBONE_ADVERTISE": "127.0.0.1",
        "ANTIPHON_RELAY_INGRESS": str(ingress),
        "ANTIPHON_LOG_LEVEL": "ERROR",  # relays of other rounds and keys do not answer
        **({"ANTIPHON_BACKBONE_KEY": key} if key else {}),
    }


class _Run:
    """One run: NATS, route keys, the core of the relays."""

    def __init__(self, client: Client, url: str, path: str) -> None:
        self.client = client
        self.url = url
        self.path = path
        self.route_keys = f"A:{secrets.token_hex(16)}"
        self.core, load_core = two_cores()
        os.sched_setaffinity(0, {load_core})  # and all threads from now on

    @asynccontextmanager
    async def role(
        self, role: str, cluster: int, key: str, seconds: float, flows: int
    ) -> AsyncIterator[tuple[RelayUnderTest, FlowEnds]]:
        """A relay with its ends, forwarding. One after the other: what an ingress asks for is taught at its start."""
        keys = BackboneKeys.from_text(key)
        ends = RoleEnds(seconds, role, cluster, keys)
        announcing = asyncio.create_task(self._announce(ends.announcement()))
        try:
            async with relay(
                self.client,
                self.url,
                self.path,
                ends.owner,
                self.route_keys,
                self.core,
                cluster,
                _settings(cluster, key, ends.ingress),
            ) as under_test:
                await asyncio.to_thread(ends.make_flows, under_test, flows)
                yield under_test, ends
        finally:
            await tasks.end(announcing)
            ends.close()

    @asynccontextmanager
    async def one_hop(self, seconds: float, flows: int) -> AsyncIterator[tuple[RelayUnderTest, FlowEnds]]:
        """The relay as it is without a backbone."""
        ends = FlowEnds(seconds)
        try:
            async with relay(self.client, self.url, self.path, ends.owner, self.route_keys, self.core) as under_test:
                await asyncio.to_thread(ends.make_flows, under_test, flows)
                yield under_test, ends
        finally:
            ends.close()

    async def _announce(self, said: RelayAnnouncement) -> None:
        while True:
            await self.client.publish(subjects.relay_announce(said.name), encode(said))
            await asyncio.sleep(0.3)

    async def rates(self, flows: int, rounds: int, seconds: float) -> dict[str, Any]:
        """All roles, in turn within each round."""
        key = secrets.token_hex(32)
        async with contextlib.AsyncExitStack() as running:
            tested = {"one_hop": await running.enter_async_context(self.one_hop(seconds, flows))}
            for number, (role, suffix) in enumerate(itertools.product(("ingress", "cluster"), ("", "_tagged"))):
                entered = self.role(role, 100 + number, key if suffix else "", seconds, flows)
                tested[role + suffix] = await running.enter_async_context(entered)
            return await asyncio.to_thread(self._measure_rates, tested, rounds)

    def _measure_rates(self, tested: dict[str, tuple[RelayUnderTest, FlowEnds]], rounds: int) -> dict[str, Any]:
        found: dict[str, Any] = {name: {} for name in tested}
        for direction in DIRECTIONS:
            peaks: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in tested}
            for number in range(rounds):
                for name in list(tested) if number % 2 == 0 else list(tested)[::-1]:
                    under_test, ends = tested[name]
                    ends.renew_flows(under_test)
                    peaks[name].append(ends.peak(under_test, direction))
            for name, values in peaks.items():
                found[name][direction] = _compared(values, peaks["one_hop"])
        for name, (under_test, _) in tested.items():
            assert under_test.statistics is not None
            found[name]["path"] = under_test.statistics().path
            found[name]["drops"] = {reason: n for reason, n in under_test.statistics().drops.items() if n}
        return found

    async def added(self, key: str, first: int, rounds: int) -> dict[str, Any]:
        """Delays through an ingress and a cluster's relay; `first`: cluster of the ingress."""
        return await two_hops_delay.added(
            self.client,
            lambda number: _settings(number, key, number),
            self.url,
            self.path,
            self.route_keys,
            self.core,
            first,
            rounds,
        )


def _compared(
    values: list[tuple[float, float, float, float]], one_hop: list[tuple[float, float, float, float]]
) -> dict[str, float]:
    """What `FlowEnds.peak` found in each round, against one hop in the same round."""
    pairs = list(zip(values, one_hop, strict=True))
    return {
        "pps": median([each[0] for each in values]),
        "ratio_to_one_hop": median([each[0] / one[0] for each, one in pairs], 3),
        "cpu_ratio_to_one_hop": median([sum(one[2:]) / sum(each[2:]) for each, one in pairs if sum(each[2:])], 3),
        "spread": relative_spread([each[0] for each in values]),
        "offered_pps": median([each[1] for each in values]),
        "user_us": median([each[2] for each in values], 2),
        "kernel_us": median([each[3] for each in values], 2),
    }


async def measure(flows: int, rounds: int, seconds: float, path: str) -> dict[str, Any]:
    """The whole report."""
    with tempfile.TemporaryDirectory() as directory, nats_server(Path(directory), two_cores()[1]) as url:
        client = await connection.connect(url, "bench-relay-two-hops")
        try:
            run = _Run(client, url, path)
            roles = await run.rates(flows, rounds, seconds)
            added = await run.added("", 300, rounds), await run.added(secrets.token_hex(32), 310, rounds)
        finally:
            await client.close()
    slower = [_slower(roles, ""), _slower(roles, "_tagged")]
    return {
        "hops": 2,
        **slower[0],
        **added[0],
        "tagged": slower[1] | added[1],
        "one_hop_pps": roles["one_hop"]["both"]["pps"],
        "flows": flows,
        "rounds": rounds,
        "payload_bytes": len(PAYLOAD),
        "roles": roles,
    }


def _slower(roles: dict[str, Any], suffix: str) -> dict[str, Any]:
    """Rate and ratio of the role that forwards less, both ways at once."""
    both = [roles[f"{role}{suffix}"]["both"] for role in ("ingress", "cluster")]
    slower = min(both, key=lambda each: each["ratio_to_one_hop"])
    return {
        "pps": slower["pps"],
        "ratio_to_one_hop": slower["ratio_to_one_hop"],
        "cpu_ratio_to_one_hop": min(each["cpu_ratio_to_one_hop"] for each in both),
    }


def text(found: dict[str, Any]) -> str:
    """For people."""
    lines = []
    for name, role in found["roles"].items():
        for direction in DIRECTIONS:
            each = role[direction]
            lines.append(
                f"{name:>15} {direction:>4}: {each['pps']:9.0f} packets/s, {each['ratio_to_one_hop']:.2f} of one hop "
                f"({each['cpu_ratio_to_one_hop']:.2f} by CPU), {each['user_us']:.2f} us user + "
                f"{each['kernel_us']:.2f} us kernel"
            )
    lines.append(f"delay at {DELAY_PPS} packets/s, both relays on one core, in us more than loopback:")
    for name, delay in (("", found), ("tagged", found["tagged"])):
        for way in ("reference_c_added_us", "one_hop_added_us", "added_us"):
            if way in delay:
                each = delay[way]
                lines.append(
                    f"{name:>15} {way.removesuffix('_us'):>18}: p50 {each['p50']:.0f}, "
                    f"p99 {each['p99']:.0f} ({each['p99_least']:.0f} to {each['p99_most']:.0f})"
                )
    return "\n".join(lines)
