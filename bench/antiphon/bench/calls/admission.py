"""What becomes of many callers who come at once: how many are taken, how soon they connect and get their answers.

All processes are real and on loopback: NATS, relay, one transceiver, signaling, the inference bridge with its models,
an agent that echoes. All callers of a row place their calls in the same moment; each of those who are taken asks a
question within the first seconds of its call (`--spread`). The clients run on the same processors. An answer's time is
from the end of the question to its first sound; the connection's from the offer to the end of the handshake.
docs/operations.md has the numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from antiphon.bench._lib.statistics import percentiles
from antiphon.bench.calls.echo_agent import ECHO
from antiphon.bench.calls.own_stack import OwnStack, own_stack
from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.voice import say
from antiphon.cli.call.wav import Samples, last_voiced
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import CallError, RefusedCallError

QUESTION: Final = "What time is it?"
BRIDGE: Final = "concierge"
PERCENTS: Final = (50, 95, 100)
PATIENCE: Final = 15.0
"""Seconds for a connection, and for an answer."""
SETTLE: Final = 0.5
"""Seconds from the connection to the question: its audio is on its way by then."""
SEED: Final = 7
WARM_UP: Final = 2
"""Calls before the first row."""


class Outcome:
    """What became of one caller. Made and filled by `caller`."""

    def __init__(self) -> None:
        self.refused = self.retry_after = 0
        """Status of the refusal and its `Retry-After`; 0: none."""
        self.refused_ms = 0.0
        self.error = self.reason = ""
        self.connect_ms: float | None = None
        self.answer_ms: float | None = None


async def caller(url: str, agent: str, question: Samples, pause: float) -> Outcome:
    """Call, ask, wait for the first sound of the answer, hang up."""
    loop = asyncio.get_running_loop()
    outcome, listener = Outcome(), Listener()
    peer = Peer(listener.audio, listener.message)
    began = loop.time()
    try:
        await peer.connect(url, agent, timeout=PATIENCE)
        outcome.connect_ms = peer.setup_ms
        await asyncio.sleep(SETTLE + pause)
        spoken_until = loop.time() + last_voiced(question) / RATE
        # An echo comes while its caller speaks: its first sound answers the question's first.
        since = loop.time() + first_voiced(question) / RATE if agent == ECHO else spoken_until
        peer.speak(question.tobytes())
        while (at := listener.audible_since(since)) is None and not peer.closed.is_set():
            if loop.time() > spoken_until + PATIENCE:
                break
            await asyncio.sleep(0.05)
        if at is None:
            outcome.error = "no answer"
        else:
            outcome.answer_ms = (at - since) * 1000
    except RefusedCallError as error:
        outcome.refused, outcome.retry_after = error.status, error.retry_after
        outcome.reason = re.sub(r"[0-9.]+", "N", str(error).partition(": ")[2])
        outcome.refused_ms = (loop.time() - began) * 1000
    except CallError as error:
        outcome.error = str(error)
    finally:
        await peer.close()
    return outcome


def first_voiced(samples: Samples) -> int:
    """The first sample that a `Listener` takes for sound."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 0.01 * 32768)
    return int(loud[0]) if loud.size else 0


async def row(url: str, agent: str, callers: int, question: Samples, spread: float) -> dict[str, Any]:
    """So many callers at once."""
    chance = random.Random(SEED)
    pauses = [chance.uniform(0, spread) for _ in range(callers)]
    found = await asyncio.gather(*(caller(url, agent, question, pause) for pause in pauses))
    refused = [each for each in found if each.refused]
    failed = Counter(each.error for each in found if each.error)
    return {
        "callers": callers,
        "taken": callers - len(refused),
        "refused_with_retry_after": sum(each.refused == 503 and each.retry_after > 0 for each in refused),
        "refused_otherwise": sum(each.refused != 503 or each.retry_after <= 0 for each in refused),
        "reasons": dict(Counter(each.reason for each in refused)),
        "failed": dict(failed),
        "refused_ms": percentiles([each.refused_ms for each in refused], PERCENTS, 0),
        "connect_ms": percentiles([each.connect_ms for each in found if each.connect_ms is not None], PERCENTS, 0),
        "answer_ms": percentiles([each.answer_ms for each in found if each.answer_ms is not None], PERCENTS, 0),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--conversations", type=int, nargs="*", default=(20, 40), help="rows with the bridge (20 40)")
    parser.add_argument("--echo", type=int, nargs="*", default=(100,), help="rows with an echo (100)")
    parser.add_argument("--max-wait", type=float, help="ANTIPHON_BRIDGE_MAX_WAIT (the bridge's own)")
    parser.add_argument("--spread", type=float, default=2.0, help="seconds in which questions begin (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    rows: dict[str, list[dict[str, Any]]] = {"conversations": [], "echo": []}
    question = say([QUESTION], RATE)[0]
    with tempfile.TemporaryDirectory() as directory:
        for kind, counts in (("conversations", args.conversations), ("echo", args.echo)):
            for callers in counts:  # each with a stack that has measured nothing yet
                with own_stack(Path(directory)) as stack:
                    found = _row(stack, kind, callers, question, args)
                rows[kind].append(found)
                if not args.json:
                    print(kind, *(f"\n  {name:26} {value}" for name, value in found.items()))
    if args.json:
        print(json.dumps({"admission": rows}))
    return 0


def _row(stack: OwnStack, kind: str, callers: int, question: Samples, args: argparse.Namespace) -> dict[str, Any]:
    agent = BRIDGE if kind == "conversations" else ECHO
    for start in (stack.relay, stack.own_limits_transceiver, lambda: stack.signaling(agent)):
        start()
    if kind == "conversations":
        stack.bridge(**({} if args.max_wait is None else {"ANTIPHON_BRIDGE_MAX_WAIT": str(args.max_wait)}))
    else:
        stack.echo()
    stack.until_healthy()
    asyncio.run(row(stack.url, agent, WARM_UP, question, 0.0))
    return asyncio.run(row(stack.url, agent, callers, question, args.spread))
