"""Waiting for something while the process may be told to stop."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.inference_bridge.unless_stopped import Stopped, unless_stopped

pytestmark = pytest.mark.process


async def test_work_that_is_done_first_gives_its_result_whatever_that_is() -> None:
    async def nothing() -> str | None:
        return None

    assert await unless_stopped(asyncio.Event(), nothing()) is None


async def test_a_stop_cancels_the_work() -> None:
    stop, work = asyncio.Event(), asyncio.ensure_future(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(stop.set)
    with pytest.raises(Stopped):
        await unless_stopped(stop, work)
    await asyncio.sleep(0)
    assert work.cancelled()


async def test_an_error_of_the_work_is_raised() -> None:
    async def fail() -> None:
        raise LookupError("no model")

    with pytest.raises(LookupError):
        await unless_stopped(asyncio.Event(), fail())
