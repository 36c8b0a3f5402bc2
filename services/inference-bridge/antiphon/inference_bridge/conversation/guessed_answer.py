"""An answer that is asked for while the turn may still go on: used if it ends with the same words, else undone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from antiphon.inference_bridge.agents import Agent, GuessEndedError, ReplyPart, Retracted
from antiphon.inference_bridge.conversation.agent_requests import PreparedParts
from antiphon.inference_bridge.conversation.core.state import Kind, Response
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Circumstances:
    """What a guess rests on besides the words. A value."""

    settings: SessionSettings
    items: int
    """On record, without the turn itself."""


@dataclass(eq=False)
class _Guess:
    text: str
    under: Circumstances
    agent_before: Any
    prepared: PreparedParts


async def or_else(
    guessed: AsyncGenerator[ReplyPart, None], ask: Callable[[str], AsyncGenerator[ReplyPart, None]]
) -> AsyncGenerator[ReplyPart, None]:
    """The guessed answer. Where it can't go on, `ask(said)` is: for an answer that goes on behind these words."""
    said = ""
    try:
        async with contextlib.aclosing(guessed) as parts:
            async for part in parts:
                said = "" if isinstance(part, Retracted) else said + part if isinstance(part, str) else said
                yield part
        return
    except GuessEndedError as error:
        log.info("the guess is asked for again: %s", error)
    async with contextlib.aclosing(ask(said)) as rest:
        async for part in rest:
            yield part


class GuessedAnswers:
    """The guess of one call, at most one at a time. Owned by the call's `AgentAnswers`; used on the event loop."""

    def __init__(self, agent: Agent, spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]) -> None:
        """`spawn`: ends with the call."""
        self._agent, self._spawn = agent, spawn
        self._guess: _Guess | None = None
        self._undoing: asyncio.Task[Any] | None = None

    def begin(self, text: str, under: Circumstances, ask: Callable[[], AsyncGenerator[ReplyPart, None]]) -> None:
        """The caller may have said this. Nothing happens while the guess before is there, or being undone."""
        if self._guess is None and (self._undoing is None or self._undoing.done()):
            before = self._agent.saved()
            self._guess = _Guess(text, under, before, PreparedParts(ask(), self._spawn))

    def drop(self) -> None:
        """The turn goes on."""
        if (guess := self._guess) is not None:
            self._guess = None
            self._undoing = self._spawn(self._undo(guess))

    def saved(self) -> Any:
        """The agent as it was before the guess."""
        return self._guess.agent_before if self._guess is not None else self._agent.saved()

    async def take(self, response: Response, under: Circumstances) -> AsyncGenerator[ReplyPart, None] | None:
        """The answer, if this response asks for what was guessed; else None, and the agent is as it was before."""
        guess, self._guess = self._guess, None
        if guess is not None:
            same = response.kind is Kind.TURN and response.text == guess.text and response.parameters is None
            if same and not response.preamble and under == guess.under:
                return guess.prepared.stream()
            await self._undo(guess)
        elif self._undoing is not None:
            await asyncio.wait([self._undoing])
        return None

    async def _undo(self, guess: _Guess) -> None:
        await guess.prepared.close()
        self._agent.played("")
