"""Conversations with a running stack: setup time, and end of speech to first answering audio."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
from pathlib import Path
from typing import Final

from antiphon.cli.call import converse
from antiphon.cli.errors import UsageError
from antiphon.cli.voice import say
from antiphon.cli.wav import Samples, read_wav
from antiphon.cli.webrtc_client import RATE

DEFAULT_URL: Final = "http://127.0.0.1:8080"
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
    result = {
        "calls": len(setup) + failed,
        "failed": failed,
        "setup_ms": _spread(setup),
        "answer_ms": _spread(answer),
    }
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{result['calls']} calls, {failed} failed")
        for name in ("setup_ms", "answer_ms"):
            print(f"{name:>10}: " + "  ".join(f"{key} {value}" for key, value in _spread_of(result, name).items()))
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


def _spread(values: list[float]) -> dict[str, float | None]:
    """Median, 95th percentile, least and most."""
    if not values:
        return {"p50": None, "p95": None, "min": None, "max": None}
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)],
        "min": ordered[0],
        "max": ordered[-1],
    }


def _spread_of(result: dict[str, object], name: str) -> dict[str, object]:
    spread = result[name]
    assert isinstance(spread, dict)
    return spread
