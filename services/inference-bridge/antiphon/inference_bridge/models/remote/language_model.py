"""An agent whose language model is asked by workers on NATS, which stream the answer.

When a worker is busy, fails, or gives no sign of life, the bridge asks another one. If a part of the answer was spoken
by then, the request says so and the other worker continues after it. When no worker answers, the agent apologises.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from nats.aio.client import Client

from antiphon.inference_bridge.agents import ReplyPart, Request, Retracted
from antiphon.inference_bridge.agents.chat_history import MAX_HISTORY
from antiphon.inference_bridge.agents.language_model import LOAD_SECONDS
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.replies.attempts import Answer, TooLongError
from antiphon.inference_bridge.replies.reader import AnswerEndedError, TimeLimits
from antiphon.inference_bridge.replies.requests import packed, reply_request
from antiphon.inference_bridge.replies.stream import answer_of
from antiphon.runtime.metrics.model_meter import NOT_MEASURED, ModelMeter
from antiphon.schemas import messages, subjects

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 200.0
"""Seconds for a whole answer, above what a worker allows its chat server."""
_NAME: Final = "language model"


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
        within = max(ANSWER_SECONDS, load_timeout + ANSWER_SECONDS - LOAD_SECONDS)
        self._limits = TimeLimits(within, within, within)  # the worker has the limits for its chat server

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The answer piece by piece; an apology in place of the rest when no worker answers."""
        request = replace(request, items=request.items[-MAX_HISTORY:])
        answer = Answer(
            _NAME, self._ask, again_after_errors=True, busy_within=self._timeout, again_within=self._timeout
        )
        spoken = False
        try:
            async with aclosing(self._meter.measured(answer.parts(request))) as parts:
                async for part in parts:
                    spoken = (spoken or isinstance(part, str)) and not isinstance(part, Retracted)
                    yield part
        except TooLongError as error:
            log.warning("%s", error)
            yield f" {phrase('too_long', request.language)}"
        except AnswerEndedError as error:
            log.warning("%s: no worker has answered: %s", _NAME, error)
            if not answer.is_final:
                apology = phrase("apology", request.language)
                yield f" {apology}" if spoken else apology

    async def _ask(self, request: Request, again: bool) -> AsyncGenerator[messages.AnyReplyPart, None]:
        """One worker's answer."""
        asked, inbox = packed(reply_request(request)), self._client.new_inbox()
        async with aclosing(answer_of(self._client, subjects.WORKER_LLM, asked, inbox, self._limits, again)) as parts:
            async for part in parts:
                yield part

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
