"""How many packets per second a relay forwards on one core, against a compiled loop and the portable one.

The forwarder has a core of its own, the load another one. In every round each of them is measured in turn, so
that what the machine does besides hits all alike: compare ratios within one run. Load comes in batches that are
prepared beforehand; `load` says how, `forward.c` is the compiled loop.

All peaks are at saturation: more is offered than is forwarded. `loss_free_pps` is the most of which nothing is
lost for half a second. `overload_ratio` is what is forwarded of `overload_offered` times its own peak,
over that peak. The relay's budget per caller is on: with fewer than some 3000 flows the load is beyond it, and
`over_budget` of the result is not 0. `--flood` sends forged binding requests while 100 calls run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

from antiphon.bench._lib.processes import nats_server
from antiphon.bench._lib.statistics import median, relative_spread
from antiphon.bench.relay import two_hops
from antiphon.bench.relay.ends import DELAY_PPS, FlowEnds
from antiphon.bench.relay.flood import flood as flooded
from antiphon.bench.relay.load import BATCH
from antiphon.bench.relay.relays_under_test import PAYLOAD, RelayUnderTest, compiled_loop, relay, two_cores
from antiphon.cli.errors import UsageError
from antiphon.runtime.nats import connection

DIRECTIONS: Final = ("up", "down", "both")


def _peaks(ends: FlowEnds, forwarders: list[RelayUnderTest], rounds: int) -> dict[str, Any]:
    """Per direction, every relay under test in turn."""
    out: dict[str, Any] = {}
    for direction in DIRECTIONS:
        found: dict[str, list[tuple[float, float, float, float]]] = {forwarder.name: [] for forwarder in forwarders}
        for forwarder in forwarders:
            ends.renew_flows(forwarder)
        for number in range(rounds):
            for forwarder in forwarders if number % 2 == 0 else forwarders[::-1]:
                found[forwarder.name].append(ends.peak(forwarder, direction))
        pps = {name: [each[0] for each in values] for name, values in found.items()}
        ratios = [batched / c for batched, c in zip(pps["batched"], pps.get("c", []), strict=False) if c]
        costs = [
            (c[2] + c[3]) / (batched[2] + batched[3])
            for batched, c in zip(found["batched"], found.get("c", []), strict=False)
        ]
        out[direction] = {
            "pps": median(pps["batched"]),
            "spread": relative_spread(pps["batched"]),
            "reference_c_pps": median(pps["c"]) if "c" in pps else None,
            "portable_pps": median(pps["portable"]),
            "ratio_to_c": median(ratios, 3) if ratios else None,
            "cpu_ratio_to_c": median(costs, 3) if costs else None,
            "offered_pps": median([each[1] for each in found["batched"]]),
            "user_us": median([each[2] for each in found["batched"]], 2),
            "kernel_us": median([each[3] for each in found["batched"]], 2),
        }
    return out


def _measure(
    ends: FlowEnds, forwarders: list[RelayUnderTest], flow_counts: list[int], rounds: int, flood: bool
) -> dict[str, Any]:
    """Everything; runs in a thread that is pinned to the core for the load."""
    os.sched_setaffinity(0, {two_cores()[1]})
    batched = next(forwarder for forwarder in forwarders if forwarder.name == "batched")
    by_flows: dict[str, Any] = {}
    for flows in flow_counts:
        for forwarder in forwarders:
            ends.make_flows(forwarder, flows)
        by_flows[str(flows)] = _peaks(ends, forwarders, rounds)
    first = by_flows[str(flow_counts[0])]
    peak = first["up"]["pps"]
    for forwarder in forwarders:
        ends.make_flows(forwarder, min(4000, flow_counts[0]))
    ends.make_flows(batched, min(4000, flow_counts[0]))
    loss_free = [ends.loss_free(batched, peak) for _ in range(rounds)]
    overloads = [ends.overload(batched, peak) for _ in range(rounds)]
    added = _added_delays(ends, forwarders, rounds)
    both = first["both"]
    assert batched.statistics is not None
    return {
        "pps": both["pps"],
        "reference_c_pps": both["reference_c_pps"],
        "ratio_to_c": both["ratio_to_c"],
        "portable_pps": both["portable_pps"],
        "spread": both["spread"],
        "loss_free_pps": median(loss_free),
        "overload_ratio": median([forwarded / peak for forwarded, _ in overloads], 3),
        "overload_offered": median([offered / peak for _, offered in overloads], 2),
        "added_us": added["batched"],
        "reference_c_added_us": added.get("c"),
        "user_us": both["user_us"],
        "kernel_us": both["kernel_us"],
        "flows": flow_counts[0],
        "over_budget": batched.statistics().drops.get("over_budget", 0),
        "payload_bytes": len(PAYLOAD),
        "rounds": rounds,
        "by_flows": by_flows,
        **({"flood": flooded(ends, batched, rounds)} if flood else {}),
    }


def _added_delays(ends: FlowEnds, forwarders: list[RelayUnderTest], rounds: int) -> dict[str, dict[str, float]]:
    """By name of the relay under test: what it adds to the delay of loopback in the same round, in us. Median of the
    rounds' p50 and p99, and the least and the most p99; the portable loop is left out."""
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        direct = ends.delays(("", 0), 1.0)
        for forwarder in forwarders if number % 2 == 0 else forwarders[::-1]:
            if forwarder.name == "portable":
                continue
            through = ends.delays(forwarder.tunnel, 1.0)
            if min(len(direct), len(through)) < 2:
                raise UsageError(
                    "no packet came through the relay within a second: is the machine busy with other work?"
                )
            own = found.setdefault(forwarder.name, {"p50": [], "p99": []})
            for name, hundredth in (("p50", 49), ("p99", 98)):
                percentile = [statistics.quantiles(each, n=100)[hundredth] for each in (direct, through)]
                own[name].append(percentile[1] - percentile[0])
    return {
        forwarder: {name: median(values, 1) for name, values in own.items()}
        | {"p99_least": round(min(own["p99"]), 1), "p99_most": round(max(own["p99"]), 1)}
        for forwarder, own in found.items()
    }


async def _run(flow_counts: list[int], rounds: int, seconds: float, flood: bool) -> dict[str, Any]:
    keys = f"A:{secrets.token_hex(16)}"
    core, _ = two_cores()
    with tempfile.TemporaryDirectory() as directory, nats_server(Path(directory)) as url:
        client = await connection.connect(url, "bench-relay")
        ends = FlowEnds(seconds)
        try:
            async with (
                compiled_loop(core) as c,
                relay(client, url, "batched", ends.owner, keys, core) as batched,
                relay(client, url, "portable", ends.owner, keys, core) as portable,
            ):
                forwarders = [forwarder for forwarder in (batched, c, portable) if forwarder is not None]
                found = await asyncio.to_thread(_measure, ends, forwarders, flow_counts, rounds, flood)
        finally:
            ends.close()
            await client.close()
    if flood:
        found |= found.pop("flood")
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--flows", default="4000,10000,100000", help="flow counts (default 4000,10000,100000)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds per number (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round (default 1)")
    parser.add_argument("--flood", action="store_true", help="also shed forged requests while 100 calls run")
    parser.add_argument("--hops", type=int, choices=(1, 2), default=1, help="2: each role of two hops alone")
    loops = ("auto", "batched", "portable")
    parser.add_argument("--path", choices=loops, default="auto", help="packet loop for --hops 2")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    try:
        flow_counts = [int(each) for each in args.flows.split(",")]
        if not all(BATCH <= each <= 131072 for each in flow_counts):
            raise ValueError
    except ValueError:
        raise UsageError(f"--flows {args.flows}: takes numbers from {BATCH} to 131072, with commas between") from None
    if args.hops == 2:
        found = asyncio.run(two_hops.measure(flow_counts[0], args.rounds, args.seconds, args.path))
        print(json.dumps(found) if args.json else two_hops.text(found))
        return 0
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
    if found["reference_c_added_us"]:
        print(f"the C loop adds {found['reference_c_added_us']} us")
    if found["over_budget"]:
        print(f"{found['over_budget']} packets were beyond the budget of their flow: give more --flows")
    print(f"at {found['overload_offered']} times its peak it forwards {found['overload_ratio']} of it")
    if args.flood:
        print(f"{found['forged_pps']:.0f} forged requests/s shed, calls lose {found['call_loss'] * 100:.2f} %")
    return 0
