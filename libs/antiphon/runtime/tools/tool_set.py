"""All tools that an agent's process runs: `ToolSet`. What it offers, under which names, and their calls."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

from antiphon.runtime.tools.definitions import (
    HttpTool,
    McpServer,
    ToolDefinitionError,
    secret_env,
    secret_headers,
)
from antiphon.runtime.tools.tool_result import ToolResult, failure

if TYPE_CHECKING:
    from antiphon.runtime.tools.http_tools import HttpTools
    from antiphon.runtime.tools.mcp_tools import McpConnection

log = logging.getLogger(__name__)

MAX_SERVERS: Final = 16
"""MCP servers of one set."""
START_SECONDS: Final = 15.0
"""That a start waits for servers; they may load a lot."""
_EXTRA: Final = "needs the extra `tools`: pip install 'antiphon[tools]'"
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME: Final = 64


class Tools(Protocol):
    """What runs a model's calls: a `ToolSet`, or several of them. Used on the event loop."""

    def schemas(self) -> list[dict[str, Any]]:
        """The tools: `type`, `name`, `description`, `parameters`."""

    async def call(self, name: str, arguments: str) -> ToolResult:
        """Run one; a failure for a name that there is not. Never raises."""


class ToolSet:
    """HTTP tools and MCP servers of one agent, for all its calls.

    Owned by what makes the agent: the bridge, or an SDK agent. Used on the event loop it was started on, by any task.
    """

    def __init__(
        self, http: Sequence[HttpTool] = (), mcp: Sequence[McpServer] = (), environ: Mapping[str, str] = os.environ
    ) -> None:
        """`environ`: what `env:NAME` in a definition stands for.

        `ToolDefinitionError` for a definition that can't be used: a name twice, no JSON Schema, a secret that is not
        there, or a package that is not installed.
        """
        names = Counter(server.name for server in mcp)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ToolDefinitionError(f"there are two MCP servers with the name {twice[0]}: give one another name")
        if len(mcp) > MAX_SERVERS:
            raise ToolDefinitionError(f"there are {len(mcp)} MCP servers, at most {MAX_SERVERS} are taken")
        if mcp and find_spec("mcp") is None:
            raise ToolDefinitionError(f"MCP server {mcp[0].name} {_EXTRA}")
        for server in mcp:
            secret_headers(server.headers, environ, f"MCP server {server.name}")
            secret_env(server, environ)
        self._http = _http_tools(http, environ) if http else None
        self._definitions, self._environ = tuple(mcp), dict(environ)
        self._servers: list[McpConnection] = []
        self._routes: dict[str, tuple[McpConnection, str]] = {}
        """By the name that the model calls: the server and its name of the tool."""

    async def start(self, within: float = START_SECONDS) -> None:
        """Connect to all servers; returns when each is there, or its first try has failed, or after `within` seconds.

        A server that is not there then is tried for as long as the set lives; its tools are offered when it is.
        """
        if self._http is not None:
            await self._http.start()
        if not self._definitions:
            return
        connection = await asyncio.to_thread(_mcp_connection)  # its import takes more than a second
        self._servers = [connection(server, self._changed, self._environ) for server in self._definitions]
        await asyncio.gather(*(server.start(within) for server in self._servers))

    def schemas(self) -> list[dict[str, Any]]:
        """The tools as the realtime protocol has functions: `type`, `name`, `description`, `parameters`.

        Those of a server that is lost stay in the list: their calls fail until it is back.
        """
        own = [] if self._http is None else self._http.tools
        found = [_schema(tool.name, tool.description, tool.parameters) for tool in own]
        for name, (server, its_name) in self._routes.items():
            tool = server.tools[its_name]
            found.append(_schema(name, tool.description, tool.parameters))
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._routes or (self._http is not None and name in self._http)

    async def call(self, name: str, arguments: str) -> ToolResult:
        """Run a tool, within its time limit; never raises. `arguments`: JSON as the model wrote it."""
        try:
            if self._http is not None and name in self._http:
                return await self._http.call(name, arguments)
            route = self._routes.get(name)
            if route is None:
                known = ", ".join(schema["name"] for schema in self.schemas()) or "none"
                return failure(f"there is no tool {name!r:.64}; there are: {known}")
            return await route[0].call(route[1], arguments)
        except Exception as error:
            log.exception("tool %s", name[:_MAX_NAME])
            return failure(f"it has failed: {type(error).__name__}")

    async def close(self) -> None:
        """End all connections and child processes. Calls under way fail."""
        servers, self._servers, self._routes = self._servers, [], {}
        await asyncio.gather(*(server.close() for server in servers), return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def _changed(self) -> None:
        """Names anew: with the server's in front only where two servers have the same one, or an HTTP tool has it."""
        short = [(server, name, _clean(name)) for server in self._servers for name in server.tools]
        count = Counter(clean for _, _, clean in short)
        self._routes = {}
        for server, name, clean in short:
            own = self._http is not None and clean in self._http
            wanted = f"{_clean(server.server.name)}_{clean}"[:_MAX_NAME] if own or count[clean] > 1 else clean
            free, number = wanted, 1
            while free in self:
                number += 1
                free = f"{wanted[: _MAX_NAME - 3]}_{number}"
            self._routes[free] = server, name


def _schema(name: str, description: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "name": name, "description": description, "parameters": parameters}


def _clean(name: str) -> str:
    """As models and chat servers take names: MCP has dots and slashes in some."""
    return _NOT_IN_NAMES.sub("_", name)[:_MAX_NAME] or "tool"


def _http_tools(tools: Sequence[HttpTool], environ: Mapping[str, str]) -> HttpTools:
    try:
        from antiphon.runtime.tools.http_tools import HttpTools
    except ImportError as error:
        raise ToolDefinitionError(f"tool {tools[0].name} {_EXTRA} ({error})") from None
    return HttpTools(tools, environ)


def _mcp_connection() -> type[McpConnection]:
    from antiphon.runtime.tools.mcp_tools import McpConnection

    return McpConnection
