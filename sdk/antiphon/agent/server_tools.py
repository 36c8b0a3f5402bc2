"""HTTP requests and MCP servers as tools of an agent, beside its functions. Needs the extra `tools`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from antiphon.agent.tools import Tool, ToolError
from antiphon.runtime.tools.definitions import HttpTool, McpServer
from antiphon.runtime.tools.tool_set import ToolSet


class CallableTool(Protocol):
    """What `session.call_tool` runs: a `Tool`, or one of a server. Owned by its agent."""

    @property
    def name(self) -> str:
        """As it is called."""

    def schema(self) -> dict[str, Any]:
        """As the OpenAI realtime protocol has it in `session.tools`."""

    async def call(self, session: object, arguments: str | Mapping[str, Any]) -> Any:
        """Run it; ToolError when it gives no result."""


class AllTools(Mapping[str, CallableTool]):
    """An agent's functions and, behind them, the tools that are used by definition; those of MCP servers come and go.

    Owner: the agent, for its life. Used on its event loop.
    """

    def __init__(self, functions: Mapping[str, Tool]) -> None:
        """`functions`: those of the agent, which may become more. One of the same name hides a server's tool."""
        self._functions = functions
        self._http: list[HttpTool] = []
        self._mcp: list[McpServer] = []
        self._set: ToolSet | None = None
        self._serving = False

    def use(self, definition: HttpTool | McpServer) -> None:
        """ValueError for a name twice, a secret that is not there, or a package that is not installed.

        RuntimeError while the agent serves.
        """
        if self._serving:
            raise RuntimeError("an agent that serves takes no further tools: call use before")
        if not isinstance(definition, HttpTool | McpServer):
            raise TypeError(f"{type(definition).__name__}: use takes an HttpTool or an McpServer")
        http, mcp = list(self._http), list(self._mcp)
        http.extend([definition] if isinstance(definition, HttpTool) else [])
        mcp.extend([definition] if isinstance(definition, McpServer) else [])
        if isinstance(definition, HttpTool) and definition.name in self._functions:
            raise ValueError(f"the agent has a tool {definition.name} already")
        self._set = ToolSet(http, mcp)
        self._http, self._mcp = http, mcp

    def schemas(self) -> list[dict[str, Any]]:
        """All, as the realtime protocol has functions; an MCP server's from when it is connected."""
        own = [tool.schema() for tool in self._functions.values()]
        theirs = self._set.schemas() if self._set is not None else []
        return own + [schema for schema in theirs if schema["name"] not in self._functions]

    async def start(self) -> None:
        """Connect to the servers, once the agent serves."""
        self._serving = True
        if self._set is not None:
            await self._set.start()

    async def close(self) -> None:
        """End the connections and child processes; the agent may serve again."""
        self._serving = False
        if self._set is not None:
            await self._set.close()

    def __getitem__(self, name: str) -> CallableTool:
        if name in self._functions:
            return self._functions[name]
        if self._set is None or name not in self._set:
            raise KeyError(name)
        schema = next((each for each in self._set.schemas() if each["name"] == name), {"name": name})
        return _ServerTool(name, schema, self._set)

    def __iter__(self) -> Iterator[str]:
        return iter([schema["name"] for schema in self.schemas()])

    def __len__(self) -> int:
        return len(self.schemas())


class _ServerTool:
    """One tool of the set. A value."""

    def __init__(self, name: str, schema: dict[str, Any], tools: ToolSet) -> None:
        self.name = name
        self._schema, self._tools = schema, tools

    def schema(self) -> dict[str, Any]:
        return {"type": "function", **self._schema}

    async def call(self, session: object, arguments: str | Mapping[str, Any]) -> str:
        try:
            text = arguments if isinstance(arguments, str) else json.dumps(dict(arguments))
        except (TypeError, ValueError) as error:
            raise ToolError(f"{self.name}: the arguments are no JSON: {error}") from None
        result = await self._tools.call(self.name, text)
        if result.failed:
            raise ToolError(f"{self.name}: {result.output}")
        return result.output
