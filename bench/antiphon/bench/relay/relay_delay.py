"""What the relay adds to a packet's way: one-way delay through the real process against loopback alone.

Starts NATS and a relay of its own on free ports of loopback and plays client and transceiver in one process
(so with one clock). At a steady rate it sends in turn: client to transceiver through the relay, transceiver to
client through the relay, and straight from socket to socket. The added delay is the difference of the same
percentile of ways that alternate within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import socket
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from antiphon.bench._lib.processes import nats_server
from antiphon.bench.relay.relays_under_test import PAYLOAD, RelayUnderTest, relay
from antiphon.runtime.nats import connection
from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address

CALLER_RATE: Final = 500
"""Packets per second of all ways of one caller: a third goes up, far below the relay's budget."""


@dataclass(frozen=True)
class RelayDelay:
    """All times in us."""

    path: str
    packets_per_second: int
    direct_p50: float
    direct_p99: float
    added_up_p50: float
    """Client to transceiver."""
    added_up_p99: float
    added_down_p50: float
    added_down_p99: float
    lost: int


def measure(packets_per_second: int = 2000, seconds: float = 10.0, path: str = "auto") -> RelayDelay:
    """Run the measurement; takes `seconds` and a start of two."""
    return asyncio.run(_measure(packets_per_second, seconds, path))


async def _measure(packets_per_second: int, seconds: float, path: str) -> RelayDelay:
    keys = f"A:{secrets.token_hex(16)}"
    with (
        tempfile.TemporaryDirectory() as directory,
        nats_server(Path(directory)) as url,
        contextlib.ExitStack() as open_sockets,
    ):
        owner, *callers = (
            open_sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(2 + packets_per_second // CALLER_RATE)
        )
        for end in (*callers, owner):
            end.bind(("127.0.0.1", 0))
            end.settimeout(0.2)
        client = await connection.connect(url, "bench-relay-delay")
        try:
            async with relay(client, url, path, owner, keys) as under_test:
                for caller in callers:
                    await asyncio.to_thread(_make_flow, caller, owner, under_test)
                return await asyncio.to_thread(_send_and_time, callers, owner, under_test, packets_per_second, seconds)
        finally:
            await client.close()


def _make_flow(caller: socket.socket, owner: socket.socket, under_test: RelayUnderTest) -> None:
    """A packet of an announced transceiver is enough to make the flow known."""
    owner.sendto(tunnel.pack_header(Address(*caller.getsockname())) + PAYLOAD, under_test.tunnel)
    caller.recv(2048)


def _send_and_time(
    callers: list[socket.socket],
    owner: socket.socket,
    under_test: RelayUnderTest,
    packets_per_second: int,
    seconds: float,
) -> RelayDelay:
    ways_of = [
        {
            "up": (caller, PAYLOAD, under_test.public, owner),
            "down": (owner, tunnel.pack_header(Address(*caller.getsockname())) + PAYLOAD, under_test.tunnel, caller),
            "direct": (caller, PAYLOAD, owner.getsockname(), owner),
        }
        for caller in callers
    ]
    took: dict[str, list[float]] = {name: [] for name in ways_of[0]}
    lost = 0
    due = time.perf_counter()
    for number in range(int(packets_per_second * seconds / len(took))):
        for name, (sender, packet, to, receiver) in ways_of[number % len(ways_of)].items():
            due += 1 / packets_per_second
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            began = time.perf_counter_ns()
            sender.sendto(packet, to)
            try:
                while len(received := receiver.recv(2048)) == len(tunnel.HELLO) and received == tunnel.HELLO:
                    pass
            except TimeoutError:
                lost += 1
                due = time.perf_counter()
                continue
            took[name].append((time.perf_counter_ns() - began) / 1000)
    p50 = {name: statistics.median(values) for name, values in took.items()}
    p99 = {name: statistics.quantiles(values, n=100)[98] for name, values in took.items()}
    return RelayDelay(
        path=under_test.name,
        packets_per_second=packets_per_second,
        direct_p50=round(p50["direct"], 1),
        direct_p99=round(p99["direct"], 1),
        added_up_p50=round(p50["up"] - p50["direct"], 1),
        added_up_p99=round(p99["up"] - p99["direct"], 1),
        added_down_p50=round(p50["down"] - p50["direct"], 1),
        added_down_p99=round(p99["down"] - p99["direct"], 1),
        lost=lost,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=2000, help="packets per second (default 2000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to measure (default 10)")
    parser.add_argument("--path", choices=("auto", "batched", "portable"), default="auto", help="packet loop")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    found = measure(args.rate, args.seconds, args.path)
    if args.json:
        print(json.dumps(asdict(found)))
    else:
        print(f"{found.path} loop, {found.packets_per_second} packets/s of {len(PAYLOAD)} octets, {found.lost} lost")
        print(f"  direct   p50 {found.direct_p50:6.1f} us   p99 {found.direct_p99:6.1f} us")
        print(f"  added up p50 {found.added_up_p50:6.1f} us   p99 {found.added_up_p99:6.1f} us")
        print(f"  ... down p50 {found.added_down_p50:6.1f} us   p99 {found.added_down_p99:6.1f} us")
    return 0
