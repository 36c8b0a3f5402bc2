"""Ending asyncio tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 1.0
"""What a cancelled task may still do in peace before it is cancelled again."""


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; what they raised meanwhile is dropped.

    One `cancel` is not enough: `asyncio.wait_for` of Python 3.11, with which nats-py waits in `flush`, `request` and
    others, loses a cancellation that comes in the same turn of the loop as its result, and the task goes on.
    """
    remaining = {task for task in tasks if not task.done()}
    while remaining:
        for task in remaining:
            task.cancel()
        _, remaining = await asyncio.wait(remaining, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
