"""Waiting for something, unless the process is told to stop first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The process was told to stop before the work was done."""


async def unless_stopped(stop: asyncio.Event, work: Awaitable[T]) -> T:
    """The result of `work`; `Stopped` if `stop` is set before there is one, and `work` is cancelled."""
    doing: asyncio.Future[T] = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    waited: list[asyncio.Future[Any]] = [doing, stopping]
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise Stopped
        return doing.result()
    finally:
        stopping.cancel()
        doing.cancel()
