"""`python -m antiphon.inference_bridge --worker llm`: asks the chat server of its own settings for any bridge.

It registers as a service when the server has answered once. When no bridge receives an answer any more, it cancels the
server's request.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind

from antiphon.inference_bridge.agents import Request
from antiphon.inference_bridge.agents.language_model import LanguageModel, ModelError
from antiphon.inference_bridge.models.remote import wire
from antiphon.inference_bridge.replies.parts import PartWriter
from antiphon.inference_bridge.replies.requests import read_request
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages.replies import ALIVE_SECONDS

log = logging.getLogger(__name__)

_WARM_AGAIN: Final = 1.0


class LanguageModelWorker:
    """Answers the requests of bridges by streams.

    Owned by `worker.run`, for the life of the process. nats-py calls its callbacks on the event loop.
    """

    def __init__(self, client: Client, model: LanguageModel, at_once: int) -> None:
        """`at_once`: answers under way at the same time; a further request gets the error `busy`."""
        self._client, self._model, self._at_once = client, model, at_once
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._numbers = itertools.count()
        self._inbox = client.new_inbox()
        """Where NATS reports that a piece had no receiver."""

    async def warm(self) -> None:
        """Return when the chat server answers."""
        reported = ""
        while True:
            try:
                await self._model.warm_up()
            except ModelError as error:
                if str(error) != reported:
                    log.warning("waiting for the chat server: %s", error)
                reported = str(error)
                await asyncio.sleep(_WARM_AGAIN)
            else:
                return

    async def start(self) -> None:
        """Subscribe: requests may come."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_undelivered)
        await self._client.subscribe(subjects.WORKER_LLM, queue=wire.QUEUE, cb=self._on_request)

    async def close(self) -> None:
        """Cancel the answers under way."""
        await tasks.end(*self._jobs.values())

    async def _on_undelivered(self, message: Msg) -> None:
        """The caller has interrupted, or the bridge has died: no bridge receives the rest of this answer."""
        if (message.headers or {}).get("Status") == "503" and (job := self._jobs.get(message.subject)):
            job.cancel()

    async def _on_request(self, message: Msg) -> None:
        if not message.reply:
            return
        try:
            request = read_request(message.data)
        except MalformedError as error:
            await message.respond(
                messages.encode(messages.ReplyError(message=f"the request can't be read: {error}"[:500]))
            )
            return
        if len(self._jobs) >= self._at_once:
            text = f"{self._at_once} answers are being made already"
            await message.respond(messages.encode(messages.ReplyError(message=text, busy=True)))
        else:
            name = f"{self._inbox}.{next(self._numbers)}"
            work = self._traced(message.headers, self._answer(message.reply, name, request))
            job = self._jobs[name] = asyncio.create_task(work)
            job.add_done_callback(lambda _: self._jobs.pop(name, None))

    async def _traced(self, headers: Mapping[str, str] | None, answer: Coroutine[Any, Any, None]) -> None:
        context, attributes = telemetry.trace_context(headers), {names.OPERATION: names.CHAT}
        with spans.current(f"{names.CHAT} worker", context, kind=SpanKind.SERVER, attributes=attributes):
            await answer

    async def _answer(self, to: str, name: str, request: Request) -> None:
        async def send(part: messages.AnyReplyPart) -> None:
            await self._client.publish(to, messages.encode(part), reply=name)

        async def live() -> None:
            while True:
                await send(messages.ReplyAlive())
                await asyncio.sleep(ALIVE_SECONDS)

        living = asyncio.create_task(live())
        writer = PartWriter()
        try:
            async with aclosing(self._model.stream(request)) as parts:
                async for part in parts:
                    for written in writer.written(part):
                        await send(written)
            await send(writer.end())
        except ModelError as error:
            log.warning("%s", error)
            await send(messages.ReplyError(message=str(error)[:500]))
        except Exception as error:
            log.exception("an answer failed")
            await send(messages.ReplyError(message=type(error).__name__))
        finally:
            await tasks.end(living)
