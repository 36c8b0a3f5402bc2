"""A text agent: functions that get what the caller said, and yield what to say."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, overload

from pydantic import ValidationError

from antiphon.agent import process_life
from antiphon.agent.registration import where_is
from antiphon.agent.server_tools import AllTools
from antiphon.agent.text import functions
from antiphon.agent.text.answer import Answer
from antiphon.agent.text.instance import STOP_SECONDS, Instance
from antiphon.agent.text.turn import Turn
from antiphon.agent.tools import Tool
from antiphon.runtime.metrics.settings import NOWHERE, MetricsSettings
from antiphon.runtime.tools.definitions import HttpTool, McpServer
from antiphon.schemas import subjects
from antiphon.schemas.messages import (
    AnyReplyPart,
    ReplyEnd,
    ReplyLimits,
    ReplyRequest,
    ReplyText,
    TextAgentAnnouncement,
    encode,
)

log = logging.getLogger("antiphon.agent")

F = TypeVar("F", bound=Callable[..., Any])

SILENCE_SECONDS: Final = 10.0
"""Of the caller, after which a function under `@agent.silence` is called, where `silence` is not set."""
MAX_ANNOUNCEMENT: Final = 64 * 1024
MAX_TOOLS: Final = 128
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOOL_STILL: Final = 0.5
"""Share of `limits.between` after which a bridge is told that a tool is still at work."""


class TextAgent:
    """`agent = TextAgent("name")`, a function under `@agent.reply`, `agent.run()`.

    The bridge hears, takes turns, speaks and is interrupted; the function gets a `Turn` and yields text and actions. It
    lasts as long as your program. All answers share the event loop of `run` or `serving`, and everything here is called
    from that loop; only plain functions under `@agent.tool` run on threads.
    """

    def __init__(
        self,
        name: str,
        *,
        greeting: str = "",
        instructions: str = "",
        language: str = "",
        voice: str = "",
        turn_detection: dict[str, Any] | None = None,
        silence: float | None = None,
        longest_call: float | None = None,
        capacity: int = 100,
        limits: ReplyLimits = ReplyLimits(),  # noqa: B008  (a value, which is frozen)
        speculates: bool = False,
        blocked_ms: float = 200.0,
    ) -> None:
        """`greeting`: said first. `instructions`: for your language model, in `turn.messages`.

        `language`: BCP 47. `voice`, `turn_detection`: as in the realtime protocol. Empty or None: the bridge's.
        `silence`: seconds of the caller's silence after which the agent is asked; None: never.
        `longest_call`: seconds after which the call is ended with a sentence; None: no bound.
        `capacity`: answers at once; above it other instances of the name are asked.
        `limits`: how long the caller waits for an answer, and what is behind it, before it is told that there is none.
        `speculates`: answer guesses of a turn before it is over, which are marked (`turn.speculative`).
        `blocked_ms`: a function that keeps the event loop longer is named in the log.
        ValueError for a value that can't be used.
        """
        subjects.agent_reply(name)  # raises for a name that no subject can hold
        self.name = name
        """As callers choose it."""
        self.capacity = capacity
        """Answers at once."""
        self.tools: dict[str, Tool] = {}
        """By name: what `tool` has registered."""
        self._all_tools = AllTools(self.tools)
        self._blocked_ms = blocked_ms
        self._silence = silence
        self._functions: dict[str, Callable[..., Any]] = {}
        self._instance: Instance | None = None
        try:
            self._announced = TextAgentAnnouncement(
                agent=name,
                instance="-",
                capacity=capacity,
                greeting=greeting,
                instructions=instructions,
                language=language,
                voice=voice,
                turn_detection=turn_detection,
                silence_ms=None if silence is None else round(silence * 1000),
                longest_call=longest_call,
                speculates=speculates,
                limits=limits,
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            setting = str(first["loc"][0]) if first["loc"] else "settings"
            named = "silence in milliseconds" if setting == "silence_ms" else setting
            raise ValueError(f"agent {name}: {named}: {first['msg']}") from None
        if len(encode(self._announced)) > MAX_ANNOUNCEMENT - MAX_TOOLS * 70:
            raise ValueError(f"agent {name}: turn_detection and instructions are too long for an announcement")

    # ---- for the author

    @overload
    def reply(self, function: F) -> F: ...
    @overload
    def reply(self) -> Callable[[F], F]: ...

    def reply(self, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """The function that answers: an async generator of text and actions, or an `async def` that returns a text.

        An interruption cancels it where it waits. It is called again, in the same turn, when tools that it has called
        have ended. `@agent.reply` and `@agent.reply()` are the same, as with all others here. TypeError, which names
        the line, for a function that can't be called so, and for a second one.
        """
        return self._register("reply", function)

    @overload
    def call_started(self, function: F) -> F: ...
    @overload
    def call_started(self) -> Callable[[F], F]: ...

    def call_started(self, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Called when the caller is there. What it yields is the greeting; yields it nothing, `greeting` is said."""
        return self._register("call_started", function)

    @overload
    def call_ended(self, function: F) -> F: ...
    @overload
    def call_ended(self) -> Callable[[F], F]: ...

    def call_ended(self, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Called when the call is over, at one instance; no caller would hear what it returns."""
        return self._register("call_ended", function)

    @overload
    def silence(self, function: F) -> F: ...
    @overload
    def silence(self) -> Callable[[F], F]: ...

    def silence(self, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Called when the caller has said nothing for `silence` seconds (10, if not set). Without it `reply` is."""
        return self._register("silence", function)

    @overload
    def tool_result(self, function: F) -> F: ...
    @overload
    def tool_result(self) -> Callable[[F], F]: ...

    def tool_result(self, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Called with the turn and a `ToolResult` or `ToolFailed` when one of the agent's tools has ended.

        A text that it returns is given to the model in place of the result.
        """
        return self._register("tool_result", function)

    @overload
    def tool(self, function: F) -> F: ...
    @overload
    def tool(self, *, name: str = "", timeout: float = 30.0) -> Callable[[F], F]: ...

    def tool(
        self, function: Callable[..., Any] | None = None, *, name: str = "", timeout: float = 30.0
    ) -> Callable[..., Any]:
        """A function for a language model, in `turn.tools`, and for `turn.call`. `timeout` in seconds.

        Its schema is made of its type hints. A parameter annotated with `Turn` gets the turn.
        """

        def register(each: F) -> F:
            tool = Tool(each, name, timeout, Turn)
            if not _TOOL_NAME.fullmatch(tool.name):
                raise TypeError(f"agent {self.name}: tool {tool.name!r}: 1 to 64 letters, digits, - and _")
            if tool.name in self.tools:
                raise TypeError(f"agent {self.name}: there is a tool {tool.name} already ({where_is(each)})")
            if len(self.tools) >= MAX_TOOLS:
                raise TypeError(f"agent {self.name}: more than {MAX_TOOLS} tools ({where_is(each)})")
            self.tools[tool.name] = tool
            return each

        return register if function is None else register(function)

    def use(self, definition: HttpTool | McpServer) -> None:
        """An HTTP request, or the tools of an MCP server, in `turn.tools` and for `turn.call`, beside the functions.

        Call it before the agent serves. An MCP server's tools are there when it is connected, which it is while the
        agent serves. Needs the extra `tools`. ValueError for a name twice, a secret that is not there, or a package
        that is not installed.
        """
        self._all_tools.use(definition)

    def answer(self, request: ReplyRequest) -> AsyncGenerator[AnyReplyPart, None]:
        """The parts of one answer, without any connection: what a bridge gets. Closing it is an interruption.

        RuntimeError if no function stands under `@agent.reply`.
        """
        if (reply := self._functions.get("reply")) is None:
            raise RuntimeError(self._no_function())
        event = request.event
        own = self._functions.get(event)
        if own is None and event in ("call_started", "call_ended"):
            return _greeted(request, self._announced.greeting if event == "call_started" else "")
        of = own or reply
        return Answer(
            request,
            functions.stream_of(of),
            of,
            self._all_tools,
            self._announced.instructions,
            self._functions.get("tool_result"),
            self._announced.greeting if event == "call_started" else "",
            self._announced.limits.between * _TOOL_STILL,
        ).parts()

    def announcement(self, instance: str, answering: int = 0, leaving: bool = False) -> TextAgentAnnouncement:
        """What an instance of this agent tells bridges of it."""
        silence = self._announced.silence_ms
        if silence is None and "silence" in self._functions:
            silence = round(SILENCE_SECONDS * 1000)
        return self._announced.model_copy(
            update={
                "instance": instance,
                "answering": answering,
                "leaving": leaving,
                "greets": "call_started" in self._functions,
                "silence_ms": silence,
                "tools": list(self._all_tools)[:MAX_TOOLS],
            }
        )

    def figures(self) -> dict[str, Any]:
        """Answers of this instance: under way, capacity, ended by how."""
        return self._instance.figures() if self._instance is not None else {"answering": 0, "capacity": self.capacity}

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; answers under way get some seconds then. Variables are those of `Agent.run`.

        Exit status 2 if the credential can't be used, or is not that of a text agent of this name.
        """
        if "reply" not in self._functions:
            raise SystemExit(self._no_function())
        process_life.run(
            self.name,
            lambda: process_life.access("text_agent", self.name),
            lambda metrics, stop: self._serving("", "", metrics),
            f"text agent {self.name}, up to {self.capacity} answers",
            lambda: f"{self.figures()['answering']} answers are finished first",
            STOP_SECONDS + 2,
        )

    @asynccontextmanager
    async def serving(self, url: str = "", credentials: str | os.PathLike[str] = "") -> AsyncIterator[None]:
        """Serve inside a program of your own, for as long as the block lasts. It shows no metrics: `figures` has some.

        `url`, `credentials`: in place of `ANTIPHON_NATS_URL` and `ANTIPHON_NATS_CREDENTIALS`.
        Errors are those of `Agent.serving`.
        """
        async with self._serving(url, credentials, NOWHERE):
            yield

    # ---- life

    @asynccontextmanager
    async def _serving(
        self, url: str, credentials: str | os.PathLike[str], shown: MetricsSettings
    ) -> AsyncIterator[None]:
        if "reply" not in self._functions:
            raise RuntimeError(self._no_function())
        who = process_life.access("text_agent", self.name, credentials)
        client = await process_life.connect(self.name, url, who)
        instance = self._instance = Instance(client, self, shown, self._blocked_ms / 1000)
        try:
            await self._all_tools.start()
            await instance.start()
            yield
        finally:
            await instance.stop()
            await self._all_tools.close()
            await client.close()

    def _register(self, decorator: str, function: Callable[..., Any] | None) -> Callable[..., Any]:
        def register(each: F) -> F:
            if (there := self._functions.get(decorator)) is not None:
                raise TypeError(f"agent {self.name}: it has a function for {decorator} already, {where_is(there)}")
            self._functions[decorator] = functions.checked(self.name, decorator, each)
            return each

        return register if function is None else register(function)

    def _no_function(self) -> str:
        return f"agent {self.name} has no function: put @agent.reply above one"


async def _greeted(request: ReplyRequest, greeting: str) -> AsyncGenerator[AnyReplyPart, None]:
    if greeting:
        yield ReplyText(number=0, text=greeting)
    yield ReplyEnd(number=1 if greeting else 0)
