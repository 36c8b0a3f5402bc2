"""One instance of a text agent on NATS: announces itself, answers bridges by streams, stops when nobody listens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final, Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from opentelemetry.trace import SpanKind

from antiphon.agent.watchdog import Watchdog
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.agent_sessions.keeper import new_instance
from antiphon.runtime.metrics import MetricsService
from antiphon.runtime.metrics.health import serving
from antiphon.runtime.metrics.settings import MetricsSettings
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import (
    AnyReplyPart,
    ReplyAlive,
    ReplyEnd,
    ReplyError,
    ReplyRequest,
    TextAgentAnnouncement,
)
from antiphon.schemas.messages.replies import ALIVE_SECONDS, ANNOUNCE_SECONDS

log = logging.getLogger("antiphon.agent")

STOP_SECONDS: Final = 5.0
"""For the answers under way at an orderly stop; then they are another instance's."""
OLD_SECONDS: Final = 1.0
"""Age of a request from which on it is asked first whether anybody still waits: this process may have stood still."""
_ANNOUNCE_GAP: Final = 0.1
"""Between two announcements, however fast the load changes."""
_MAX_ENDED: Final = 64
"""Hooks of ended calls at once; more are left out."""


class Answers(Protocol):
    """The agent that this is an instance of."""

    name: str
    capacity: int

    def answer(self, request: ReplyRequest) -> AsyncGenerator[AnyReplyPart, None]:
        """The parts of one answer."""

    def announcement(self, instance: str, answering: int = 0, leaving: bool = False) -> TextAgentAnnouncement:
        """What bridges are told."""


class Instance:
    """Owned by the agent, from `start` to `stop`. nats-py calls its callbacks on the event loop."""

    def __init__(self, client: Client, agent: Answers, shown: MetricsSettings, blocked_seconds: float) -> None:
        """`shown`: where metrics are."""
        self._client, self._agent = client, agent
        self._name = new_instance()[-64:]
        self._inbox = client.new_inbox()
        """Where NATS reports that a part had no receiver."""
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._ended_calls: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        self._ended: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._leaving = False
        self._requests: Subscription | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._watchdog = Watchdog(blocked_seconds)
        self._service = MetricsService("agent", shown, name=agent.name)
        self._metrics = self._service.metrics
        self._metrics.gauge("antiphon_reply_active", lambda: len(self._jobs))
        self._metrics.gauge("antiphon_reply_capacity", lambda: 0 if self._leaving else agent.capacity)
        self._metrics.gauge("antiphon_process_draining", lambda: int(self._leaving))

    def figures(self) -> dict[str, Any]:
        """Answers under way, capacity, how many have ended and how."""
        return {"answering": len(self._jobs), "capacity": self._agent.capacity, **self._ended}

    async def start(self) -> None:
        """Answer from now on; `RefusedError` if the credential is not that of this agent."""
        await self._service.start(lambda: self._client)
        self._watchdog.start()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_undelivered)
        name = self._agent.name
        self._requests = await self._client.subscribe(subjects.agent_reply(name), queue=name, cb=self._on_request)
        await connection.require_allowed(self._client)
        self._announcing = asyncio.create_task(self._announce())
        self._service.started(lambda: serving(self._leaving, self._client.is_connected))

    async def stop(self) -> None:
        """Say that it leaves, finish what is under way for `STOP_SECONDS`, and leave the rest to other instances."""
        self._leaving = True
        if self._announcing is not None:
            await tasks.end(self._announcing)
            await self._say_that_we_are_here()
        if self._requests is not None:
            await connection.stop_answering(self._client, self._requests)
        under_way = {*self._jobs.values(), *self._ended_calls}
        if under_way:
            await asyncio.wait(under_way, timeout=STOP_SECONDS)
            for each in under_way:
                each.cancel()
            await asyncio.wait(under_way, timeout=STOP_SECONDS)
        self._watchdog.stop()
        await self._service.close()

    # ---- announcements

    async def _announce(self) -> None:
        while True:
            self._changed.clear()
            await self._say_that_we_are_here()
            await asyncio.sleep(_ANNOUNCE_GAP)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANNOUNCE_SECONDS - _ANNOUNCE_GAP):
                    await self._changed.wait()

    async def _say_that_we_are_here(self) -> None:
        said = self._agent.announcement(self._name, len(self._jobs), self._leaving)
        with contextlib.suppress(*BUS_ERRORS):
            await self._client.publish(subjects.agent_announce(self._agent.name), messages.encode(said))
            if self._leaving:
                async with asyncio.timeout(1):
                    await connection.flush(self._client)

    # ---- requests

    async def _on_undelivered(self, message: Msg) -> None:
        """The caller has interrupted, or the bridge has died: no bridge receives the rest of this answer."""
        if (message.headers or {}).get("Status") == "503" and (job := self._jobs.get(message.subject)):
            job.cancel()

    async def _on_request(self, message: Msg) -> None:
        try:
            request = messages.decode(message.data, ReplyRequest)
            if request.agent not in ("", self._agent.name):
                raise MalformedError(f"the request is for agent {request.agent:.64}: this is {self._agent.name}")
        except MalformedError as error:
            log.warning("a request can't be read: %s", error)
            await self._refuse(message, ReplyError(message=str(error)[:500]))
            return
        if not message.reply:
            if request.event == "call_ended" and len(self._ended_calls) < _MAX_ENDED:
                hook = asyncio.create_task(self._call_ended(request, message))
                self._ended_calls.add(hook)
                hook.add_done_callback(self._ended_calls.discard)
            return
        if self._leaving or len(self._jobs) >= self._agent.capacity:
            self._count("busy")
            what = "is about to stop" if self._leaving else f"makes {len(self._jobs)} answers, its capacity"
            await self._refuse(message, ReplyError(message=f"this instance {what}", busy=True))
            return
        name = f"{self._inbox}.{next(self._numbers)}"
        job = self._jobs[name] = asyncio.create_task(self._job(message, name, request), name=request.call_id)
        job.add_done_callback(lambda _: self._done(name))
        self._changed.set()

    async def _refuse(self, message: Msg, error: ReplyError) -> None:
        if message.reply:
            with contextlib.suppress(*BUS_ERRORS):
                await self._client.publish(message.reply, messages.encode(error))

    def _done(self, name: str) -> None:
        self._jobs.pop(name, None)
        self._changed.set()

    def _count(self, end: str) -> None:
        self._ended[end] += 1
        self._metrics.add("antiphon_reply_ended_total", end=end)

    async def _call_ended(self, request: ReplyRequest, message: Msg) -> None:
        with self._span(request, message):
            async with aclosing(self._agent.answer(request)) as parts:
                async for _ in parts:
                    pass

    def _span(self, request: ReplyRequest, message: Msg) -> contextlib.AbstractContextManager[object]:
        context = spans.of_call(request.call_id, telemetry.trace_context(message.headers))
        attributes = {names.AGENT_NAME: self._agent.name, names.OPERATION: names.INVOKE_AGENT, names.OWNED_BY: "agent"}
        return spans.current(names.REPLY, context, kind=SpanKind.SERVER, attributes=attributes)

    # ---- one answer

    async def _job(self, message: Msg, name: str, request: ReplyRequest) -> None:
        began = time.monotonic()
        end = "cancelled"
        try:
            with self._span(request, message):
                end = await self._stream(message.reply, name, request, began)
        except asyncio.CancelledError:
            if self._leaving:
                await self._refuse(message, ReplyError(message="this instance stops", busy=True))
            raise
        except BUS_ERRORS as error:
            log.warning("%s: an answer could not be sent: %s", request.call_id, error or type(error).__name__)
        except Exception as error:
            end = "failed"
            log.exception("%s: an answer could not be sent", request.call_id)
            await self._refuse(message, ReplyError(message=type(error).__name__))
        finally:
            self._count(end)

    async def _stream(self, to: str, name: str, request: ReplyRequest, began: float) -> str:
        """Send all parts; how the answer has ended. Cancelled when nobody receives them."""
        last_sent = began

        async def send(part: AnyReplyPart) -> None:
            nonlocal last_sent
            last_sent = time.monotonic()
            await self._client.publish(to, messages.encode(part), reply=name)

        async def live() -> None:
            while True:
                await asyncio.sleep(ALIVE_SECONDS - (time.monotonic() - last_sent))
                if time.monotonic() - last_sent >= ALIVE_SECONDS:
                    with contextlib.suppress(*BUS_ERRORS):
                        await send(ReplyAlive())

        await send(ReplyAlive())  # taken; and NATS tells at once if nobody waits any more
        if _is_old(request):
            await connection.flush(self._client)
        living = asyncio.create_task(live())
        first, end = True, "failed"
        try:
            async with aclosing(self._agent.answer(request)) as parts:
                async for part in parts:
                    await send(part)
                    if first:
                        first = False
                        self._metrics.observe("antiphon_reply_first_seconds", time.monotonic() - began)
                    end = "said" if isinstance(part, ReplyEnd) else end
        finally:
            await tasks.end(living)
        return end


def _is_old(request: ReplyRequest) -> bool:
    """Whether the request may have waited for this process; also where the clocks of two machines differ."""
    try:
        age = time.time() - datetime.fromisoformat(request.now).timestamp()
    except (ValueError, OverflowError, OSError):
        return True
    return not -OLD_SECONDS < age < OLD_SECONDS
