"""An agent that is a process of its own: each turn is asked on NATS, and any instance may answer it.

What the agent's instances know of a call is here: what was played, the state that they want back, how many turns there
were. So the request is all that an instance needs, and a bridge that takes the call over goes on with `saved`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import nats.errors
from nats.aio.client import Client

from antiphon.inference_bridge.agents import GuessEndedError, OwnSpeech, ReplyPart, Request, Retracted
from antiphon.inference_bridge.agents.profile import FailureSentences
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.replies.attempts import Answer, TooLongError
from antiphon.inference_bridge.replies.reader import AnswerEndedError, TimeLimits
from antiphon.inference_bridge.replies.requests import packed, reply_request
from antiphon.inference_bridge.replies.stream import answer_of
from antiphon.runtime import telemetry
from antiphon.runtime.metrics.model_meter import NOT_MEASURED, ModelMeter
from antiphon.runtime.nats.access import REPLY_INBOXES
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

_TELLING: Final[set[asyncio.Task[None]]] = set()
"""Ends of calls that are being told: the agents themselves are gone by then."""
_MAX_PLAYED: Final = 12_000
"""Characters of what was played that are told; the last ones."""


class RemoteTextAgent:
    """The `Agent` of one call, which owns it. Used on the event loop; `HearsInterruptions`, too."""

    def __init__(
        self,
        client: Client,
        call_id: str,
        agent: str,
        limits: messages.ReplyLimits,
        failures: FailureSentences = FailureSentences(),  # noqa: B008  (a value)
        meter: ModelMeter = NOT_MEASURED,
    ) -> None:
        """`limits`: as announced. `failures`: what the caller hears when there is no answer, or no end of it."""
        self._client, self._call_id, self._agent = client, call_id, agent
        self._limits, self._failures, self._meter = TimeLimits.of(limits), failures, meter
        self._turn = 0
        self._state: Any = None
        self._state_before: Any = None
        self._played: messages.PlayedAnswer | None = None
        self._answer: Answer | None = None
        """The last one; None: it is known what was played of it."""
        self._is_closed = False
        """Its last answer was given up before its end."""
        self._interrupted = False

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The answer piece by piece; a sentence in place of the rest when no instance can end it."""
        self._turn += 1
        self._state_before, self._is_closed, self._interrupted = self._state, True, False
        name = f"{self._call_id}: text agent {self._agent}"
        answer = self._answer = Answer(name, self._ask, self._keep, busy_within=self._limits.first)
        spoken = False
        try:
            async with aclosing(self._meter.measured(answer.parts(request))) as parts:
                async for part in parts:
                    spoken = (spoken or isinstance(part, str | OwnSpeech)) and not isinstance(part, Retracted)
                    yield part
        except TooLongError as error:
            log.warning("%s", error)
            yield f" {self._failures.too_long or phrase('too_long', request.language)}"
        except AnswerEndedError as error:
            if request.speculative:
                raise GuessEndedError(str(error)) from None
            log.warning("%s has no answer: %s", name, error)
            if not answer.is_final:
                apology = self._failures.apology or phrase("apology", request.language)
                yield f" {apology}" if spoken else apology
        self._is_closed = False

    async def _ask(self, request: Request, again: bool) -> AsyncGenerator[messages.AnyReplyPart, None]:
        """One instance's answer."""
        asked, subject = packed(self._request(request)), subjects.agent_reply(self._agent)
        inbox = f"{REPLY_INBOXES}.{self._agent}.{secrets.token_urlsafe(16)}"
        async with aclosing(answer_of(self._client, subject, asked, inbox, self._limits, again)) as parts:
            async for part in parts:
                yield part

    def _request(self, request: Request) -> messages.ReplyRequest:
        return reply_request(
            request,
            call_id=self._call_id,
            agent=self._agent,
            turn=self._turn,
            played=self._played,
            state=self._state,
        )

    def _keep(self, state: Any) -> None:
        self._state = state

    def interrupted(self) -> None:
        """Called right before `played`: the reply was cut off before its end."""
        self._interrupted = True

    def played(self, text: str) -> None:
        """What the caller received of the last answer.

        Nothing of an answer that had words, or that was given up before its first part: the turn comes again with what
        the caller says next, so the agent's state is what it was before.
        """
        answer, self._answer = self._answer, None
        if answer is None and not text:
            return  # it was given up before it was asked for
        is_undone = not text and answer is not None and (bool(answer.said.strip()) or self._is_closed)
        if is_undone:
            self._state = self._state_before
        else:
            self._played = messages.PlayedAnswer(text=text[-_MAX_PLAYED:], interrupted=self._interrupted)
        self._interrupted = False

    def greeting_played(self, text: str) -> None:
        """The words of the greeting that were played to the caller."""
        self._played = messages.PlayedAnswer(text=text[-_MAX_PLAYED:], interrupted=self._interrupted)
        self._interrupted = False

    def saved(self) -> Any:
        """State, number of the turn, and what was played; plain JSON."""
        played = self._played.model_dump(exclude={"version"}) if self._played is not None else None
        return {"turn": self._turn, "state": self._state, "played": played}

    def restore(self, saved: Any) -> None:
        """Continue from what `saved` returned in another process; what can't be read counts as nothing."""
        if not isinstance(saved, dict):
            return
        turn, played = saved.get("turn"), saved.get("played")
        self._turn = turn if isinstance(turn, int) and turn >= 0 else 0
        self._state = saved.get("state")
        if isinstance(played, dict):
            text, interrupted = str(played.get("text", "")), played.get("interrupted") is True
            self._played = messages.PlayedAnswer(text=text, interrupted=interrupted)

    def ended(self) -> None:
        """The call is over: one of the agent's instances is told. A message that is lost is nothing."""
        telling = asyncio.get_running_loop().create_task(self._tell_end())
        _TELLING.add(telling)
        telling.add_done_callback(_TELLING.discard)

    async def _tell_end(self) -> None:
        asked = messages.ReplyRequest(
            call_id=self._call_id,
            agent=self._agent,
            event="call_ended",
            turn=self._turn,
            played=self._played,
            state=self._state,
        )
        try:
            headers = telemetry.trace_headers() or None
            await self._client.publish(subjects.agent_reply(self._agent), messages.encode(asked), headers=headers)
        except (nats.errors.Error, MalformedError) as error:
            log.warning("%s: its text agent %s is not told of its end: %s", self._call_id, self._agent, error)
