"""What the relay adds to a packet's way: one-way delay through the real process against loopback alone.

Starts NATS and a relay of its own on free ports of loopback and plays client and transceiver in one process
(so with one clock). At a steady rate it sends in turn: client to transceiver through the relay, transceiver to
client through the relay, and straight from socket to socket. The added delay is the difference of the same
percentile of ways that alternate within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import nats
import nats.errors
from nats.aio.client import Client

from antiphon.bench._lib.processes import START_SECONDS, nats_server, process
from antiphon.cli.errors import UsageError
from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.schemas import subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.messages import RelayAnnouncement, RelayStatistics, TransceiverAnnouncement, decode, encode

RELAY: Final = "bench"
PAYLOAD: Final = b"\x80" + bytes(159)
"""As long as an RTP packet with 20 ms of Opus."""


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


@dataclass(frozen=True)
class _Ends:
    client: socket.socket
    owner: socket.socket
    public: Address
    tunnel: Address
    path: str


def measure(packets_per_second: int = 2000, seconds: float = 10.0, path: str = "auto") -> RelayDelay:
    """Run the measurement; takes `seconds` and a start of two."""
    with tempfile.TemporaryDirectory() as directory, _processes(Path(directory), path) as (url, keys):
        return asyncio.run(_measure(url, keys, packets_per_second, seconds))


@contextmanager
def _processes(directory: Path, path: str) -> Iterator[tuple[str, str]]:
    """NATS and a relay; yields the URL of NATS and the route keys."""
    with nats_server(directory) as url:
        keys = f"A:{secrets.token_hex(16)}"
        settings = {
            "ANTIPHON_NATS_URL": url,
            "ANTIPHON_ROUTE_KEYS": keys,
            "ANTIPHON_RELAY_NAME": RELAY,
            "ANTIPHON_RELAY_BIND": "127.0.0.1:0",
            "ANTIPHON_RELAY_TUNNEL_BIND": "127.0.0.1:0",
            "ANTIPHON_RELAY_PATH": path,
            "ANTIPHON_RELAY_WORKERS": "1",
            "ANTIPHON_LOG_LEVEL": "WARNING",
        }
        with process([sys.executable, "-m", "antiphon.relay"], env=settings):
            yield url, keys


async def _measure(url: str, keys: str, packets_per_second: int, seconds: float) -> RelayDelay:
    client_end, owner_end = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with client_end, owner_end:
        for end in (client_end, owner_end):
            end.bind(("127.0.0.1", 0))
            end.settimeout(0.2)
        client = await connection.connect(url, "bench-relay-delay")
        try:
            ends = await _arrive(client, client_end, owner_end, keys)
            announcing = asyncio.create_task(_announce(client, owner_end))
            try:
                return await asyncio.to_thread(_send_and_time, ends, packets_per_second, seconds)
            finally:
                await tasks.end(announcing)
        finally:
            await client.close()


async def _announce(connection: Client, owner: socket.socket) -> None:
    here = str(Address(*owner.getsockname()))
    said = TransceiverAnnouncement(
        cluster=0, slot=1, epoch=1, tunnel_address=here, state="ready", sessions=1, capacity=1
    )
    while True:
        await connection.publish(subjects.transceiver_announce(0, 1), encode(said))
        await asyncio.sleep(1)


async def _arrive(connection: Client, client: socket.socket, owner: socket.socket, keys: str) -> _Ends:
    """Wait for the relay to know us, and make a flow."""
    heard = await connection.subscribe(subjects.relay_announce(RELAY))
    said = decode((await heard.next_msg(START_SECONDS)).data, RelayAnnouncement)
    await heard.unsubscribe()
    announcing = asyncio.create_task(_announce(connection, owner))
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                reply = await connection.request(subjects.relay_stats(RELAY), timeout=1)
                counted = decode(reply.data, RelayStatistics)
                if counted.routes and counted.path != "none":
                    break
            except nats.errors.Error:
                pass
            if time.monotonic() > deadline:
                raise UsageError("the relay for this bench does not start forwarding")
            await asyncio.sleep(0.05)
    finally:
        await tasks.end(announcing)
    ends = _Ends(
        client, owner, parse_address(said.public_addresses[0]), parse_address(said.tunnel_addresses[0]), counted.path
    )
    # A packet of an announced transceiver is enough to make the flow known.
    owner.sendto(tunnel.pack_header(Address(*client.getsockname())) + PAYLOAD, tuple(ends.tunnel))
    await asyncio.to_thread(client.recv, 2048)
    return ends


def _send_and_time(ends: _Ends, packets_per_second: int, seconds: float) -> RelayDelay:
    header = tunnel.pack_header(Address(*ends.client.getsockname()))
    ways = {
        "up": (ends.client, PAYLOAD, tuple(ends.public), ends.owner),
        "down": (ends.owner, header + PAYLOAD, tuple(ends.tunnel), ends.client),
        "direct": (ends.client, PAYLOAD, ends.owner.getsockname(), ends.owner),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    lost = 0
    due = time.perf_counter()
    for _ in range(int(packets_per_second * seconds / len(ways))):
        for name, (sender, packet, to, receiver) in ways.items():
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
        path=ends.path,
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
