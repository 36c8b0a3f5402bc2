"""A text agent of a test, which counts to ten slowly.

It writes into the folder NOTES which process answers, and what became of the answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from antiphon.agent import TextAgent, Turn

NOTES = Path(os.environ.get("NOTES", "."))
PAUSE = float(os.environ.get("PAUSE", "0.4"))
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

agent = TextAgent("counter")


@agent.reply
async def reply(turn: Turn) -> AsyncIterator[str]:
    (NOTES / "answering").write_text(str(os.getpid()))
    try:
        for word in WORDS:
            yield f"Here comes the number {word}. "
            await asyncio.sleep(PAUSE)
    except BaseException:
        (NOTES / "cancelled").write_text(turn.text)
        raise
    (NOTES / "ended").write_text(turn.text)


if __name__ == "__main__":
    agent.run()
