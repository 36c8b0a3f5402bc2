"""Functions that a language model may call: their JSON schema from type hints, their call with checked arguments."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import typing
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

from pydantic import ConfigDict, PydanticUserError, ValidationError, create_model

from antiphon.agent.registration import name_of, where_is

_POOL: Final = ThreadPoolExecutor(32, thread_name_prefix="antiphon-tool")
"""Not asyncio's own: `asyncio.run` waits for that, however long a function takes."""
_at_work: weakref.WeakSet[Future[Any]] = weakref.WeakSet()


def threads_at_work() -> int:
    """Plain functions that still run, perhaps without a session that waits for their result."""
    return sum(not each.done() for each in _at_work)


async def _on_a_thread(function: Callable[[], Any]) -> Any:
    future = _POOL.submit(contextvars.copy_context().run, function)
    _at_work.add(future)
    return await asyncio.wrap_future(future)


@runtime_checkable
class CallsTools(Protocol):
    """The session that calls a tool, which the tool may have as a parameter. `Session` alone is like this."""

    def call_tool(self, name: str, arguments: str | Mapping[str, Any], call_id: str = "") -> str:
        """Run a tool beside everything else."""

    def cancel_tool(self, call_id: str) -> None:
        """Stop it."""


class ToolError(Exception):
    """What a tool tells the model instead of a result."""


class Tool:
    """One function. A parameter annotated with `Session` gets the session and is no part of the schema.

    Owner: the agent, for its life. Called by its sessions or turns, from the event loop.
    """

    def __init__(
        self, function: Callable[..., Any], name: str = "", timeout: float = 30.0, passes: type = CallsTools
    ) -> None:
        """`passes`: the class of what `call` is given first, for parameters that are annotated with it.

        TypeError, which names the line, for a function that no schema can describe.
        """
        if not callable(function):
            raise TypeError(f"@agent.tool stands above a function; it was given {function!r:.60}")
        self.name = name or name_of(function, "tool")
        where = f"tool {self.name}: {where_is(function)}"
        self.description = inspect.getdoc(function) or ""
        self.timeout = timeout
        self._function = function
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise TypeError(f"{where}: a type hint can't be read: {error}") from None
        self._session_parameter = ""
        fields: dict[str, Any] = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"{where}: *{parameter.name} has no schema; name the parameters")
            if parameter.name not in hints:
                raise TypeError(f"{where}: parameter {parameter.name} has no type hint")
            hint = hints[parameter.name]
            if isinstance(hint, type) and issubclass(hint, passes):
                self._session_parameter = parameter.name
                continue
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hint, default)
        try:
            self._arguments = create_model(self.name, __config__=ConfigDict(extra="forbid"), **fields)
            self._arguments.model_json_schema()
        except PydanticUserError as error:  # a type that is no JSON, such as a connection
            raise TypeError(f"{where}: {str(error).splitlines()[0]}") from None

    def schema(self) -> dict[str, Any]:
        """As the OpenAI realtime protocol has it in `session.tools`."""
        parameters = self._arguments.model_json_schema()
        parameters.pop("title", None)
        for each in parameters.get("properties", {}).values():
            each.pop("title", None)
        return {"type": "function", "name": self.name, "description": self.description, "parameters": parameters}

    async def call(self, session: object, arguments: str | Mapping[str, Any]) -> Any:
        """Check the arguments and run the function; a plain one on a thread, so that it does not delay other sessions.

        ToolError: arguments that do not fit, or no result within `timeout` seconds.
        """
        try:
            given = json.loads(arguments or "{}") if isinstance(arguments, str) else dict(arguments)
            checked = self._arguments.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "arguments"
            raise ToolError(f"{self.name}: {where}: {first['msg']}") from None
        except ValueError as error:
            raise ToolError(f"{self.name}: the arguments are no JSON: {error}") from None
        named = {name: getattr(checked, name) for name in type(checked).model_fields}
        if self._session_parameter:
            named[self._session_parameter] = session
        try:
            async with asyncio.timeout(self.timeout):
                if inspect.iscoroutinefunction(self._function):
                    return await self._function(**named)
                return await _on_a_thread(partial(self._function, **named))
        except TimeoutError:
            raise ToolError(f"{self.name}: no result within {self.timeout:g} s") from None
