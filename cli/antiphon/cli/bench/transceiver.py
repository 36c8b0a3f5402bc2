"""Sessions per core, cost, memory and delay of the transceiver, against stock aiortc and a C chain.

The real `python -m antiphon.transceiver` and a real NATS server run on this machine; one lean process is
relay, clients, signaling and echo agent. Transceiver and stock get one core, everything else another one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from antiphon.cli.bench._clients import PERIOD, Load, LoadClient, recording
from antiphon.cli.bench._figures import cpu_seconds, lateness_ms, percentile, resident_mb, spread
from antiphon.cli.bench._nats_wire import NatsWire
from antiphon.cli.bench._ours import Ours, cores, ours
from antiphon.cli.bench._processes import START_SECONDS, nats_server, process
from antiphon.cli.errors import UsageError
from antiphon.cli.sdp import Answer
from antiphon.schemas.audio import AudioFrame, pack_frame
from antiphon.transceiver.dtls_handshake import Certificate

LATE_LIMIT_MS: Final = 10.0


def stock(count: int, seconds: float, core: int) -> dict[str, float]:
    """So many calls echoed by stock aiortc."""
    command = [sys.executable, "-m", "antiphon.cli.bench._stock"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    load, certificate, packets = Load(), Certificate(), recording()
    by_source: dict[tuple[str, int], LoadClient] = {}
    load.deliver = lambda data, source, at: by_source[source].receive(data, at) if source in by_source else None
    with process(command, core, text=True, **pipes) as child:
        for _ in range(count):
            where: list[tuple[str, int]] = []
            client = LoadClient(
                certificate,
                lambda data, where=where: load.socket.sendto(data, where[0]),  # type: ignore[misc]
                packets,
            )
            print(json.dumps({"offer": client.offer()}), file=child.stdin, flush=True)
            answer = Answer(json.loads(child.stdout.readline())["answer"])
            where.append((answer.candidates[0].host, answer.candidates[0].port))
            by_source[where[0]] = client
            client.begin(answer)
            load.add(client)
        try:
            if not load.run(START_SECONDS, lambda: all(client.connected for client in load.clients)):
                raise UsageError(f"not all of {count} calls to stock aiortc came up")
            load.speaking = True
            load.run(1.5)
            since = {id(client): len(client.heard) for client in load.clients}
            began, cpu = time.monotonic(), cpu_seconds(child.pid)
            load.run(seconds)
            elapsed, cpu = time.monotonic() - began, cpu_seconds(child.pid) - cpu
            late = lateness_ms(load.clients, since)
            heard = sum(len(client.heard) - since[id(client)] for client in load.clients)
        finally:
            load.close()
    return {
        "late_p99": percentile(late, 99),
        "complete": heard / (elapsed / PERIOD * count),
        "cpu_percent_per_session": cpu / elapsed * 100 / count,
    }


def punctual(found: dict[str, Any]) -> bool:
    return bool(found["late_p99"] < LATE_LIMIT_MS and found["complete"] > 0.97)


def stock_capacity(seconds: float, core: int) -> tuple[int, list[dict[str, float]]]:
    """The most calls that stock aiortc answers in time, one more at a time."""
    steps = []
    best = 0
    for count in range(1, 21):
        steps.append(stock(count, seconds, core))
        if not punctual(steps[-1]):
            break
        best = count
    return best, steps


def chain_floor(sessions: int, core: int) -> float | None:
    command = [sys.executable, "-m", "antiphon.cli.bench._floor", "chain", str(sessions)]
    with process(command, core, stdout=subprocess.PIPE, text=True) as child:
        found = json.loads(child.communicate()[0] or "null")
        return float(found) if found is not None else None


def nats_floor(url: str, sessions: int, seconds: float, core: int, payload: bytes) -> float:
    """CPU microseconds of one frame-sized message in and one out in nats-py, at the pace of so many sessions."""
    command = [sys.executable, "-m", "antiphon.cli.bench._floor", "nats", url]
    with process(command, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        wire, load = NatsWire(url), Load()
        load.selector.register(wire.socket, 1, wire.readable)
        back = 0

        def count(subject: bytes, reply: bytes, data: bytes) -> None:
            nonlocal back
            back += 1

        wire.subscribe("bench.floor.out", count)
        due, gap = time.monotonic(), PERIOD / sessions

        def each_step() -> None:
            nonlocal due
            while due <= time.monotonic():
                wire.publish(b"bench.floor.in", payload)
                due += gap
            wire.flush()

        load.each_step = each_step
        load.run(0.5)
        before, cpu = back, cpu_seconds(child.pid)
        load.run(seconds)
        cpu, before = cpu_seconds(child.pid) - cpu, back - before
        load.close()
        wire.close()
        return cpu / max(1, before) * 1e6


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All rounds; about 30 s each and as much again for stock aiortc."""
    measured, rest = cores()
    os.sched_setaffinity(0, {rest})
    if args.realtime:  # children inherit it
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    rounds: dict[str, list[Any]] = {}

    def note(**found: Any) -> None:
        for name, value in found.items():
            if value is not None:
                rounds.setdefault(name, []).append(value)

    payload = pack_frame(AudioFrame(1000, 480000, time.time_ns(), 24000, 0, 0, bytes(960)))
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory() as directory, nats_server(Path(directory), rest) as url:
            with ours(url, measured, not args.no_hand_over) as running:
                _round_of_ours(running, args, note)
            note(nats_us=nats_floor(url, args.sessions, 2.0, measured, payload))
        if not args.no_floor and (chain := chain_floor(args.sessions, measured)) is not None:
            # A frame each way per 20 ms: 50 of both, chain and messages, a second.
            floor = (chain + rounds["nats_us"][-1]) * 50 / 1e4
            note(chain_us=chain, floor=floor, ratio_to_floor=rounds["cpu"][-1] / floor)
        if not args.no_stock:
            best, steps = stock_capacity(args.seconds / 2, measured)
            note(stock_sessions=best, stock_cpu=steps[max(0, best - 1)]["cpu_percent_per_session"])
        if args.verbose:
            print(f"round {number + 1} of {args.rounds} is done", file=sys.stderr)
    return _summary(args, rounds)


def _round_of_ours(running: Ours, args: argparse.Namespace, note: Any) -> None:
    running.load.run(0.5)
    memory, best, in_time, setup = resident_mb(running.pid), 0, True, 0.0
    for count in (*range(args.step, args.sessions, args.step), args.sessions):
        cpu = cpu_seconds(running.pid)
        running.join(count - len(running.load.clients))
        setup += cpu_seconds(running.pid) - cpu
        if count == min(args.step, args.sessions):
            idle = running.talk(args.seconds / 2)["arrival_to_nats"]
            note(unloaded_p50=idle[0], unloaded_p99=idle[1])
        if count < args.sessions and count >= args.sessions // 2:
            in_time = in_time and punctual(running.talk(args.seconds / 2))
            best = count if in_time else best
    note(setup_cpu_ms=setup / args.sessions * 1000)
    found = running.talk(args.seconds)
    note(
        mb=(resident_mb(running.pid) - memory) / args.sessions,
        cpu=found["cpu_percent_per_session"],
        waited_percent=found["waited_percent"],
        stolen_percent=found["stolen_percent"],
        complete=found["complete"],
        late_p50=found["late_p50"],
        late_p99=found["late_p99"],
        arrival_p50=found["arrival_to_nats"][0],
        arrival_p99=found["arrival_to_nats"][1],
        frame_p50=found["arrival_to_frame"][0],
        frame_p99=found["arrival_to_frame"][1],
    )
    wire_p50, wire_p99 = running.probe(args.seconds / 2)
    note(wire_p50=wire_p50, wire_p99=wire_p99)
    in_time = in_time and punctual(found)
    best = args.sessions if in_time else best
    while in_time and len(running.load.clients) < args.most:
        running.join(args.step)
        found = running.talk(args.seconds / 2)
        if not punctual(found):
            break
        best = found["sessions"]
    note(sessions=best)


def _summary(args: argparse.Namespace, rounds: dict[str, list[Any]]) -> dict[str, Any]:
    def median(name: str, digits: int = 3) -> float | None:
        return round(statistics.median(rounds[name]), digits) if rounds.get(name) else None

    def pair(name: str) -> dict[str, float | None]:
        return {"p50": median(f"{name}_p50"), "p99": median(f"{name}_p99")}

    sessions, stock_sessions = median("sessions"), median("stock_sessions")
    return {
        "sessions_per_core": sessions,
        "stock_sessions_per_core": stock_sessions,
        "ratio_to_stock": round(sessions / stock_sessions, 1) if sessions and stock_sessions else None,
        "cpu_percent_per_session": median("cpu"),
        "ratio_to_floor": median("ratio_to_floor", 2),
        "late_ms": pair("late"),
        "arrival_to_nats_ms": pair("arrival"),
        "arrival_to_nats_unloaded_ms": pair("unloaded"),
        "nats_to_wire_ms": pair("wire"),
        "mb_per_session": median("mb"),
        "setup_cpu_ms": median("setup_cpu_ms", 2),
        "stock_cpu_percent_per_session": median("stock_cpu", 2),
        "floor": {
            "c_chain_us": median("chain_us"),
            "nats_us": median("nats_us"),
            "percent_per_session": median("floor"),
        },
        "arrival_to_frame_ms": pair("frame"),
        "waited_for_core_percent": median("waited_percent", 1),
        "stolen_from_machine_percent": median("stolen_percent", 1),
        "sessions_measured": args.sessions,
        "rounds": args.rounds,
        "spread": {name: spread(values, 3) for name, values in sorted(rounds.items())},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose median counts (default: %(default)s)")
    parser.add_argument("--sessions", type=int, default=50, help="sessions whose cost is measured (default: 50)")
    parser.add_argument("--step", type=int, default=10, help="sessions added until frames are late (default: 10)")
    parser.add_argument("--no-hand-over", action="store_true", help="sessions are not written down")
    parser.add_argument("--most", type=int, default=150, help="sessions to stop at (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--no-stock", action="store_true", help="leave stock aiortc out")
    parser.add_argument("--no-floor", action="store_true", help="leave the C chain out")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="run everything before what else this machine does (SCHED_RR, needs root): no delays of neighbours",
    )
    parser.add_argument("--verbose", action="store_true", help="say on stderr when a round is done")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    for name in ("rounds", "sessions", "step"):
        if (value := vars(args)[name]) < 1:
            raise UsageError(f"--{name} {value}: at least 1")
    found = measure(args)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            if name != "spread":
                print(f"{name:>32}: {value}")
    return 0
