"""The agent of one call, as its responses use it: what it is asked, guesses, and what it is told of what was played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from antiphon.inference_bridge.agents import Agent, HearsInterruptions, ReplyPart
from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.conversation.agent_requests import fixed_parts, guarded, guess_for, request_for
from antiphon.inference_bridge.conversation.core.state import Kind, Response
from antiphon.inference_bridge.conversation.guessed_answer import Circumstances, GuessedAnswers, or_else
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.inference_bridge.turns.expected_answer import TOLD, Expected
from antiphon.schemas.messages.replies import Expected as ToldKind


class AgentAnswers:
    """Asks the agent, and tells it what became of its answers.

    Owned by the call's `ResponseTasks`, for as long as the call; used on the event loop. It owns the agent.
    """

    def __init__(
        self,
        agent: Agent,
        make_agent: Callable[[], Agent],
        realtime: Realtime,
        settings: Callable[[], SessionSettings],
        language: Callable[[], str],
        instructions: str,
        profile: AgentProfile,
        session: JsonObject,
        session_id: str,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
    ) -> None:
        """`make_agent`: another agent, for responses out of band. `settings`: those in force.

        `language`: in which the agent speaks. `instructions`: for a session that has none. `profile`: of the agent.
        `session`: the client's settings as in the claim. `spawn`: ends with the call.
        """
        self.told: Expected | None = None
        """What the agent has said that the caller will say next; None: it has not."""
        self._agent, self._make_agent, self._realtime = agent, make_agent, realtime
        self._settings, self._language, self._instructions = settings, language, instructions
        self._profile, self._session, self._session_id = profile, session, session_id
        self._guesses = GuessedAnswers(agent, spawn)

    def agent_for(self, response: Response) -> Agent:
        """The call's; for a response out of band another one that knows the same."""
        if response.on_record:
            return self._agent
        agent, saved = self._make_agent(), self._agent.saved()
        if saved is not None:
            agent.restore(saved)
        return agent

    def saved(self, agent: Agent | None = None) -> Any:
        """What another process needs of the call's agent, or of one out of band: as it was before it was asked."""
        return self._guesses.saved() if agent is None or agent is self._agent else agent.saved()

    def asked(self, response: Response) -> None:
        """A response begins: what the caller was to say next was said."""
        if response.on_record:
            self.told = None

    def expect(self, response: Response, kind: ToldKind) -> None:
        """The agent says what the caller will say next."""
        if response.on_record:
            self.told = TOLD[kind]

    def guess(self, words: str | None) -> None:
        """The caller may have said this, and the turn may still go on; None: it does."""
        if words is None:
            self._guesses.drop()
            return
        items, settings = self._realtime.conversation.items, self._settings()
        request = guess_for(words, settings, self._instructions, items, self._language(), self._session)
        self._guesses.begin(
            words,
            Circumstances(settings, len(items) + 1),
            lambda: guarded(self._agent.reply(request), "", self._session_id, self._trouble),
        )

    async def answer(
        self, response: Response, agent: Agent, settings: SessionSettings, written: Callable[[], Mapping[str, str]]
    ) -> AsyncGenerator[ReplyPart, None]:
        """What the agent answers: what was guessed, where that still holds.

        `settings`: of this response. `written`: by item id, the words of messages that are still being played.
        """
        ask = partial(self._ask, response, agent, settings, written)
        if response.fixed or not response.on_record:
            return ask()
        under = Circumstances(self._settings(), len(self._realtime.conversation.items))
        guessed = await self._guesses.take(response, under)
        return ask() if guessed is None else or_else(guessed, ask)

    def tell_played(self, response: Response, played: str, interrupted: bool = False) -> None:
        """The agent learns how much of its answer was played, and whether the caller has stopped it."""
        if not response.on_record:
            return  # its agent was its own
        if interrupted and isinstance(self._agent, HearsInterruptions):
            self._agent.interrupted()
        if response.asked:
            self._agent.played(played)
        elif response.kind in (Kind.GREETING, Kind.FIXED, Kind.PROMPT):
            self._agent.greeting_played(played)

    def close(self, goes_on: bool) -> None:
        """The call has ended; or it `goes_on` in another process."""
        ended = getattr(self._agent, "ended", None)  # a scripted class that was written before there was one has none
        if ended is not None and not goes_on:
            ended()

    @property
    def _trouble(self) -> str:
        return self._profile.failures.apology or phrase("trouble", self._language())

    def _ask(
        self,
        response: Response,
        agent: Agent,
        settings: SessionSettings,
        written: Callable[[], Mapping[str, str]],
        said: str = "",
    ) -> AsyncGenerator[ReplyPart, None]:
        """`said`: the beginning of the answer, which was spoken already."""
        if response.fixed:
            return fixed_parts(response.fixed)
        request = request_for(
            response,
            settings,
            self._instructions,
            self._realtime.conversation.items,
            written(),
            self._language(),
            self._session,
            self._profile.reads_events,
        )
        request = replace(request, already_spoken=said)
        return guarded(agent.reply(request), response.preamble, self._session_id, self._trouble)
