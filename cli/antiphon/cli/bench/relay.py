"""How many packets per second a relay forwards on one core, against a compiled loop and the portable one.

The forwarder has a core of its own, the load another one. In every round each of them is measured in turn, so
that what the machine does besides hits all alike: compare ratios within one run. Load comes in batches that are
prepared beforehand; `_relay_load` says how, `bench/relay/forward.c` is the compiled loop.

All peaks are at saturation: more is offered than is forwarded. `loss_free_pps` is the most of which nothing is
lost for half a second. `overload_ratio` is what is forwarded of `overload_offered` times its own peak,
over that peak. `--flood` sends forged binding requests while 100 calls run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import socket
import statistics
import string
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from antiphon.cli.bench._processes import nats_server
from antiphon.cli.bench._relay_load import BATCH, Prepared, Sink, client_host, end, segmented
from antiphon.cli.bench._relay_subjects import Subject, compiled, cores, relay
from antiphon.cli.errors import UsageError
from antiphon.schemas import bus

PAYLOAD: Final = b"\x80" + bytes(159)
"""As long as an RTP packet with 20 ms of Opus."""
DIRECTIONS: Final = ("up", "down", "both")
DELAY_PPS: Final = 20_000
OVERLOAD: Final = 3.0
CALLS: Final = 100
FORGED_AT_ONCE: Final = 32
"""Forged requests of one source address in one call."""
SETUP_PASSES: Final = 4
"""Times that all flows are made known, until the subject has them all; the compiled loop does not say."""
_TIMESTAMPNS: Final = 35


class Bench:
    """Both ends of every flow, and what is measured between them."""

    def __init__(self, flows: int, seconds: float) -> None:
        self.flows = flows
        self.seconds = seconds
        self.clients = end("0.0.0.0")
        self.owner = end("127.0.0.1")
        self.port: int = self.clients.getsockname()[1]
        self._prepared: dict[tuple[str, str], Prepared] = {}
        self._bare: dict[str, Prepared] = {}

    def close(self) -> None:
        self.clients.close()
        self.owner.close()

    def header(self, number: int) -> bytes:
        return struct.pack("<H", 2) + struct.pack(">H", self.port) + client_host(number)

    def make_flows(self, subject: Subject, flows: int) -> None:
        """Bare headers of the owner, slowly enough that none is lost; and the load for this many flows."""
        order = list(range(flows))
        random.Random(1).shuffle(order)
        bare = Prepared([(self.header(number), subject.tunnel, None) for number in order])
        for number in range(SETUP_PASSES):
            for _ in range(0, flows, BATCH):
                bare.send(self.owner.fileno())
                time.sleep(0.0005 * (number + 1))
            if subject.statistics is not None and subject.statistics().flows_confirmed >= flows:
                break
        self._bare[subject.name] = bare
        some = order[: max(BATCH, min(flows, 1 << 17))]
        self._prepared = {
            ("up", subject.name): Prepared([(PAYLOAD, subject.public, client_host(number)) for number in some]),
            ("down", subject.name): Prepared([(self.header(n) + PAYLOAD, subject.tunnel, None) for n in some]),
        }
        if subject.statistics is not None:
            known = subject.statistics().flows_confirmed
            if known < flows * 0.99:
                raise UsageError(f"only {known} of {flows} flows were learned by the {subject.name} loop")

    def renew_flows(self, subject: Subject) -> None:
        """The owner speaks of each client once: a flow of which nothing is heard for a minute is dropped."""
        bare = self._bare[subject.name]
        for _ in range(0, bare.count, BATCH):
            bare.send(self.owner.fileno())
            time.sleep(0.0005)

    def _senders(self, subject: Subject, direction: str) -> list[Callable[[int], int]]:
        ways = {
            "up": lambda count: self._prepared["up", subject.name].send(self.clients.fileno(), count),
            "down": lambda count: self._prepared["down", subject.name].send(self.owner.fileno(), count),
        }
        return list(ways.values()) if direction == "both" else [ways[direction]]

    def _arrived(self, settled: bool = False) -> int:
        sinks = (Sink(self.owner), Sink(self.clients))
        return sum(sink.settled() if settled else sink.arrived() for sink in sinks)

    def peak(self, subject: Subject, direction: str) -> tuple[float, float, float, float]:
        """(forwarded per second, offered per second, user us, kernel us) under more load than it can bear."""
        senders = self._senders(subject, direction)
        self._offer(senders, 0.1)
        before, cpu, began = self._arrived(), subject.cpu_seconds(), time.perf_counter()
        sent = self._offer(senders, self.seconds)
        took, forwarded, after = time.perf_counter() - began, self._arrived() - before, subject.cpu_seconds()
        self._arrived(settled=True)
        per = max(1, forwarded) / 1e6
        return forwarded / took, sent / took, (after[0] - cpu[0]) / per, (after[1] - cpu[1]) / per

    def _offer(self, senders: list[Callable[[int], int]], seconds: float) -> int:
        until, sent = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            for send in senders:
                sent += send(BATCH)
        return sent

    def paced(self, subject: Subject, direction: str, rate: float, seconds: float) -> tuple[int, int]:
        """(sent, arrived) at a steady rate, in small batches."""
        senders = self._senders(subject, direction)
        before, began, sent, at_once = self._arrived(settled=True), time.perf_counter(), 0, 16
        while (now := time.perf_counter() - began) < seconds:
            if sent < now * rate:
                for send in senders:
                    sent += send(at_once)
        return sent, self._arrived(settled=True) - before

    def loss_free(self, subject: Subject, peak: float) -> float:
        """The highest of 8 steps between nothing and the peak at which nothing was lost."""
        low, high = 0.0, peak * 1.1
        for _ in range(6):
            rate = (low + high) / 2
            sent, arrived = self.paced(subject, "up", rate, 0.5)
            low, high = (rate, high) if arrived >= sent - 2 else (low, rate)
        return low

    def overload(self, subject: Subject, peak: float) -> tuple[float, float]:
        """(forwarded, offered) per second at up to `OVERLOAD` times the peak, by segmentation offload."""
        count = 50
        before, began, sent, number = self._arrived(), time.perf_counter(), 0, 0
        while (now := time.perf_counter() - began) < self.seconds:
            if sent < now * peak * OVERLOAD:
                number = (number + 1) % self.flows
                segmented(self.clients, PAYLOAD * count, len(PAYLOAD), subject.public, client_host(number))
                sent += count
        took = time.perf_counter() - began
        forwarded = self._arrived() - before
        self._arrived(settled=True)
        return forwarded / took, sent / took

    def delays(self, to: tuple[str, int], seconds: float) -> list[float]:
        """One-way delay in us of packets at `DELAY_PPS`, from before the send call to the arrival in the kernel."""
        with end("127.0.0.1", small=False) as sink:
            sink.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
            sink.setblocking(False)
            return self._delays(sink, to, seconds)

    def _delays(self, sink: socket.socket, to: tuple[str, int], seconds: float) -> list[float]:
        """Down: the owner sends for a client that is the sink, whose flow its first packet makes."""
        direct = to == ("", 0)
        here = sink.getsockname()
        header = b"" if direct else struct.pack("<H", 2) + struct.pack(">H", here[1]) + socket.inet_aton(here[0])
        to = here if direct else to
        found: list[float] = []
        due, until = time.perf_counter(), time.perf_counter() + seconds
        while due < until:
            due += 1 / DELAY_PPS
            while time.perf_counter() < due:
                pass
            self.owner.sendto(header + struct.pack("<Q", time.time_ns()) + PAYLOAD[8:], to)
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, control, _, _ = sink.recvmsg(256, 64)
                    came, nanoseconds = struct.unpack("<qq", control[0][2][:16])
                    found.append((came * 1_000_000_000 + nanoseconds - int.from_bytes(data[:8], "little")) / 1000)
        return found


def _spread(values: list[float]) -> float:
    """Half the range over the median."""
    middle = statistics.median(values)
    return round((max(values) - min(values)) / 2 / middle, 3) if middle else 0.0


def _median(values: list[float], digits: int = 0) -> float:
    return round(statistics.median(values), digits) if values else 0.0


def _peaks(bench: Bench, subjects: list[Subject], rounds: int) -> dict[str, Any]:
    """Per direction, every subject in turn."""
    out: dict[str, Any] = {}
    for direction in DIRECTIONS:
        found: dict[str, list[tuple[float, float, float, float]]] = {subject.name: [] for subject in subjects}
        for subject in subjects:
            bench.renew_flows(subject)
        for number in range(rounds):
            for subject in subjects if number % 2 == 0 else subjects[::-1]:
                found[subject.name].append(bench.peak(subject, direction))
        pps = {name: [each[0] for each in values] for name, values in found.items()}
        ratios = [ours / c for ours, c in zip(pps["batched"], pps.get("c", []), strict=False) if c]
        costs = [
            (theirs[2] + theirs[3]) / (ours[2] + ours[3])
            for ours, theirs in zip(found["batched"], found.get("c", []), strict=False)
        ]
        out[direction] = {
            "pps": _median(pps["batched"]),
            "spread": _spread(pps["batched"]),
            "reference_c_pps": _median(pps["c"]) if "c" in pps else None,
            "portable_pps": _median(pps["portable"]),
            "ratio_to_c": _median(ratios, 3) if ratios else None,
            "cpu_ratio_to_c": _median(costs, 3) if costs else None,
            "offered_pps": _median([each[1] for each in found["batched"]]),
            "user_us": _median([each[2] for each in found["batched"]], 2),
            "kernel_us": _median([each[3] for each in found["batched"]], 2),
        }
    return out


def _measure(
    benches: dict[str, Bench], subjects: list[Subject], flow_counts: list[int], rounds: int, flood: str | None
) -> dict[str, Any]:
    """Everything; runs in a thread that is pinned to the core for the load."""
    os.sched_setaffinity(0, {cores()[1]})
    ours = next(subject for subject in subjects if subject.name == "batched")
    bench = benches["all"]
    by_flows: dict[str, Any] = {}
    for flows in flow_counts:
        prepared: dict[tuple[str, str], Prepared] = {}
        for subject in subjects:
            bench.make_flows(subject, flows)
            prepared |= bench._prepared
        bench._prepared = prepared
        by_flows[str(flows)] = _peaks(bench, subjects, rounds)
    first = by_flows[str(flow_counts[0])]
    peak = first["up"]["pps"]
    for subject in subjects:
        bench.make_flows(subject, min(1000, flow_counts[0]))
    bench.flows = min(1000, flow_counts[0])
    bench.make_flows(ours, bench.flows)
    loss_free = [bench.loss_free(ours, peak) for _ in range(rounds)]
    overloads = [bench.overload(ours, peak) for _ in range(rounds)]
    delays: dict[str, list[float]] = {"p50": [], "p99": []}
    for _ in range(rounds):
        direct, through = bench.delays(("", 0), 1.0), bench.delays(ours.tunnel, 1.0)
        if min(len(direct), len(through)) < 2:
            raise UsageError("no packet came through the relay within a second: is the machine busy with other work?")
        for name, hundredth in (("p50", 49), ("p99", 98)):
            percentile = [statistics.quantiles(each, n=100)[hundredth] for each in (direct, through)]
            delays[name].append(percentile[1] - percentile[0])
    both = first["both"]
    return {
        "pps": both["pps"],
        "reference_c_pps": both["reference_c_pps"],
        "ratio_to_c": both["ratio_to_c"],
        "portable_pps": both["portable_pps"],
        "spread": both["spread"],
        "loss_free_pps": _median(loss_free),
        "overload_ratio": _median([forwarded / peak for forwarded, _ in overloads], 3),
        "overload_offered": _median([offered / peak for _, offered in overloads], 2),
        "added_us": {name: _median(values, 1) for name, values in delays.items()},
        "user_us": both["user_us"],
        "kernel_us": both["kernel_us"],
        "flows": flow_counts[0],
        "payload_bytes": len(PAYLOAD),
        "rounds": rounds,
        "by_flows": by_flows,
        **({"flood": _flood(bench, ours, rounds)} if flood else {}),
    }


def _forged_request(draw: random.Random) -> bytes:
    ufrag = "A" + "".join(draw.choices(string.ascii_letters + string.digits, k=22))
    username = f"{ufrag}:peer".encode()
    attributes = struct.pack("!HH", 0x0006, len(username)) + username + bytes(-len(username) % 4)
    attributes += (
        struct.pack("!HHQ", 0x802A, 8, 1) + struct.pack("!HHI", 0x0024, 4, 1) + struct.pack("!HH", 8, 20) + bytes(20)
    )
    return struct.pack("!HHI", 1, len(attributes), 0x2112A442) + draw.randbytes(12) + attributes


def _flood(bench: Bench, subject: Subject, rounds: int) -> dict[str, float]:
    """The highest rate of forged requests at which 100 running calls lose at most 1 %."""
    draw = random.Random(7)
    forged = [b"".join(_forged_request(draw) for _ in range(FORGED_AT_ONCE)) for _ in range(64)]
    best: dict[str, float] = {"forged_pps": 0, "call_loss": 1.0}
    failed = 0
    for rate in range(100_000, 900_001, 50_000):
        shed, losses = [], []
        for _ in range(rounds):
            pps, loss = _flood_round(bench, subject, forged, rate)
            shed.append(pps)
            losses.append(loss)
        if statistics.median(losses) > 0.01:
            failed += 1
            if failed == 2:  # one may be the machine's
                break
            continue
        failed = 0
        best = {"forged_pps": _median(shed), "call_loss": _median(losses, 4)}
    return best


def _flood_round(bench: Bench, subject: Subject, forged: list[bytes], rate: float) -> tuple[float, float]:
    assert subject.statistics is not None
    calls = bench._senders(subject, "both")
    bench._arrived(settled=True)
    drops, arrived, began = sum(subject.statistics().drops.values()), bench._arrived(), time.perf_counter()
    sent = in_calls = 0
    while (now := time.perf_counter() - began) < 1.0:
        if in_calls < now * CALLS * 100:  # 50 packets per second and direction
            for send in calls:
                in_calls += send(10)
        if sent < now * rate:
            number = sent // FORGED_AT_ONCE
            some = forged[number % len(forged)]
            source = client_host(200_000 + number % 60_000)
            segmented(bench.clients, some, len(some) // FORGED_AT_ONCE, subject.public, source)
            sent += FORGED_AT_ONCE
    took = time.perf_counter() - began
    lost = in_calls - (bench._arrived(settled=True) - arrived)
    return (sum(subject.statistics().drops.values()) - drops) / took, max(0, lost) / in_calls


async def _run(flow_counts: list[int], rounds: int, seconds: float, flood: bool) -> dict[str, Any]:
    keys = f"A:{secrets.token_hex(16)}"
    core, _ = cores()
    with tempfile.TemporaryDirectory() as directory, nats_server(Path(directory)) as url:
        client = await bus.connect(url, "bench-relay")
        bench = Bench(flow_counts[0], seconds)
        try:
            async with (
                compiled(core) as c,
                relay(client, url, "batched", core, bench.owner, keys) as batched,
                relay(client, url, "portable", core, bench.owner, keys) as portable,
            ):
                subjects = [subject for subject in (batched, c, portable) if subject is not None]
                found = await asyncio.to_thread(
                    _measure, {"all": bench}, subjects, flow_counts, rounds, "flood" if flood else None
                )
        finally:
            bench.close()
            await client.close()
    if flood:
        found |= found.pop("flood")
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--flows", default="1000,10000,100000", help="flow counts (default 1000,10000,100000)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds per figure (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round (default 1)")
    parser.add_argument("--flood", action="store_true", help="also shed forged requests while 100 calls run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    try:
        flow_counts = [int(each) for each in args.flows.split(",")]
        if not all(BATCH <= each <= 131072 for each in flow_counts):
            raise ValueError
    except ValueError:
        raise UsageError(f"--flows {args.flows}: takes numbers from {BATCH} to 131072, with commas between") from None
    found = asyncio.run(_run(flow_counts, args.rounds, args.seconds, args.flood))
    if args.json:
        print(json.dumps(found))
        return 0
    for flows, directions in found["by_flows"].items():
        for direction, each in directions.items():
            ratio = f"{each['ratio_to_c']:.2f} of C" if each["ratio_to_c"] else "no compiler"
            portable = f"portable {each['portable_pps']:.0f}"
            print(
                f"{flows:>7} flows {direction:>4}: {each['pps']:9.0f} packets/s, {ratio}, "
                f"{each['user_us']:.2f} us user + {each['kernel_us']:.2f} us kernel, {portable}"
            )
    print(f"loss free {found['loss_free_pps']:.0f} packets/s; added {found['added_us']} us at {DELAY_PPS} packets/s")
    print(f"at {found['overload_offered']} times its peak it forwards {found['overload_ratio']} of it")
    if args.flood:
        print(f"{found['forged_pps']:.0f} forged requests/s shed, calls lose {found['call_loss'] * 100:.2f} %")
    return 0
