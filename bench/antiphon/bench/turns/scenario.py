"""What a test of an agent costs: 20 turns of a text agent in virtual time, tools included."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator

from antiphon.agent import Action, CallTool, TextAgent, Turn
from antiphon.agent.testing import Conversation, VirtualClockLoop
from antiphon.bench._lib.statistics import median


def _agent() -> TextAgent:
    agent = TextAgent("desk", greeting="Front desk, good morning.")

    @agent.tool
    async def book(day: str, people: int = 2) -> str:
        """Book a table."""
        await asyncio.sleep(1)
        return f"booked for {people} on {day}"

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        if turn.messages[-1]["role"] == "tool":
            yield f"That is {turn.messages[-1]['content']}."
        elif "book" in turn.text:
            yield "One moment. "
            yield CallTool("book", {"day": "Monday", "people": 3})
        else:
            for word in f"You said: {turn.text}, and I have heard it.".split():
                yield f"{word} "

    return agent


async def _twenty_turns() -> float:
    call = Conversation(_agent())
    await call.start()
    began = time.perf_counter()
    for number in range(20):
        await call.say(f"please book table {number}" if number % 5 == 0 else f"this is sentence number {number}")
    return (time.perf_counter() - began) * 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How often."""
    parser.add_argument("--rounds", type=int, default=9, help="of 20 turns each (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(args: argparse.Namespace) -> int:
    took = []
    for _ in range(max(1, args.rounds)):
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            took.append(runner.run(_twenty_turns()))
    middle, least, most = (round(each, 1) for each in (median(took), min(took), max(took)))
    if args.json:
        print(json.dumps({"turns": 20, "median_ms": middle, "least_ms": least, "most_ms": most}))
    else:
        print(f"20 turns: {middle} ms ({least} to {most})")
    return 0
