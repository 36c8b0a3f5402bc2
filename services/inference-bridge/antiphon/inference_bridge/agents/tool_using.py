"""An agent whose model calls tools that this process runs: `ToolUsingAgent`, around the agent that asks the model.

The model is asked with these tools beside the client's. Those of ours that it calls run at once, side by side, while
the rest of its answer comes; then it is asked again with what they gave. Whatever becomes of a tool, the model is told,
and the caller hears something: the model's words, or a sentence when there are none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from antiphon.inference_bridge.agents import (
    Agent,
    FunctionCall,
    Incomplete,
    ReplyPart,
    Request,
    Retracted,
    ToolRun,
    Usage,
)
from antiphon.inference_bridge.agents.profile import FailureSentences
from antiphon.inference_bridge.agents.tool_calls import MAX_CALLS
from antiphon.inference_bridge.agents.tool_memory import ToolMemory, call_items
from antiphon.inference_bridge.phrases import phrase
from antiphon.runtime import tasks
from antiphon.runtime.tools.tool_result import ToolResult, bounded, failure
from antiphon.runtime.tools.tool_set import Tools

log = logging.getLogger(__name__)

MAX_ROUNDS: Final = 8
"""Times that the model is asked for one answer; the last time it may call nothing."""
MAX_PARALLEL: Final = 16
"""Tools that run for one call of the agent; further ones fail."""
INTERRUPTED: Final = "cancelled, because the caller has interrupted; it is not known whether it has had an effect"
"""The output of a tool that was at work then."""
MAX_ROUND_OUTPUT: Final = 64 * 1024
"""Characters of all outputs of a round, which the model is told."""
_LEAST_OUTPUT: Final = 1000
_TOO_MANY: Final = f"{MAX_PARALLEL} tools are at work already: call it again when they have ended"


@dataclass
class _Round:
    """One answer of the model, and the tools that it has called. Owned by `reply`."""

    said: str = ""
    calls: list[FunctionCall] = field(default_factory=list)
    at_work: list[asyncio.Task[ToolResult]] = field(default_factory=list)
    """In the order of `calls`."""
    for_client: bool = False
    """The client is to answer a call of this round: the next request comes with its output."""

    async def results(self, patience: float) -> AsyncGenerator[ToolRun | None, None]:
        """The end of each tool when it comes; None each time that none has come for `patience` seconds (0: never)."""
        pending = set(self.at_work)
        while pending:
            done, pending = await asyncio.wait(pending, timeout=patience or None, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                yield None
            for call, task in zip(self.calls, self.at_work, strict=True):
                if task in done:
                    result = task.result()
                    yield ToolRun(call.call_id, call.name, call.arguments, result.output, result.failed)

    def outputs(self) -> list[str]:
        """Of all calls, those that were cancelled too; cut where they are too long together."""
        texts = [task.result().output if task.done() and not task.cancelled() else INTERRUPTED for task in self.at_work]
        most = max(_LEAST_OUTPUT, MAX_ROUND_OUTPUT // max(1, len(texts)))
        return [bounded(text, most) for text in texts] if sum(map(len, texts)) > MAX_ROUND_OUTPUT else texts


class ToolUsingAgent:
    """The `Agent` of one call, which owns it and the agent inside; the tool set is the process's and outlives it.

    Not for guesses of a turn (`Request.speculative`): a tool may have an effect.
    """

    def __init__(
        self, agent: Agent, tools: Tools, failures: FailureSentences | None = None, patience_ms: int = 0
    ) -> None:
        """`failures`: what the caller hears in place of the bridge's sentence.

        `patience_ms`: of a tool that was called behind some words, after which a sign follows them; 0: none. Before
        the first word the conversation itself gives that sign.
        """
        self._agent, self._tools = agent, tools
        self._failures = failures or FailureSentences()
        self._patience = patience_ms / 1000
        self._memory = ToolMemory()

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The model's answer, with `ToolRun` at the beginning and the end of each tool. ValueError for a guess."""
        if request.speculative:
            raise ValueError("an agent with tools can't answer a guess: a tool may have an effect")
        own = self._tools.schemas()
        names = {schema["name"] for schema in own}
        clients = [tool for tool in request.tools if tool.get("name") not in names]
        client_names = {tool.get("name") for tool in clients}
        asked = replace(request, items=self._memory.merged(request.items), tools=[*own, *clients])
        tokens = [0, 0]
        spoke = failed = patient = False
        for number in range(1, MAX_ROUNDS + 1):
            if number == MAX_ROUNDS:
                asked = replace(asked, tool_choice="none")
            this = _Round()
            try:
                async with aclosing(self._agent.reply(asked)) as parts:
                    async for part in parts:
                        match part:
                            case FunctionCall() if part.name not in client_names and (
                                number == MAX_ROUNDS or len(this.calls) >= MAX_CALLS
                            ):
                                log.warning("the model calls %.64s, although it may call nothing any more", part.name)
                                failed = True
                            case FunctionCall() if part.name not in client_names:
                                if this.said and not this.said.endswith("\n"):
                                    yield "\n"  # ends a clause: the caller hears it while the tool runs
                                    this.said += "\n"
                                yield ToolRun(part.call_id, part.name, part.arguments)
                                self._begin(this, part)
                            case Usage(taken, given):
                                tokens = [tokens[0] + (taken or 0), tokens[1] + (given or 0)]
                                yield Usage(*tokens)
                            case _:
                                this.for_client = this.for_client or isinstance(part, FunctionCall)
                                if isinstance(part, str):
                                    this.said += part
                                elif isinstance(part, Retracted):
                                    this.said = ""
                                yield part
                                if isinstance(part, Incomplete):
                                    failed = failed or bool(this.calls)
                may_wait = self._patience if spoke or this.said.strip() else 0
                async with aclosing(this.results(may_wait)) as results:
                    async for result in results:
                        if result is None and not patient:
                            patient = True
                            yield f" {phrase('patience', request.language)}\n"
                        elif result is not None:
                            failed = failed or result.failed
                            yield result
            finally:
                await tasks.end(*this.at_work)
                self._memory.remember(request.items, this.calls, this.outputs())
            spoke = spoke or bool(this.said.strip())
            if this.for_client or not this.calls:
                if not this.for_client and not this.said.strip() and (failed or not spoke):
                    yield self._failures.tool_failed or phrase("tool_failed", request.language)
                return
            asked = replace(
                asked,
                items=[*asked.items, *call_items(this.said, this.calls, this.outputs())],
                tool_choice=asked.tool_choice if asked.tool_choice == "none" else "auto",
                already_spoken="",
            )

    def _begin(self, this: _Round, call: FunctionCall) -> None:
        this.calls.append(call)
        room = sum(not task.done() for task in this.at_work) < MAX_PARALLEL
        work = self._tools.call(call.name, call.arguments) if room else _refused()
        this.at_work.append(asyncio.create_task(work))

    def played(self, text: str) -> None:
        """What was run stays known, also when nothing of the answer was played: it may have had an effect."""
        self._agent.played(text)

    def greeting_played(self, text: str) -> None:
        """As the agent inside does."""
        self._agent.greeting_played(text)

    def ended(self) -> None:
        """As the agent inside does."""
        self._agent.ended()

    def saved(self) -> Any:
        """The state of the agent inside, and the tools that were run."""
        inner, runs = self._agent.saved(), self._memory.saved()
        return {"agent": inner, "tools": runs} if runs or inner is not None else None

    def restore(self, saved: Any) -> None:
        """Continue from `saved` of another process."""
        if not isinstance(saved, dict):
            return
        if saved.get("agent") is not None:
            self._agent.restore(saved["agent"])
        self._memory.restore(saved.get("tools"))


async def _refused() -> ToolResult:
    return failure(_TOO_MANY)
