"""Spans in a storm: a transceiver that makes 1,000 a second beside its calls, and whether frames come late.

Three phases, each with a stack of its own in which `--calls` callers listen to an agent that talks without end: traces
off; a receiver that takes spans; one that takes requests and never answers, so that spans must be dropped. Per phase:

- `late_ms`: the highest p50 and p99 of the transceiver's own lateness, asked each second.
- `made`, `received`, `dropped`: spans. What is neither received nor dropped waits in the queue, which is bounded.

Fails if a p99 is above one frame (20 ms), or if spans are missing that nothing counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import nats.errors

from antiphon.bench.calls.otlp_sink import OtlpSink, otlp_sink
from antiphon.bench.calls.own_stack import OwnStack, own_stack
from antiphon.bench.calls.talking_agent import TALKER
from antiphon.cli.call.webrtc_client import Peer
from antiphon.cli.errors import UsageError
from antiphon.runtime.nats import connection

FRAME_MS: Final = 20.0
MODULE: Final = "antiphon.bench.calls.transceiver_with_spans"
WAITING: Final = 8192
"""Spans that may be on their way: in the queue, in a batch that is sent, and of the time between both questions."""
PHASES: Final = ("off", "taken", "stalled")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=1000, help="spans a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a phase (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=6, help="calls at once (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.rate < 1 or args.calls < 1 or args.seconds < 3:
        raise UsageError("--rate and --calls are at least 1, --seconds at least 3")
    result = {phase: _phase(args, phase) for phase in PHASES}
    if args.json:
        print(json.dumps(result))
    else:
        for phase, figures in result.items():
            print(f"{phase:>8}: {figures}")
    return 0 if all(_is_good(phase, figures) for phase, figures in result.items()) else 1


def _is_good(phase: str, figures: dict[str, Any]) -> bool:
    in_time = bool(figures["late_ms"]["p99"] <= FRAME_MS)
    if phase == "off":
        return in_time
    counted = 0 <= figures["made"] - figures["received"] - figures["dropped"] <= WAITING
    return in_time and counted and bool(figures["received"] if phase == "taken" else figures["dropped"])


def _phase(args: argparse.Namespace, phase: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as open_until_the_end:
        sink = open_until_the_end.enter_context(otlp_sink(stall=phase == "stalled")) if phase != "off" else None
        settings = sink.traces if sink else {}
        stack = open_until_the_end.enter_context(own_stack(Path(directory), settings=settings))
        file = Path(directory, "spans")
        stack.relay()
        stack.transceiver(MODULE, SPANS_A_SECOND=str(args.rate), SPANS_FILE=str(file))
        stack.signaling()
        stack.agent()
        stack.until_healthy()
        late = asyncio.run(_calls(args, stack))
        return {"late_ms": late, **_spans(file, sink)}


def _spans(file: Path, sink: OtlpSink | None) -> dict[str, int]:
    if sink is None:
        return {}
    received = sink.spans()  # first: it may only be less than what was made until later
    figures: dict[str, int] = json.loads(file.read_text())
    return {"made": figures["made"], "received": min(received, figures["made"]), "dropped": figures["dropped"]}


async def _calls(args: argparse.Namespace, stack: OwnStack) -> dict[str, float]:
    peers = [Peer(lambda frame: None, lambda text: None) for _ in range(args.calls)]
    client = await connection.connect(stack.nats_url, "bench")
    worst = {"p50": 0.0, "p99": 0.0}
    try:
        for peer in peers:
            await peer.connect(stack.url, TALKER)
        loop = asyncio.get_running_loop()
        until = loop.time() + args.seconds
        while loop.time() < until:
            await asyncio.sleep(1)
            with contextlib.suppress(nats.errors.TimeoutError):
                answer = await client.request("$SRV.STATS.antiphon-transceiver", b"", timeout=1)
                now = json.loads(answer.data)["endpoints"][0]["data"]["lateness_ms"]
                worst = {name: max(value, now[name]) for name, value in worst.items()}
    finally:
        for peer in peers:
            await peer.close()
        await client.close()
    return worst
