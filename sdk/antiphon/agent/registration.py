"""Checks the function of an agent when it is registered: its mistakes are told at the decorator, with the line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def checked(agent: str, function: object) -> Callable[..., Any]:
    """The function, if it can be called with a session and awaited; TypeError names the line and the way out."""
    if not callable(function):
        raise TypeError(
            f"agent {agent}: @agent.session stands above a function; it was given {type(function).__name__} "
            f"{function!r:.60}"
        )
    where = where_is(function)
    if inspect.isasyncgenfunction(function):
        raise TypeError(f"agent {agent}: {where} has `yield`: the function of a session is awaited, and yields nothing")
    if not inspect.iscoroutinefunction(function_of(function)):
        raise TypeError(f"agent {agent}: {where} is `def`: write `async def {name_of(function)}(session: Session)`")
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise TypeError(
            f"agent {agent}: {where} can't be called with a session ({error}): "
            f"write `async def {name_of(function)}(session: Session)`"
        ) from None
    return function


def function_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of a partial the function in it; of an object its `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def name_of(function: Callable[..., Any], otherwise: str = "talk") -> str:
    """Its name, for the line that it should have been."""
    return getattr(function, "__name__", otherwise).replace("<lambda>", otherwise)


def where_is(function: Callable[..., Any]) -> str:
    """Name, file and line."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{name} at {code.co_filename}:{code.co_firstlineno}" if code is not None else name
