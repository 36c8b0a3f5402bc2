"""Waiting for something, unless the process is told to stop first."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


async def unless(stop: asyncio.Event, work: asyncio.Future[T]) -> T | None:
    """The result of `work`, or None if `stop` is set before there is one."""
    stopping = asyncio.create_task(stop.wait())
    waited: list[asyncio.Future[Any]] = [work, stopping]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if work.done():
        return work.result()
    work.cancel()
    return None
