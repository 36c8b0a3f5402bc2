"""Conversations with a running stack: setup time, and end of speech to first answering audio."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Final

from antiphon.bench._lib.statistics import percentiles
from antiphon.cli.call.command import converse
from antiphon.cli.call.voice import say
from antiphon.cli.call.wav import Samples, read_wav
from antiphon.cli.call.webrtc_client import RATE
from antiphon.cli.errors import UsageError

DEFAULT_URL: Final = "http://127.0.0.1:8080"
SHOWN: Final = (50, 95, 0, 100)
"""Percentiles; the last two are least and most."""
QUESTIONS: Final = (
    "What time is it?",
    "I would like to book an appointment for tomorrow at half past ten.",
    "Do I have any appointments?",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "wav",
        type=Path,
        nargs="*",
        help="recorded questions, one call each (default: three, spoken by the built-in voice)",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="times that each question is asked (default: %(default)s)"
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="the running stack (default: %(default)s)")
    parser.add_argument("--agent", help="which agent to talk to (default: the server's)")
    parser.add_argument("--key", default=os.environ.get("ANTIPHON_API_KEY"), help="API key (or ANTIPHON_API_KEY)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.rounds < 1:
        raise UsageError(f"--rounds {args.rounds}: at least 1")
    questions = [read_wav(path, RATE) for path in args.wav] or say(list(QUESTIONS), RATE)
    setup, answer, failed = asyncio.run(_measure(args, questions))
    spreads = {"setup_ms": percentiles(setup, SHOWN), "answer_ms": percentiles(answer, SHOWN)}
    result = {"calls": len(setup) + failed, "failed": failed, **spreads}
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{result['calls']} calls, {failed} failed")
        for name, spread in spreads.items():
            print(f"{name:>10}: " + "  ".join(f"{key} {value}" for key, value in spread.items()))
    return 1 if failed else 0


async def _measure(args: argparse.Namespace, questions: list[Samples]) -> tuple[list[float], list[float], int]:
    setup: list[float] = []
    answer: list[float] = []
    failed = 0
    for _ in range(args.rounds):
        for question in questions:
            result, _ = await converse(args.url, args.agent, args.key, question)
            if result.setup_ms is None or result.answer_ms is None:
                failed += 1
                continue
            setup.append(result.setup_ms)
            answer.append(result.answer_ms)
    return setup, answer, failed
