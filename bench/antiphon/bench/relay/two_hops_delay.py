"""What two relays add to a packet's delay, both on one core, at `DELAY_PPS`.

In each round the same packets go four ways in turn, and all are reported, each minus loopback:

- from socket to socket (`loopback_us`, as it is);
- through the compiled loop on the relays' core: what that core and its host are late by themselves;
- through one relay without a backbone, on the same core;
- through an ingress and a cluster's relay.

All processes of the relays share the core, their control processes and spare workers too. Everything else (generator,
NATS, this program) is on the other one. Delay is from before the send call to the arrival in the kernel, so a receiver
that reads late counts for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import struct
import time
from collections.abc import Callable, Mapping
from typing import Final

from nats.aio.client import Client

from antiphon.bench._lib.proc import stolen_seconds
from antiphon.bench._lib.statistics import median
from antiphon.bench.relay.ends import DELAY_PPS, delay_sink, delays
from antiphon.bench.relay.load import udp_socket
from antiphon.bench.relay.relays_under_test import RelayUnderTest, compiled_loop, relay
from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.cli.errors import UsageError
from antiphon.schemas.route_token import RouteKeyring

PATIENCE: Final = 10.0
"""Seconds until packets come through, and until the relays' core is quiet."""
QUIET: Final = 0.1
"""Share of a core that relays without load use: their spare workers have started then."""
SECONDS: Final = 1.0
"""Of each way in a round."""
SLOT, EPOCH = 1, 1
_HUNDREDTHS: Final = {"p50": 49, "p99": 98}


async def added(
    client: Client,
    start: Callable[[int], Mapping[str, str]],
    url: str,
    path: str,
    route_keys: str,
    core: int,
    first: int,
    rounds: int,
) -> dict[str, dict[str, float]]:
    """The delays, by way. `start`: settings of a relay by its number; `first`: that of the ingress, the next one is the
    cluster's; `core`: of the relays, where nothing else of this process may run."""
    with contextlib.ExitStack() as sockets:
        owner, nobody = (sockets.enter_context(udp_socket("127.0.0.1", small=False)) for _ in range(2))
        sink = sockets.enter_context(delay_sink())
        begin = (client, url, path)
        async with (
            compiled_loop(core) as compiled,
            relay(*begin, owner, route_keys, core) as one_hop,
            relay(*begin, owner, route_keys, core, first + 1, start(first + 1)) as cluster,
            relay(*begin, nobody, route_keys, core, first, start(first)) as ingress,
        ):
            there = await asyncio.to_thread(_make_flow, owner, sink, ingress, route_keys, first + 1)
            plain = _plain_header(sink)
            ways = {"reference_c_added_us": (plain, compiled.tunnel)} if compiled is not None else {}
            ways |= {"one_hop_added_us": (plain, one_hop.tunnel), "added_us": (there, cluster.tunnel)}
            return await asyncio.to_thread(_measure, owner, sink, ways, core, rounds)


def _plain_header(sink: socket.socket) -> bytes:
    host, port = sink.getsockname()
    return struct.pack("<H", 2) + struct.pack(">H", port) + socket.inet_aton(host)


def _make_flow(owner: socket.socket, sink: socket.socket, ingress: RelayUnderTest, keys: str, cluster: int) -> bytes:
    """A check with a token of ours, and its answer; the header by which the owner answers."""
    ufrag, _ = RouteKeyring.from_text(keys).mint(cluster, SLOT, EPOCH, time.time())
    owner.settimeout(0.05)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        sink.sendto(pack_binding_request(f"{ufrag}:peer", "none", use_candidate=True), ingress.public)
        with contextlib.suppress(TimeoutError):
            while True:
                packet, source = owner.recvfrom(2048)
                if len(packet) > 16 and packet[1] & 0x40:
                    owner.sendto(packet[:16] + b"\x01\x01" + bytes(18), source)
                    time.sleep(0.2)
                    with contextlib.suppress(BlockingIOError):
                        if sink.recv(2048):
                            return packet[:16]
    raise UsageError("no packet comes through both relays: do they know each other?")


def _measure(
    owner: socket.socket,
    sink: socket.socket,
    ways: Mapping[str, tuple[bytes, tuple[str, int]]],
    core: int,
    rounds: int,
) -> dict[str, dict[str, float]]:
    _until_quiet(core)
    found: dict[str, dict[str, list[float]]] = {
        name: {percentile: [] for percentile in _HUNDREDTHS} for name in ("loopback_us", *ways)
    }
    stolen = stolen_seconds()
    began = time.monotonic()
    for _ in range(rounds):
        with delay_sink() as direct_sink:
            direct = _percentiles("loopback", delays(owner, direct_sink, b"", direct_sink.getsockname(), SECONDS))
        for percentile, value in direct.items():
            found["loopback_us"][percentile].append(value)
        for name, (header, to) in ways.items():
            through = _percentiles(name, delays(owner, sink, header, to, SECONDS))
            for percentile, value in through.items():
                found[name][percentile].append(value - direct[percentile])
    share = (stolen_seconds() - stolen) / (time.monotonic() - began)
    report = {
        name: {each: median(values, 1) for each, values in by_percentile.items()}
        | {"p99_least": round(min(by_percentile["p99"]), 1), "p99_most": round(max(by_percentile["p99"]), 1)}
        for name, by_percentile in found.items()
    }
    return report | {"stolen": {"share_of_a_core": round(share, 4)}}


def _percentiles(name: str, values: list[float]) -> dict[str, float]:
    if len(values) < DELAY_PPS * SECONDS / 2:
        raise UsageError(
            f"{name}: {len(values)} of {DELAY_PPS * SECONDS:.0f} packets within {SECONDS} s: is the machine busy?"
        )
    hundredths = statistics.quantiles(values, n=100)
    return {each: hundredths[number] for each, number in _HUNDREDTHS.items()}


def _until_quiet(core: int) -> None:
    """Wait for the work of the relays' start; no longer than `PATIENCE`, on a machine that is never quiet."""
    until = time.monotonic() + PATIENCE
    quiet = 0
    while quiet < 3 and time.monotonic() < until:
        before = _busy_seconds(core)
        time.sleep(0.5)
        quiet = quiet + 1 if _busy_seconds(core) - before < QUIET * 0.5 else 0


def _busy_seconds(core: int) -> float:
    """Time in which this core did something."""
    with open("/proc/stat") as lines:
        fields = next(line for line in lines if line.startswith(f"cpu{core} ")).split()
    user, nice, system, _, _, irq, softirq = map(int, fields[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
