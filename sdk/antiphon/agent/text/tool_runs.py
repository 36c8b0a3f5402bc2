"""The tools of one answer: run beside the function and beside each other, told to the bridge, collected at the end."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from antiphon.agent.events import ToolFailed, ToolResult
from antiphon.agent.server_tools import CallableTool
from antiphon.agent.text.actions import MAX_NAME, CallTool
from antiphon.agent.text.channel import Channel
from antiphon.agent.text.turn import Turn
from antiphon.agent.tools import ToolError
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas.messages import AnyReplyPart, ReplyTool

log = logging.getLogger("antiphon.agent")

MAX_AT_WORK: Final = 16
"""Tools of one answer at once; one more is refused."""
MAX_OUTPUT: Final = 16 * 1024
"""Characters of arguments and output in the record of the call; what the function gets is whole."""

_ANYTHING: Final[TypeAdapter[Any]] = TypeAdapter(Any)

ResultHook = Callable[[Turn, "ToolResult | ToolFailed"], Awaitable[object]]


class NotInGuess(BaseException):
    """A guess of the turn wants a tool: the answer ends, and is asked for again when the turn is over."""


@dataclass(frozen=True)
class Outcome:
    """A tool that has ended. A value."""

    call: CallTool
    call_id: str
    output: str
    """For a model: text, mostly JSON."""


class ToolRuns:
    """Owned by one answer, for its length; its function calls `call` by the turn. Event loop only."""

    def __init__(
        self,
        tools: Mapping[str, CallableTool],
        hook: ResultHook | None,
        parts: Channel[AnyReplyPart],
        still: Callable[[], AnyReplyPart],
        still_seconds: float,
    ) -> None:
        """`still()`: the part that says that a tool is at work, each `still_seconds`: its own time limit holds."""
        self._tools, self._hook, self._parts = tools, hook, parts
        self._still, self._still_seconds = still, still_seconds
        self._round: list[asyncio.Task[Outcome]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._at_work = 0
        self._ids: set[str] = set()
        self._turn: Turn
        self.count = 0
        """How many were begun."""

    def serve(self, turn: Turn) -> None:
        """The turn that tools may get as a parameter, and that is a guess or is none. Called once, before the first."""
        self._turn = turn

    async def start(self, call: CallTool) -> None:
        """Begin; `finished` has the outcome. Also of one that there is not."""
        if self._turn.speculative:
            raise NotInGuess
        call_id = self.own_id(call.call_id)
        await self._begun(call_id, call)
        self._round.append(task := asyncio.create_task(self._outcome(call, call_id), name=f"tool {call.name:.80}"))
        self._track(task)

    async def finished(self) -> list[Outcome]:
        """Wait for all that were started since the last time."""
        tasks, self._round = self._round, []
        return [await each for each in tasks]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Run one for `Turn.call`."""
        if self._turn.speculative:
            raise NotInGuess
        call = CallTool(name, arguments)
        call_id = self.own_id("")
        await self._begun(call_id, call)
        result = await self._run(call, call_id)
        await self._ended(call_id, call, *_text_of(result))
        if isinstance(result, ToolFailed):
            raise ToolError(result.error)
        return result.output

    def own_id(self, wanted: str) -> str:
        """An id that no other call of this answer has."""
        own = wanted[:MAX_NAME]
        while not own or own in self._ids:
            own = f"call_{secrets.token_hex(8)}"
        self._ids.add(own)
        return own

    def running(self) -> set[asyncio.Task[Any]]:
        """Those that are to be cancelled with the answer."""
        return set(self._tasks)

    # ---- one tool

    async def _outcome(self, call: CallTool, call_id: str) -> Outcome:
        output, failed = _text_of(await self._run(call, call_id))
        await self._ended(call_id, call, output, failed)
        return Outcome(call, call_id, output)

    async def _begun(self, call_id: str, call: CallTool) -> None:
        self.count += 1
        await self._parts.put(ReplyTool(number=0, call_id=call_id, name=_name(call), arguments=_arguments(call)))

    async def _ended(self, call_id: str, call: CallTool, output: str, failed: bool) -> None:
        begun = ReplyTool(number=0, call_id=call_id, name=_name(call), arguments=_arguments(call))
        await self._parts.put(begun.model_copy(update={"output": output[:MAX_OUTPUT], "failed": failed}))

    def _track(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, call: CallTool, call_id: str) -> ToolResult | ToolFailed:
        began = time.monotonic()
        if self._at_work >= MAX_AT_WORK:
            result: ToolResult | ToolFailed = ToolFailed(call_id, call.name, f"{MAX_AT_WORK} tools are at work already")
        else:
            self._at_work += 1
            work = asyncio.create_task(self._result(call, call_id, began), name=f"tool {call.name:.80}")
            self._track(work)
            try:
                while not (await asyncio.wait({work}, timeout=self._still_seconds))[0]:
                    await self._parts.put(self._still())
                result = work.result()
            finally:
                self._at_work -= 1
                work.cancel()
        if self._hook is not None:
            text = await self._hook(self._turn, result)
            if isinstance(text, str):
                return _replaced(result, text)
        return result

    async def _result(self, call: CallTool, call_id: str, began: float) -> ToolResult | ToolFailed:
        if (tool := self._tools.get(call.name)) is None:
            known = ", ".join(sorted(self._tools)) or "none"
            return ToolFailed(call_id, call.name, f"there is no tool {call.name!r:.80}; there are: {known}")
        attributes = {
            names.OPERATION: names.EXECUTE_TOOL,
            names.TOOL_NAME: tool.name,
            names.TOOL_CALL_ID: call_id,
            names.OWNED_BY: "agent",
        }
        try:
            with spans.current(f"{names.EXECUTE_TOOL} {tool.name}", attributes=attributes):
                output = await tool.call(self._turn, call.arguments)
        except ToolError as error:
            text = str(error) or f"{tool.name} has failed"
            log.warning("%s: tool %s: %s", self._turn.call_id, tool.name, text)
            return ToolFailed(call_id, tool.name, text)
        except Exception as error:  # its text may hold what no caller should hear
            log.exception("%s: tool %s has failed", self._turn.call_id, tool.name)
            return ToolFailed(call_id, tool.name, f"{tool.name} has failed: {type(error).__name__}")
        return ToolResult(call_id, tool.name, output, time.monotonic() - began)


def _name(call: CallTool) -> str:
    return call.name[:MAX_NAME]


def _arguments(call: CallTool) -> str:
    return call.json if len(call.json) <= MAX_OUTPUT else "{}"


def _replaced(result: ToolResult | ToolFailed, text: str) -> ToolResult | ToolFailed:
    if isinstance(result, ToolFailed):
        return ToolFailed(result.call_id, result.name, text)
    return ToolResult(result.call_id, result.name, text, result.seconds)


def _text_of(result: ToolResult | ToolFailed) -> tuple[str, bool]:
    """What a model is told of it, and whether it has failed."""
    if isinstance(result, ToolFailed):
        return _ANYTHING.dump_json({"error": result.error}).decode(), True
    if isinstance(result.output, str):
        return result.output, False
    try:
        return _ANYTHING.dump_json(result.output, fallback=str).decode(), False
    except (ValueError, RecursionError):  # such as bytes that are no text
        return str(result.output), False
