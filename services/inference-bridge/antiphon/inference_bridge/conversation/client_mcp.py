"""The MCP servers that the client of one call has named: connected, listed, told to the client, called, let go.

A server that can't be used costs only its own tools: the client gets `mcp_list_tools.failed` and an `error` that says
why. Sizes, times and numbers are bounded here and in `antiphon.runtime.tools`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from antiphon.inference_bridge.agents.client_mcp import OfferedTool
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.mcp_items import list_item
from antiphon.inference_bridge.realtime_protocol.mcp_tools import McpServerTool
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.tools import Tool
from antiphon.runtime import tasks
from antiphon.runtime.tools.allowed_hosts import AllowedHosts
from antiphon.runtime.tools.definitions import McpServer
from antiphon.runtime.tools.tool_result import ToolResult, failure

if TYPE_CHECKING:
    from antiphon.runtime.tools.mcp_tools import McpConnection, McpTool

log = logging.getLogger(__name__)

LIST_SECONDS: Final = 10.0
"""For a server to be connected and to list its tools."""
CALL_SECONDS: Final = 30.0
MAX_LISTINGS: Final = 16
"""Of one call: a client may change its servers, but not for ever."""
MAX_TOOLS_BYTES: Final = 64 * 1024
"""Of the tools of one server as JSON; what is beyond is left out."""
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME: Final = 64
JsonObject = dict[str, Any]


class _Server:
    """One server as the client has named it. Owned by `ClientMcp`."""

    def __init__(self, tool: McpServerTool) -> None:
        self.tool = tool
        self.connection: McpConnection | None = None
        """None until it is connected, and where that fails."""
        self.task: asyncio.Task[None] | None = None

    def tools(self) -> list[McpTool]:
        """Those that the client wants, as far as they fit."""
        found: list[McpTool] = []
        room = MAX_TOOLS_BYTES
        for tool in self.connection.tools.values() if self.connection is not None else ():
            if self.tool.offers(tool.name, tool.read_only):
                room -= len(json.dumps(_listed(tool)))
                if room < 0:
                    break
                found.append(tool)
        return found


class ClientMcp:
    """Owned by the call's session, for as long as the call; used on the event loop."""

    def __init__(
        self,
        session_id: str,
        realtime: Realtime,
        hosts: AllowedHosts,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        shows_tools: bool = True,
    ) -> None:
        """`hosts`: that may be asked. `spawn`: makes tasks that end with the call.

        `shows_tools`: False where the maker of the client's secret has named the servers: the client is not shown them.
        """
        self._shows_tools = shows_tools
        self._id, self._realtime, self._hosts, self._spawn = session_id, realtime, hosts, spawn
        self._servers: dict[str, _Server] = {}
        self._listings = 0
        self._closing: set[asyncio.Task[None]] = set()
        """Servers that are let go: not the session's tasks, whose end would leave their connections behind."""

    def apply(self, tools: Sequence[Tool]) -> None:
        """The tools in force now: new servers are connected and listed, others are let go."""
        wanted = {tool.server_label: tool for tool in tools if isinstance(tool, McpServerTool)}
        for label, server in list(self._servers.items()):
            if label not in wanted or not _is_same(server.tool, wanted[label]):
                del self._servers[label]
                task = asyncio.create_task(_close(server))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        for label, tool in wanted.items():
            if label not in self._servers:
                server = self._servers[label] = _Server(tool)
                server.task = self._spawn(self._connect(server))

    def offered(self, tools: Sequence[JsonObject]) -> list[OfferedTool]:
        """What a model is offered where these tools are in force; of their servers those that are connected."""
        taken = {str(tool.get("name")) for tool in tools if tool.get("type") != "mcp"}
        found: list[OfferedTool] = []
        for label in (tool.get("server_label") for tool in tools if tool.get("type") == "mcp"):
            server = self._servers.get(str(label))
            for tool in server.tools() if server is not None else ():
                assert server is not None
                name = _free_name(tool.name, server.tool.server_label, taken)
                taken.add(name)
                first = server.tool.asks_first(tool.name, tool.read_only)
                found.append(
                    OfferedTool(name, server.tool.server_label, tool.name, tool.description, tool.parameters, first)
                )
        return found

    async def call(self, label: str, name: str, arguments: str) -> ToolResult:
        """Call a tool by the server's name for it; never raises."""
        server = self._servers.get(label)
        if server is None or server.connection is None or all(tool.name != name for tool in server.tools()):
            return failure(f"the tool {name:.64} of the server {label} can't be had any more")
        try:
            return await server.connection.call(name, arguments)
        except Exception as error:
            log.exception("%s: MCP server %s: %.64s", self._id, label, name)
            return failure(f"it has failed: {type(error).__name__}")

    async def close(self) -> None:
        """The call has ended."""
        servers, self._servers = list(self._servers.values()), {}
        await asyncio.gather(*(_close(server) for server in servers), *self._closing, return_exceptions=True)

    async def _connect(self, server: _Server) -> None:
        realtime, tool = self._realtime, server.tool
        if not self._shows_tools:
            if why := await self._list(server):
                log.warning("%s: the tools of MCP server %s can't be had: %s", self._id, tool.server_label, why)
            return
        item = list_item(realtime.new_id("item"), tool.server_label)
        before = realtime.conversation.add(item)
        realtime.emit("conversation.item.added", previous_item_id=before, item=dict(item))
        realtime.emit("mcp_list_tools.in_progress", item_id=item["id"])
        why = await self._list(server)
        if why:
            realtime.emit("mcp_list_tools.failed", item_id=item["id"])
            text = f"the tools of the MCP server {tool.server_label} can't be had: {why}"
            realtime.error(ClientError(text, "mcp_list_tools_failed", "session.tools"))
            return
        item["tools"] = [_listed(each) for each in server.tools()]
        realtime.emit("mcp_list_tools.completed", item_id=item["id"])
        realtime.conversation.text_changed(item)
        if item["id"] in realtime.conversation:
            before = realtime.conversation.before(item["id"])
            realtime.emit("conversation.item.done", previous_item_id=before, item=item)

    async def _list(self, server: _Server) -> str:
        """Why there are no tools; empty: there are."""
        tool = server.tool
        if tool.lacks_secrets:
            return "another process goes on with the call, and its headers are kept nowhere: send session.update again"
        if why := self._hosts.refusal(tool.server_url):
            return why
        self._listings += 1
        if self._listings > MAX_LISTINGS:
            return f"{MAX_LISTINGS} servers were asked in this call already"
        try:
            connection = await asyncio.to_thread(_connection, tool, self._hosts)
        except ImportError as error:
            return f"the bridge has no {error.name}"
        except ValueError:  # its text may show headers
            return "the server can't be asked so"
        try:
            await connection.start(LIST_SECONDS)
            if not connection.connected:
                return connection.why_not or f"it does not answer within {LIST_SECONDS:g} s"
            server.connection = connection
            return ""
        finally:
            if server.connection is None:
                await connection.close()


async def _close(server: _Server) -> None:
    if server.task is not None:
        await tasks.end(server.task)
    if server.connection is not None:
        await server.connection.close()


def _connection(tool: McpServerTool, hosts: AllowedHosts) -> McpConnection:
    """In a thread: the first import of the SDK takes more than a second."""
    from antiphon.runtime.tools.guarded_http import guarded_client
    from antiphon.runtime.tools.mcp_tools import McpConnection

    server = McpServer(name=tool.server_label, url=tool.server_url, headers=tool.headers, timeout=CALL_SECONDS)
    return McpConnection(server, _nothing, {}, partial(guarded_client, hosts=hosts))


def _nothing() -> None:
    """The tools have changed: they are read anew for each answer."""


def _is_same(one: McpServerTool, other: McpServerTool) -> bool:
    """A client that sends its whole session again has not changed a server."""
    return one.model_copy(update={"at": 0}) == other.model_copy(update={"at": 0})


def _listed(tool: McpTool) -> JsonObject:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.parameters,
        "annotations": {"readOnlyHint": True} if tool.read_only else None,
    }


def _free_name(name: str, label: str, taken: set[str]) -> str:
    """As models take names, with the server's in front where another tool has the same one."""
    clean = _NOT_IN_NAMES.sub("_", name)[:_MAX_NAME] or "tool"
    if clean not in taken:
        return clean
    wanted = free = f"{label}_{clean}"[:_MAX_NAME]
    number = 1
    while free in taken:
        number += 1
        free = f"{wanted[: _MAX_NAME - 4]}_{number}"
    return free
