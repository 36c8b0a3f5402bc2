"""Two transceiver processes on one core against one with all their sessions, and running calls while others join.

In every round each arrangement has the core in turn: all sessions join and speak without a pause (steady), then further
calls join at a fixed rate and hang up a second after they are connected (rush). CPU is that of all transceiver
processes; lateness, as in `antiphon bench transceiver`, is that of the calls that run all the time. Everything else has
the other core. docs/transceiver.md has numbers.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from array import array
from collections import deque
from pathlib import Path
from typing import Any, Final, Protocol

from antiphon.bench._lib.cores import cores
from antiphon.bench._lib.proc import children, cpu_seconds, stolen_seconds
from antiphon.bench._lib.processes import nats_server
from antiphon.bench._lib.statistics import percentiles, spread
from antiphon.bench.media.lateness import Evaluation
from antiphon.bench.media.load_clients import PERIOD, LoadClient
from antiphon.bench.media.steady_load import GRACE_SECONDS, SETTLE_SECONDS
from antiphon.bench.media.transceiver_under_test import TransceiverUnderTest, transceiver_under_test
from antiphon.cli.errors import UsageError

ARRANGEMENTS: Final = (1, 2)
"""Processes that share the sessions and the core."""
CALL_SECONDS: Final = 1.0
"""Of a call of the rush, from its connection to its end."""


class Calls(Protocol):
    """Where calls begin and end: `TransceiverUnderTest`."""

    def begin_call(self) -> LoadClient: ...
    def end_call(self, client: LoadClient) -> None: ...


class Rush:
    """Calls that join at a fixed rate, and end. Owned by one window, used from its thread."""

    def __init__(self, running: Calls, a_second: float, now: float) -> None:
        """`a_second` 0: none joins."""
        self._running = running
        self._gap = 1 / a_second if a_second else float("inf")
        self._due = now + self._gap
        self._connecting: dict[LoadClient, float] = {}
        self._talking: deque[tuple[LoadClient, float]] = deque()
        """With the time at which each ends."""
        self.joined = 0
        self.setup_ms: list[float] = []
        """Offer sent to handshake done, of each that was connected."""

    def step(self, now: float) -> None:
        """Begin and end what is due."""
        while self._due <= now:
            self._connecting[self._running.begin_call()] = now
            self._due += self._gap
            self.joined += 1
        for client in [client for client in self._connecting if client.connected]:
            self.setup_ms.append((now - self._connecting.pop(client)) * 1000)
            self._talking.append((client, now + CALL_SECONDS))
        while self._talking and self._talking[0][1] <= now:
            self._running.end_call(self._talking.popleft()[0])

    def close(self) -> None:
        """End what is left."""
        for client in (*self._connecting, *(client for client, _ in self._talking)):
            self._running.end_call(client)


def window(running: TransceiverUnderTest, pids: list[int], seconds: float, joins: float = 0) -> dict[str, Any]:
    """So much of steady speech, with so many joins a second."""
    load, standing = running.load, tuple(running.load.clients)
    load.forget()
    rush = Rush(running, joins, time.monotonic())
    begin_ns, began, cpu = time.time_ns(), time.monotonic(), sum(map(cpu_seconds, pids))
    stolen = stolen_seconds()
    while (now := time.monotonic()) < began + seconds:
        load.run(min(0.005, began + seconds - now))
        rush.step(time.monotonic())
    end_ns, elapsed, cpu = time.time_ns(), time.monotonic() - began, sum(map(cpu_seconds, pids)) - cpu
    stolen = stolen_seconds() - stolen
    driver_ms, load.late_ms = load.late_ms, array("d")
    load.run(GRACE_SECONDS)
    rush.close()
    evaluation = Evaluation(begin_ns, end_ns, driver_ms=list(driver_ms))
    for client in standing:
        evaluation.add(client)
        load.turn()
    found = {
        "sessions": len(standing),
        "core_percent": cpu / elapsed * 100,
        "us_per_pair": cpu / elapsed * PERIOD / len(standing) * 1e6,
        "stolen_percent": stolen / elapsed * 100,
        **evaluation.statistics(),
    }
    if joins:
        setup = percentiles(rush.setup_ms, (50, 99, 100), 0)
        found |= {"joined": rush.joined, "connected": len(rush.setup_ms), "setup_ms": setup}
    return found


def _arrangement(args: argparse.Namespace, processes: int) -> dict[str, Any]:
    measured, rest = cores()
    with (
        tempfile.TemporaryDirectory() as directory,
        nats_server(Path(directory), rest) as url,
        transceiver_under_test(url, measured, processes=processes) as running,
    ):
        pids = children(running.pid) if processes > 1 else [running.pid]
        if not running.join(args.sessions):
            raise UsageError(f"not all of {args.sessions} sessions came up: {running.refused}")
        running.load.run(SETTLE_SECONDS)
        steady = window(running, pids, args.seconds)
        return {"steady": steady, "rush": window(running, pids, args.seconds, args.joins)}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All rounds."""
    os.sched_setaffinity(0, {cores()[1]})
    if args.realtime:  # children inherit it
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.disable()  # a full collection stops the load for tens of milliseconds; what is noted has no cycles
    rounds: list[dict[int, dict[str, Any]]] = []
    for number in range(args.rounds):
        order = ARRANGEMENTS if number % 2 == 0 else ARRANGEMENTS[::-1]
        rounds.append({processes: _arrangement(args, processes) for processes in order})
        gc.collect()
    return summary(rounds, args.joins)


def summary(rounds: list[dict[int, dict[str, Any]]], joins: float) -> dict[str, Any]:
    """Median and range of the rounds; `cpu_ratio`: of two processes to one, of each round."""
    report: dict[str, Any] = {"rounds": len(rounds), "joins_a_second": joins}
    ratios = [one[2]["steady"]["us_per_pair"] / one[1]["steady"]["us_per_pair"] for one in rounds]
    report["cpu_ratio"] = spread(ratios)
    for processes in ARRANGEMENTS:
        for kind in ("steady", "rush"):
            found = [one[processes][kind] for one in rounds]
            row: dict[str, Any] = {
                name: spread([each[name] for each in found]) for name in ("us_per_pair", "core_percent")
            }
            for name in ("late_ms", "packet_to_agent_ms"):
                row[name] = {at: spread([each[name][at] for each in found]) for at in ("p50", "p99", "max")}
            row["driver_late_p99_ms"] = spread([each["driver_late_ms"]["p99"] for each in found])
            row["stolen_percent"] = spread([each["stolen_percent"] for each in found])
            counted = {name: sum(each[name] for each in found) for name in ("missing", "missing_frames")}
            report[f"{processes}_{kind}"] = {"in_time": sum(each["in_time"] for each in found), **row, **counted}
            if kind == "rush":
                setups = {at: spread([each["setup_ms"][at] or 0.0 for each in found]) for at in ("p50", "p99")}
                report[f"{processes}_{kind}"] |= {
                    "joined": sum(each["joined"] for each in found),
                    "connected": sum(each["connected"] for each in found),
                    "setup_ms": setups,
                }
    report["sessions"] = rounds[0][1]["steady"]["sessions"]
    return report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, default=100, help="that run all the time (default: %(default)s)")
    parser.add_argument("--joins", type=float, default=50.0, help="a second, in the rush (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="in which both take turns (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each window (default: %(default)s)")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="run before everything else on this machine (SCHED_RR, needs root): no delays by neighbours",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    for name in ("sessions", "rounds"):
        if (value := vars(args)[name]) < 1:
            raise UsageError(f"--{name} {value}: at least 1")
    if args.joins <= 0 or args.seconds <= 0:
        raise UsageError(f"--joins {args.joins:g}, --seconds {args.seconds:g}: above 0")
    found = measure(args)
    print(json.dumps(found) if args.json else text(found))
    return 0


def text(found: dict[str, Any]) -> str:
    """A line per arrangement and kind of window."""
    ratio = found["cpu_ratio"]
    lines = [
        f"{found['sessions']} sessions, {found['rounds']} rounds: CPU of two processes {ratio['median']} "
        f"({ratio['min']} to {ratio['max']}) of that of one"
    ]
    for processes in ARRANGEMENTS:
        for kind in ("steady", "rush"):
            row = found[f"{processes}_{kind}"]
            late, cost = row["late_ms"], row["us_per_pair"]
            lines.append(
                f"{processes} {kind:6}: {cost['median']:5.0f} us per pair ({cost['min']:.0f} to {cost['max']:.0f}), "
                f"{row['core_percent']['median']:.0f} % of the core; late p50 {late['p50']['median']} p99 "
                f"{late['p99']['median']} ({late['p99']['min']} to {late['p99']['max']}) max {late['max']['max']} ms; "
                f"missing {row['missing']}; driver late p99 {row['driver_late_p99_ms']['median']} ms"
            )
            if kind == "rush":
                setup = row["setup_ms"]
                lines.append(
                    f"  {row['connected']} of {row['joined']} joined; connected after p50 {setup['p50']['median']} "
                    f"p99 {setup['p99']['median']} ms"
                )
    return "\n".join(lines)
