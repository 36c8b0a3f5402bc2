"""An answer by whichever instance can give it: asks another one where the first is busy, dies, or loses a part.

What was handed out already is in the next request as `said`, and tools that were run are among its items, so that the
next instance goes on behind them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from antiphon.inference_bridge.agents import (
    FunctionCall,
    HangUpAfterSpeech,
    Incomplete,
    OwnSpeech,
    ReplyPart,
    Request,
    Retracted,
    SpokenPause,
    ToolRun,
    TransferAfterSpeech,
)
from antiphon.inference_bridge.agents.own_tools import items_of
from antiphon.inference_bridge.replies.parts import part_of
from antiphon.inference_bridge.replies.reader import AnswerEndedError, Why
from antiphon.schemas import messages
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages.replies import MAX_STATE

log = logging.getLogger(__name__)

ATTEMPTS: Final = 3
"""Instances that begin one answer; busy ones do not count."""
UNANSWERED: Final = 4
"""Times that one is asked which gives no sign: NATS may choose a paused instance again and again."""
BUSY_PAUSES: Final = (0.0, 0.02, 0.05, 0.1, 0.25)
"""Seconds before the next instance is asked where one was busy; the last one from then on."""
_BETWEEN: Final = 0.1
"""Seconds before the next attempt: NATS learns of a dead instance by then."""
MAX_ANSWER: Final = 12_000
"""Characters of one answer, own speech's words included: ten minutes of speech."""
MAX_CALLS: Final = 32
"""Function calls in one answer."""
MAX_TOOLS: Final = 128
"""Beginnings and ends of the agent's own tools in one answer."""
MAX_ARGUMENTS: Final = 64 * 1024
"""Characters of the arguments of all function calls of an answer."""
MAX_OWN_SPEECH: Final = 300.0
"""Seconds of own speech and pauses in one answer."""

Ask = Callable[[Request, bool], AsyncGenerator[messages.AnyReplyPart, None]]
"""Asks one instance. True: in place of another one."""


class TooLongError(Exception):
    """The answer goes beyond the bounds; what came before is good."""


class Answer:
    """One answer, by as many instances as it takes.

    Owned by the agent that gives it, for that answer; used on the event loop.
    """

    def __init__(
        self,
        name: str,
        ask: Ask,
        on_state: Callable[[object], None] = lambda state: None,
        again_after_errors: bool = False,
        busy_within: float = 8.0,
        again_within: float = math.inf,
    ) -> None:
        """`name`: for the log. `on_state`: takes what the agent wants to know next time.

        `again_after_errors`: an instance that says it has failed is replaced too. `busy_within`: seconds for which
        busy instances are asked again, or others. `again_within`: after these no other one is asked for an answer of
        which there is no word yet.
        """
        self._name, self._ask, self._on_state = name, ask, on_state
        self._again_after_errors = again_after_errors
        self._busy_within, self._again_within = busy_within, again_within
        self.said = ""
        """The words that were handed out."""
        self.is_final = False
        """Something was handed out behind which no other instance can go on, such as a function call."""
        self.is_whole = False
        """Its end has come."""
        self._tools: list[dict[str, Any]] = []
        self._calls = self._tool_parts = self._arguments = 0
        self._seconds = 0.0

    async def parts(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """What is to be spoken and done, in order. `AnswerEndedError` when nobody could end it, `TooLongError`."""
        self.said = request.already_spoken
        attempt = busy = unanswered = 0
        began = time.monotonic()
        while True:
            asked = replace(request, already_spoken=self.said, items=[*request.items, *self._tools])
            try:
                async with aclosing(self._ask(asked, attempt + unanswered > 0)) as parts:
                    async for part in parts:
                        if isinstance(part, messages.ReplyEnd):
                            self.is_whole = True
                            return
                        if (made := self._used(part)) is not None:
                            yield made
                return
            except MalformedError as error:
                failure = AnswerEndedError(Why.RUBBISH, str(error))
            except AnswerEndedError as error:
                failure = error
            if failure.why is Why.BUSY:
                pause = BUSY_PAUSES[min(busy, len(BUSY_PAUSES) - 1)]
                busy += 1
                if time.monotonic() - began + pause > self._busy_within:
                    raise failure
            else:
                unanswered += failure.why is Why.UNANSWERED
                attempt += failure.why is not Why.UNANSWERED
                log.warning("%s, instance %d of an answer: %s", self._name, attempt + unanswered, failure)
                late = not self.said and time.monotonic() - began > self._again_within
                spent = attempt >= ATTEMPTS or unanswered >= UNANSWERED
                if spent or late or not self._goes_on(failure.why, attempt + unanswered):
                    raise failure
                pause = _BETWEEN
            await asyncio.sleep(pause)

    def _goes_on(self, why: Why, attempt: int) -> bool:
        """Another instance may be of use."""
        if self.is_final or (why is Why.NOBODY and attempt == 1):
            return False
        return why in (Why.GONE, Why.UNANSWERED, Why.RUBBISH, Why.NOBODY) or self._again_after_errors

    def _used(self, part: messages.AnyReplyPart) -> ReplyPart | None:
        if isinstance(part, messages.ReplyState):
            self._keep_state(part.state)
            return None
        made = part_of(part)
        if made is not None:
            self._count(made)
        return made

    def _keep_state(self, state: object) -> None:
        size = len(json.dumps(state, separators=(",", ":")))
        if size > MAX_STATE:
            log.warning("%s: a state of %d bytes is not kept: at most %d", self._name, size, MAX_STATE)
        else:
            self._on_state(state)

    def _count(self, part: ReplyPart) -> None:
        match part:
            case str():
                self.said += part
            case OwnSpeech(pcm, rate, words):
                self.said += f" {words} " if words else ""
                self._seconds += len(pcm) / 2 / rate
            case SpokenPause(milliseconds):
                self._seconds += milliseconds / 1000
            case Retracted():
                self.said = ""
            case ToolRun():
                self._tool_parts += 1
                if part.output is not None:
                    self._tools += items_of(part)
            case FunctionCall():
                self._calls += 1
                self._arguments += len(part.arguments)
                if self._calls > MAX_CALLS or self._arguments > MAX_ARGUMENTS:
                    text = f"more than {MAX_CALLS} function calls, or {MAX_ARGUMENTS} characters of arguments"
                    raise MalformedError(text)
        if isinstance(part, FunctionCall | HangUpAfterSpeech | TransferAfterSpeech | Incomplete):
            self.is_final = True
        if len(self.said) > MAX_ANSWER or self._seconds > MAX_OWN_SPEECH or self._tool_parts > MAX_TOOLS:
            limits = f"{MAX_ANSWER} characters, {MAX_OWN_SPEECH:.0f} s of own speech or {MAX_TOOLS // 2} tools"
            raise TooLongError(f"{self._name}: an answer of more than {limits}")
