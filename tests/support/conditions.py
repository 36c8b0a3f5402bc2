"""Waiting for conditions, never for time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

POLL = 0.01


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Return as soon as `condition()` is true; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions of other processes raise no event here
            await asyncio.sleep(POLL)


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    """The same for tests without a loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(POLL)
