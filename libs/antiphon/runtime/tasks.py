"""Ending asyncio tasks, also those that lose a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 1.0
"""Seconds that a cancelled task gets for its clean-up before it is cancelled again."""


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; their exceptions are dropped.

    One `cancel` is not enough: `asyncio.wait_for` of Python 3.11, with which nats-py waits in `flush`, `request` and
    others, loses a cancellation that comes in the same iteration of the loop as its result, and the task continues.
    """
    remaining = {task for task in tasks if not task.done()}
    while remaining:
        for task in remaining:
            task.cancel()
        _, remaining = await asyncio.wait(remaining, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
