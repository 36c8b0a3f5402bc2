"""`python -m antiphon.inference_bridge --worker llm`: asks the chat server of its own settings for any bridge.

It announces itself when the server has answered once, and stops asking when nobody listens to an answer any more.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import aclosing
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError

from antiphon.inference_bridge.agents import FunctionCall, Request, Usage
from antiphon.inference_bridge.agents.language_model import LanguageModel, ModelError
from antiphon.inference_bridge.models.remote import wire
from antiphon.inference_bridge.models.remote.language_model import REQUEST
from antiphon.runtime import tasks
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

_WARM_AGAIN: Final = 1.0


class LanguageModelWorker:
    """Answers requests by streams."""

    def __init__(self, client: Client, model: LanguageModel, at_once: int) -> None:
        self._client, self._model, self._at_once = client, model, at_once
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._numbers = itertools.count()
        self._inbox = client.new_inbox()
        """Where NATS says that nobody listens to a piece."""

    async def warm(self) -> None:
        """Return when the server answers."""
        told = ""
        while True:
            try:
                await self._model.warm_up()
            except ModelError as error:
                if str(error) != told:
                    log.warning("waiting for the chat server: %s", error)
                told = str(error)
                await asyncio.sleep(_WARM_AGAIN)
            else:
                return

    async def start(self) -> None:
        await self._client.subscribe(f"{self._inbox}.*", cb=self._unheard)
        await self._client.subscribe(subjects.worker("llm"), queue=wire.QUEUE, cb=self._asked)

    async def close(self) -> None:
        await tasks.end(*self._jobs.values())

    async def _unheard(self, message: Msg) -> None:
        """The caller has interrupted, or the bridge has died: what is still to come is for nobody."""
        if (message.headers or {}).get("Status") == "503" and (job := self._jobs.get(message.subject)):
            job.cancel()

    async def _asked(self, message: Msg) -> None:
        if not message.reply:
            return
        try:
            verb, data = wire.unpack(message.data, str, bytes)[:2]
            request = REQUEST.validate_json(data) if verb == "reply" else None
        except (MalformedError, ValidationError) as error:
            await message.respond(wire.pack("error", f"the request can't be read: {str(error)[:200]}", False))
            return
        if request is None:
            await message.respond(wire.pack("alive", ""))
        elif len(self._jobs) >= self._at_once:
            await message.respond(wire.pack("error", f"{self._at_once} answers are being made already", True))
        else:
            name = f"{self._inbox}.{next(self._numbers)}"
            job = self._jobs[name] = asyncio.create_task(self._answer(message.reply, name, request))
            job.add_done_callback(lambda _: self._jobs.pop(name, None))

    async def _answer(self, to: str, name: str, request: Request) -> None:
        async def say(*fields: object) -> None:
            await self._client.publish(to, wire.pack(*fields), reply=name)

        async def live() -> None:
            while True:
                await say("alive", "")
                await asyncio.sleep(wire.ALIVE_SECONDS)

        living = asyncio.create_task(live())
        numbers = itertools.count()
        try:
            async with aclosing(self._model.stream(request)) as parts:
                async for part in parts:
                    match part:
                        case str():
                            await say("text", part, next(numbers))
                        case FunctionCall(call_id, function, arguments):
                            await say("call", call_id, function, arguments)
                        case Usage(taken, given):
                            await say("usage", taken, given)
                        case _:
                            log.debug("a part of an answer that no worker sends: %r", part)
            await say("end", "")
        except ModelError as error:
            log.warning("%s", error)
            await say("error", str(error)[:500], False)
        except Exception as error:
            log.exception("an answer failed")
            await say("error", type(error).__name__, False)
        finally:
            await tasks.end(living)
