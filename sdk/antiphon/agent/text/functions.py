"""The functions of a text agent: checked when they are registered, called as streams whatever form they have."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Final

from antiphon.agent.registration import function_of, name_of, where_is
from antiphon.agent.text.turn import Turn

Stream = Callable[[Turn], AsyncGenerator[Any, None]]
"""What every function becomes: called with a turn, it yields text and actions."""

_PARAMETERS: Final = {
    "reply": "turn: Turn",
    "call_started": "turn: Turn",
    "call_ended": "turn: Turn",
    "silence": "turn: Turn",
    "tool_result": "turn: Turn, result: ToolResult | ToolFailed",
}
_SPEAKS: Final = ("reply", "call_started", "silence")


def checked(agent: str, decorator: str, function: object) -> Callable[..., Any]:
    """The function, if it can be called as the decorator has it; TypeError names the line and the way out."""
    if not callable(function):
        raise TypeError(
            f"agent {agent}: @agent.{decorator} stands above a function; it was given {type(function).__name__} "
            f"{function!r:.60}"
        )
    parameters = _PARAMETERS[decorator]
    where, name = where_is(function), name_of(function, decorator)
    way_out = f"write `async def {name}({parameters})`"
    called = function_of(function)
    if inspect.isasyncgenfunction(called):
        if decorator not in _SPEAKS:
            raise TypeError(f"agent {agent}: {where} has `yield`, and no caller would hear it: {way_out} without it")
    elif inspect.isgeneratorfunction(called) or not inspect.iscoroutinefunction(called):
        raise TypeError(f"agent {agent}: {where} is `def`: {way_out}")
    try:
        inspect.signature(function).bind(*(object() for _ in parameters.split(",")))
    except TypeError as error:
        given = "a turn and a result" if "," in parameters else "a turn"
        raise TypeError(f"agent {agent}: {where} can't be called with {given} ({error}): {way_out}") from None
    return function


def stream_of(function: Callable[..., Any]) -> Stream:
    """As a stream: an async generator as it is, an `async def` with what it returns as the only piece."""
    if inspect.isasyncgenfunction(function_of(function)):
        return function

    async def one(turn: Turn) -> AsyncGenerator[Any, None]:
        returned = await function(turn)
        if isinstance(returned, AsyncGenerator):
            async with aclosing(returned) as pieces:
                async for piece in pieces:
                    yield piece
        elif isinstance(returned, AsyncIterator):
            async for piece in returned:
                yield piece
        elif returned is not None:
            yield returned

    return one
