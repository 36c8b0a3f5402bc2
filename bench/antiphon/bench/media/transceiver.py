"""Sessions per core, cost, memory and delay of the transceiver, against aiortc and a C baseline.

The real `python -m antiphon.transceiver` and a real NATS server run on this machine; one lean process is
relay, clients, signaling and echo agent. Transceiver and aiortc get one core, everything else another one. All sessions
of a level have joined before it is measured, and each speaks without a pause from its join to the end (`steady_load`).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from antiphon.bench._lib.cores import cores
from antiphon.bench._lib.proc import cpu_seconds, resident_mb
from antiphon.bench._lib.processes import nats_server, process
from antiphon.bench.media import steady_load
from antiphon.bench.media.aiortc_calls import aiortc_calls
from antiphon.bench.media.lateness import distribution
from antiphon.bench.media.load_clients import PERIOD, Load
from antiphon.bench.media.nats_wire import NatsWire
from antiphon.bench.media.transceiver_report import markdown, summary
from antiphon.bench.media.transceiver_under_test import TransceiverUnderTest, transceiver_under_test
from antiphon.cli.errors import UsageError
from antiphon.schemas.audio import AudioFrame, pack_frame

UNLOADED: Final = 10
"""Sessions of a core that has time to spare."""
AIORTC_MOST: Final = 30


def chain_baseline(sessions: int, core: int) -> float | None:
    """CPU microseconds of one session frame in C, at so many sessions; None without a C compiler."""
    command = [sys.executable, "-m", "antiphon.bench.media.c_baseline", "chain", str(sessions)]
    with process(command, core, stdout=subprocess.PIPE, text=True) as child:
        found = json.loads(child.communicate()[0] or "null")
        return float(found) if found is not None else None


def nats_baseline(url: str, sessions: int, seconds: float, core: int) -> float:
    """CPU microseconds of one frame-sized message in and one out in nats-py, at the pace of so many sessions."""
    payload = pack_frame(AudioFrame(1000, 480000, time.time_ns(), 24000, 0, 0, bytes(960)))
    command = [sys.executable, "-m", "antiphon.bench.media.c_baseline", "nats", url]
    with process(command, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        wire, back = NatsWire(url), 0

        def count(subject: bytes, reply: bytes, data: bytes) -> None:
            nonlocal back
            back += 1

        wire.subscribe("bench.baseline.out", count)
        due, gap = time.monotonic(), PERIOD / sessions

        def each_step() -> None:
            nonlocal due
            while due <= time.monotonic():
                wire.publish(b"bench.baseline.in", payload)
                due += gap
            wire.flush()

        load = Load(each_step=each_step)
        load.selector.register(wire.socket, 1, wire.readable)
        load.run(0.5)
        before, cpu = back, cpu_seconds(child.pid)
        load.run(seconds)
        cpu, before = cpu_seconds(child.pid) - cpu, back - before
        load.close()
        wire.close()
        return cpu / max(1, before) * 1e6


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All rounds."""
    measured, rest = cores()
    os.sched_setaffinity(0, {rest})
    if args.realtime:  # children inherit it
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.disable()  # a full collection stops the load for tens of milliseconds; what is noted has no cycles
    rounds: list[dict[str, Any]] = []
    for number in range(args.rounds):
        found: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as directory, nats_server(Path(directory), rest) as url:
            with transceiver_under_test(url, measured, not args.no_hand_over) as running:
                _search_capacity(running, args, found)
            for one in found["levels"] if not args.no_floor else []:
                if one["sessions"] in _looked_at(args):
                    one["nats_us"] = nats_baseline(url, one["sessions"], 2.0, measured)
                    one["chain_us"] = chain_baseline(one["sessions"], measured)
        if not args.no_stock:
            with aiortc_calls(measured) as calls:
                found["stock"] = list(steady_load.search(calls, range(1, AIORTC_MOST + 1), args.seconds / 2))
        rounds.append(found)
        gc.collect()
        if args.verbose:
            reached = steady_load.capacity(found["levels"])
            print(f"round {number + 1} of {args.rounds} is done: {reached} sessions", file=sys.stderr)
    return summary(rounds, args.sessions, "SCHED_RR" if args.realtime else "SCHED_OTHER", measured, rest)


def _looked_at(args: argparse.Namespace) -> list[int]:
    """Levels that are measured at full length and beside their baseline, even above the capacity."""
    return sorted({min(UNLOADED, args.sessions), args.sessions, *(at for at in args.at if at <= args.most)})


def _search_capacity(running: TransceiverUnderTest, args: argparse.Namespace, found: dict[str, Any]) -> None:
    running.load.run(0.5)
    memory, looked_at = resident_mb(running.pid), _looked_at(args)
    levels: list[dict[str, Any]] = []
    found["levels"] = levels
    for count in sorted({*looked_at, *range(args.sessions, args.most + 1, args.step)}):
        if count not in looked_at and levels and steady_load.capacity(levels) < levels[-1]["sessions"]:
            continue  # the capacity is exceeded: only what is to be shown anyway
        cpu, joins = cpu_seconds(running.pid), count - len(running.load.clients)
        if not running.join(joins, args.rush):
            if not levels:
                raise UsageError(f"not all of {count} sessions came up: {running.refused}")
            found["joins_failed"] = count
            return
        cpu = cpu_seconds(running.pid) - cpu
        one = steady_load.level(running, args.seconds if count in looked_at else args.seconds / 2)
        levels.append(one)
        if count == args.sessions:
            found["mb"] = (resident_mb(running.pid) - memory) / count
        if count in looked_at[:2]:
            one["reply_to_wire_ms"] = distribution(running.probe(args.seconds / 2))
        if count == looked_at[0]:
            found["setup_cpu_ms"] = cpu / joins * 1000
        if args.verbose:
            late, own = one["late_ms"], one["driver_late_ms"]
            print(
                f"{count:>4} sessions: late p99 {late['p99']:.1f} max {late['max']:.1f} ms, {one['us_per_pair']:.0f} us"
                f" per pair, missing {one['missing']} and {one['missing_frames']}, driver {own['p99']:.1f} ms,"
                f" stolen {one['stolen_percent']:.1f} %",
                file=sys.stderr,
            )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose median counts (default: %(default)s)")
    parser.add_argument("--sessions", type=int, default=50, help="where the search begins (default: %(default)s)")
    parser.add_argument(
        "--at",
        type=int,
        nargs="*",
        default=[50, 150, 200],
        help="levels shown beside their baseline (default: 50 150 200)",
    )
    parser.add_argument("--step", type=int, default=10, help="sessions added until frames are late (default: 10)")
    parser.add_argument("--rush", type=int, default=10, help="sessions that join at a time (default: %(default)s)")
    parser.add_argument("--no-hand-over", action="store_true", help="sessions are not written down")
    parser.add_argument("--most", type=int, default=300, help="sessions to stop at (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--no-stock", action="store_true", help="leave the aiortc baseline out")
    parser.add_argument("--no-floor", action="store_true", help="leave the C baseline and the nats-py echo out")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="run before everything else on this machine (SCHED_RR, needs root): no delays by neighbours",
    )
    parser.add_argument("--verbose", action="store_true", help="print each level on stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/transceiver.md")


def run(args: argparse.Namespace) -> int:
    for name in ("rounds", "sessions", "step", "rush"):
        if (value := vars(args)[name]) < 1:
            raise UsageError(f"--{name} {value}: at least 1")
    if args.most < args.sessions:
        raise UsageError(f"--most {args.most}: below --sessions {args.sessions}, where the search begins")
    found = measure(args)
    print(json.dumps(found) if args.json else markdown(found))
    return 0
