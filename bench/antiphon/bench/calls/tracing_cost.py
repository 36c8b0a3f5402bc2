"""What traces cost: CPU time of all services with tracing on, as a share of that with it off, in conversations.

Two stacks of its own, which differ by one variable: where traces go. In each round `--calls` callers hold a
conversation with the bridge of the one, then of the other, in turns (off on, on off, ...), so that what drifts strikes
both. CPU time is that of relay, transceiver, signaling and bridge with all their processes, by the kernel; not that of
clients, NATS and the receiver of the traces. The result is the median of the paired ratios, and an interval for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from antiphon.bench._lib.proc import stolen_seconds
from antiphon.bench._lib.statistics import median, median_interval, spread
from antiphon.bench.calls.conversation import SPOKEN
from antiphon.bench.calls.otlp_sink import otlp_sink
from antiphon.bench.calls.own_stack import OwnStack, own_stack
from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.voice import say
from antiphon.cli.call.wav import Samples
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import CallError, UsageError

AGENT: Final = "concierge"
MOST: Final = 1.05
"""Of the ratio, that the project allows itself."""
SETTLES: Final = 2.0
"""Seconds behind a round until spans are sent and calls have ended: they belong to it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=10, help="pairs of rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a round (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=6, help="conversations at once (default: %(default)s)")
    parser.add_argument(
        "--turns", type=float, default=10.0, help="of a conversation in a minute (default: %(default)s)"
    )
    parser.add_argument("--most", type=float, default=MOST, help="fail above this ratio (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.rounds < 1 or args.calls < 1 or args.turns <= 0 or args.seconds < 60 / args.turns:
        raise UsageError("--rounds and --calls are at least 1, and --seconds is time for one turn at least")
    questions = say(list(SPOKEN), RATE)
    with tempfile.TemporaryDirectory() as off, tempfile.TemporaryDirectory() as on, ExitStack() as open_until_the_end:
        sink = open_until_the_end.enter_context(otlp_sink())
        stacks = {
            "off": open_until_the_end.enter_context(own_stack(Path(off))),
            "on": open_until_the_end.enter_context(own_stack(Path(on), settings=sink.traces)),
        }
        for stack in stacks.values():
            stack.relay()
            stack.transceiver()
            stack.signaling(default_agent=AGENT)
            stack.bridge()
        for stack in stacks.values():
            stack.until_healthy()
            _round(args, stack, questions, 60 / args.turns)  # what is loaded with the first turn
        before = sink.spans()
        rounds = [_pair(args, stacks, questions, number) for number in range(args.rounds)]
        spans = sink.spans() - before
    result = _result(rounds, spans)
    if args.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>12}: {value}")
    good = result["ratio"] <= args.most and result["unanswered_share"] <= 0.05 and spans > 0
    return 0 if good else 1


def _pair(
    args: argparse.Namespace, stacks: dict[str, OwnStack], questions: list[Samples], number: int
) -> dict[str, Any]:
    names = ("off", "on") if number % 2 == 0 else ("on", "off")
    return {name: _round(args, stacks[name], questions, args.seconds) for name in names}


def _round(args: argparse.Namespace, stack: OwnStack, questions: list[Samples], seconds: float) -> dict[str, Any]:
    """CPU seconds of the services, answered and asked turns, seconds that the host stole."""
    before, stolen = stack.cpu_seconds(), stolen_seconds()
    turns = asyncio.run(_conversations(args, stack.url, questions, seconds))
    time.sleep(SETTLES)
    after = stack.cpu_seconds()
    return {
        "cpu": round(sum(after[pid] - before[pid] for pid in after), 3),
        "answered": sum(turns),
        "asked": len(turns),
        "stolen": round(stolen_seconds() - stolen, 2),
    }


async def _conversations(args: argparse.Namespace, url: str, questions: list[Samples], seconds: float) -> list[bool]:
    every = 60 / args.turns
    callers = [
        _conversation(url, questions, number, number * every / args.calls, every, seconds)
        for number in range(args.calls)
    ]
    return [answered for turns in await asyncio.gather(*callers) for answered in turns]


async def _conversation(
    url: str, questions: list[Samples], number: int, delay: float, every: float, seconds: float
) -> list[bool]:
    """Ask each `every` seconds; whether each question was answered by sound before the next."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(delay)
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    turns = []
    try:
        await peer.connect(url, AGENT)
        for turn in range(max(1, int(seconds / every))):
            await asyncio.sleep(max(0.0, began + delay + turn * every - loop.time()))
            question = questions[(number + turn) % len(questions)]
            peer.speak(question.tobytes())
            asked = loop.time() + len(question) / RATE
            await asyncio.sleep(max(0.0, began + delay + (turn + 1) * every - loop.time() - 0.05))
            turns.append(listener.audible_since(asked) is not None)
            listener.frames.clear()
    except CallError:
        turns.append(False)
    finally:
        await peer.close()
    return turns


def _result(rounds: list[dict[str, Any]], spans: int) -> dict[str, Any]:
    ratios = [each["on"]["cpu"] / each["off"]["cpu"] for each in rounds]
    least, most, confidence = median_interval(ratios)
    halves = [half for each in rounds for half in each.values()]
    asked = sum(half["asked"] for half in halves)
    return {
        "ratio": median(ratios, 4),
        "interval": [round(least, 4), round(most, 4)],
        "confidence": round(confidence, 3),
        "ratios": [round(each, 4) for each in ratios],
        "cpu_off_s": spread([each["off"]["cpu"] for each in rounds]),
        "cpu_on_s": spread([each["on"]["cpu"] for each in rounds]),
        "spans": spans,
        "turns": asked,
        "unanswered_share": round(1 - sum(half["answered"] for half in halves) / asked, 4),
        "stolen_s": round(sum(half["stolen"] for half in halves), 2),
        "rounds": rounds,
    }
