"""An agent whose language model is asked by workers on NATS, which stream the answer.

When a worker is busy, fails, or gives no sign of life, the bridge asks another one. If a part of the answer was spoken
by then, the request says so and the other worker continues after it. When no worker answers, the agent apologises.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from pydantic import TypeAdapter

from antiphon.inference_bridge.agents import FunctionCall, Incomplete, ReplyPart, Request, Retracted, Usage
from antiphon.inference_bridge.agents.chat_answer import MAX_ANSWER
from antiphon.inference_bridge.agents.chat_history import MAX_HISTORY
from antiphon.inference_bridge.agents.language_model import LOAD_SECONDS
from antiphon.inference_bridge.agents.tool_calls import MAX_ARGUMENTS, MAX_CALLS, MAX_NAME
from antiphon.inference_bridge.models.remote import wire
from antiphon.inference_bridge.models.remote.pool import (
    ANSWER_SECONDS,
    ATTEMPTS,
    LLM_TIMEOUT,
    WorkerError,
    pieces_of,
)
from antiphon.inference_bridge.phrases import phrase
from antiphon.runtime.metrics.model_meter import NOT_MEASURED, ModelMeter
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

REQUEST: Final = TypeAdapter(Request)
_BETWEEN_TRIES: Final = 0.1


def packed(request: Request) -> bytes:
    """The request as bytes for a worker; without its oldest items where it would exceed `wire.MAX_REQUEST`."""
    items = list(request.items[-MAX_HISTORY:])
    while True:
        data: bytes = REQUEST.dump_json(replace(request, items=items), by_alias=True)
        if len(data) <= wire.MAX_REQUEST or not items:
            return wire.pack("reply", data)
        del items[: max(1, len(items) // 4)]


class RemoteLanguageModel:
    """The `Agent` of one call, which owns it. Used on the event loop."""

    def __init__(
        self,
        client: Client,
        timeout: float,
        load_timeout: float = LOAD_SECONDS,
        meter: ModelMeter = NOT_MEASURED,
    ) -> None:
        """`timeout`: seconds after which no further worker is asked for an answer of which nothing was spoken.

        `load_timeout`: that a worker's chat server may take to its first word.
        """
        self._client, self._timeout, self._meter = client, timeout, meter
        self._within = max(ANSWER_SECONDS, load_timeout + ANSWER_SECONDS - LOAD_SECONDS)

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The answer piece by piece; an apology in place of the rest when no worker answers."""
        spoken, final, began = "", False, time.monotonic()
        for attempt in range(ATTEMPTS):
            try:
                async with aclosing(self._meter.measured(self._ask(replace(request, already_spoken=spoken)))) as parts:
                    async for part in parts:
                        if isinstance(part, str):
                            spoken += part
                            if len(spoken) > MAX_ANSWER:
                                log.warning("language model: the answer has more than %d characters", MAX_ANSWER)
                                yield f" {phrase('too_long', request.language)}"
                                return
                        if isinstance(part, Retracted):
                            spoken = ""
                        final = final or not isinstance(part, str | Retracted)
                        yield part
                return
            except (WorkerError, TimeoutError, nats.errors.Error, MalformedError) as error:
                log.warning("language model, try %d: %s", attempt + 1, error or "no sign of life of its worker")
                if final or (not spoken and time.monotonic() - began > self._timeout):
                    break
                await asyncio.sleep(_BETWEEN_TRIES)
        if not final:
            apology = phrase("apology", request.language)
            yield f" {apology}" if spoken else apology

    async def _ask(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """One worker's answer."""
        number = calls = 0
        async with aclosing(pieces_of(self._client, "llm", packed(request), LLM_TIMEOUT, self._within)) as pieces:
            async for kind, *fields in pieces:
                match kind, fields:
                    case "text", [str(piece), int(at)]:
                        if at != number:
                            raise WorkerError(f"piece {number} of an answer is missing")
                        number += 1
                        yield piece
                    case "call", [str(call_id), str(name), str(arguments)]:
                        calls += 1
                        if calls > MAX_CALLS or len(arguments) > MAX_ARGUMENTS:
                            raise WorkerError(f"more than {MAX_CALLS} function calls, or arguments too long")
                        yield FunctionCall(call_id[:MAX_NAME], name[:MAX_NAME], arguments)
                    case "usage", [int(taken), int(given)]:
                        yield Usage(taken, given)
                    case "incomplete", ["max_output_tokens" | "content_filter" as reason]:
                        yield Incomplete(reason)
                    case "retracted", _:
                        yield Retracted()
                    case "alive", _:
                        pass
                    case "end", _:
                        return
                    case "error", [str(text), _]:
                        raise WorkerError(text)
                    case _:
                        raise MalformedError(f"a language model's worker sent {kind!r:.40}")

    def played(self, text: str) -> None:
        """Nothing to do: each request brings the conversation, in which the reply is cut to what was played."""

    def greeting_played(self, text: str) -> None:
        """Nothing to do, as in `played`."""

    def saved(self) -> Any:
        """None: this agent keeps nothing between two requests."""
        return None

    def restore(self, saved: Any) -> None:
        """Nothing to do: this agent keeps nothing between two requests."""

    def ended(self) -> None:
        """Nothing to do: no worker keeps a call."""
