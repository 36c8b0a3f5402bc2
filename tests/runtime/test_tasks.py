"""Tasks end, whatever they do with their cancellation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from antiphon.runtime import tasks

pytestmark = pytest.mark.virtual


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    began = asyncio.Event()

    async def loses_one() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            began.set()
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(loses_one())
    await began.wait()
    await tasks.end(task)
    assert task.cancelled()


async def test_what_an_ending_task_raises_is_dropped() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("too late")

    failing = asyncio.create_task(fails())
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await tasks.end(failing, done)
    assert failing.done()
    assert done.done()
    assert not done.cancelled()
