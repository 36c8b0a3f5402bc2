"""Asks one instance on NATS and gives out the parts of its answer, until the end or `AnswerEndedError`.

Whoever stops reading ends the subscription. Then NATS tells the instance, at its next part or sign of life, that nobody
receives it: status 503 on the reply subject of that part. So an interruption stops the instance within half a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.inference_bridge.replies.reader import MAX_WAITING_BYTES, AnswerEndedError, AnswerReader, TimeLimits, Why
from antiphon.runtime import telemetry
from antiphon.schemas import messages

_SLICE_SECONDS = 0.002
"""Time after which other tasks get the event loop, while parts are there already."""
_MAX_PENDING = 8192
"""Parts that wait in the subscription until they are read, which is at once."""


async def answer_of(
    client: Client, subject: str, request: bytes, inbox: str, limits: TimeLimits, again: bool = False
) -> AsyncGenerator[messages.AnyReplyPart, None]:
    """The parts of one instance's answer in order, without signs of life; the last one is its `ReplyEnd`.

    `inbox`: a subject that the instance may publish on, and that nobody can guess. `again`: another instance was asked
    before. The consumer may close it early.
    """
    async with contextlib.aclosing(_Asked(client, inbox, limits, again).parts(subject, request)) as parts:
        async for part in parts:
            yield part


class _Asked:
    """One question that is with an instance. Owned by `answer_of`, for as long as that; used on the event loop."""

    def __init__(self, client: Client, inbox: str, limits: TimeLimits, again: bool) -> None:
        self._client, self._inbox = client, inbox
        self._reader = AnswerReader(limits, time.monotonic(), again)
        self._came = asyncio.Event()
        self._breathed = time.monotonic()
        self._over: asyncio.Task[None] | None = None

    async def parts(self, subject: str, request: bytes) -> AsyncGenerator[messages.AnyReplyPart, None]:
        reader = self._reader
        try:
            self._subscription = await self._client.subscribe(
                self._inbox,
                cb=self._on_part,
                pending_msgs_limit=_MAX_PENDING,
                pending_bytes_limit=2 * MAX_WAITING_BYTES,
            )
        except nats.errors.Error as error:
            raise AnswerEndedError(Why.GONE, f"NATS: {error}") from None
        try:
            headers = telemetry.trace_headers() or None
            await self._client.publish(subject, request, reply=self._inbox, headers=headers)
            while True:
                if (part := reader.take()) is None:
                    await self._wait()
                else:
                    yield part
                    if isinstance(part, messages.ReplyEnd):
                        return
        except nats.errors.Error as error:
            raise AnswerEndedError(Why.GONE, f"NATS: {error}") from None
        finally:
            await self._close()

    async def _wait(self) -> None:
        reader = self._reader
        self._came.clear()
        reader.wait(time.monotonic())
        while not reader.has_part:
            try:
                async with asyncio.timeout(max(0.0, reader.due - time.monotonic())):
                    await self._came.wait()
            except TimeoutError:
                reader.expire(time.monotonic())
        reader.waited(time.monotonic())

    async def _on_part(self, message: Msg) -> None:
        now = time.monotonic()
        if now - self._breathed > _SLICE_SECONDS:
            await asyncio.sleep(0)
            self._breathed = now = time.monotonic()
        reader = self._reader
        if message.headers and message.headers.get("Status") == "503":
            reader.undelivered()
        else:
            reader.receive(message.data, now)
        if reader.is_over and self._over is None:  # at once: what still comes would cost all calls of this process
            self._over = asyncio.create_task(self._unsubscribe())
        if reader.has_part:
            self._came.set()

    async def _unsubscribe(self) -> None:
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._subscription.unsubscribe()

    async def _close(self) -> None:
        if self._over is None:
            await self._unsubscribe()
        elif not self._over.done():
            await asyncio.wait([self._over])
