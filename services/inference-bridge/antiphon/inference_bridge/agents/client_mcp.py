"""An agent whose model may call the tools of MCP servers that the client has named: `McpUsingAgent`, around any agent.

Tools that may be called at once are run as an agent's own are. Those that the client has to approve end the answer with
a question; when it has said yes, the next answer begins with the call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from antiphon.inference_bridge.agents import (
    Agent,
    FunctionCall,
    GuessEndedError,
    HearsInterruptions,
    McpApproval,
    ReplyPart,
    Request,
    ToolRun,
)
from antiphon.inference_bridge.agents.own_tools import items_of
from antiphon.inference_bridge.agents.tool_using import ToolUsingAgent
from antiphon.inference_bridge.realtime_protocol.mcp_items import ApprovedCall, approved_calls
from antiphon.runtime.tools.tool_result import ToolResult, failure

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class OfferedTool:
    """A tool of a server, as the model is offered it. A value."""

    name: str
    """As the model calls it."""
    label: str
    """Of its server."""
    own_name: str
    """As the server calls it."""
    description: str
    parameters: JsonObject
    asks_first: bool
    """The client has to approve each call."""


class McpServers(Protocol):
    """The servers of one call. Used on the event loop."""

    def offered(self, tools: Sequence[JsonObject]) -> list[OfferedTool]:
        """What a model is offered where these tools are in force; of their servers those that are connected."""

    async def call(self, label: str, name: str, arguments: str) -> ToolResult:
        """Call a tool by the server's name for it; never raises."""


class McpUsingAgent:
    """The `Agent` of one call, which owns it and the agent inside; the servers are the call's and outlive it."""

    def __init__(self, agent: Agent, servers: McpServers) -> None:
        self._agent, self._servers = agent, servers

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The agent's answer. `GuessEndedError` for a guess of a turn that may call such tools."""
        functions = [tool for tool in request.tools if tool.get("type") != "mcp"]
        offered = {tool.name: tool for tool in self._servers.offered(request.tools)}
        approved = approved_calls(request.all_items)
        asked = replace(request, tools=functions)
        if request.speculative and (offered or approved):
            raise GuessEndedError
        if not offered and not approved:
            async with aclosing(self._agent.reply(asked)) as parts:
                async for part in parts:
                    yield part
            return
        items = list(request.items)
        for call in approved:
            begun = ToolRun(f"approved_{call.request_id}", call.name, call.arguments, server_label=call.server_label)
            begun = replace(begun, approval_request_id=call.request_id)
            yield begun
            ended = await self._made(begun, call)
            yield ended
            items += items_of(ended)
        first = [_schema(tool) for tool in offered.values() if tool.asks_first]
        free = _FreeTools(self._servers, [tool for tool in offered.values() if not tool.asks_first])
        asked = replace(asked, items=items, tools=[*functions, *first])
        async with aclosing(ToolUsingAgent(self._agent, free).reply(asked)) as parts:
            async for part in parts:
                tool = offered.get(part.name) if isinstance(part, FunctionCall | ToolRun) else None
                if isinstance(part, FunctionCall) and tool is not None:
                    yield McpApproval(tool.label, tool.own_name, part.arguments)
                elif isinstance(part, ToolRun) and tool is not None and not tool.asks_first:
                    yield replace(part, name=tool.own_name, server_label=tool.label)
                else:
                    yield part

    async def _made(self, begun: ToolRun, call: ApprovedCall) -> ToolRun:
        result = await self._servers.call(call.server_label, call.name, call.arguments)
        return replace(begun, output=result.output, failed=result.failed)

    def played(self, text: str) -> None:
        """As the agent inside does."""
        self._agent.played(text)

    def greeting_played(self, text: str) -> None:
        """As the agent inside does."""
        self._agent.greeting_played(text)

    def interrupted(self) -> None:
        """As the agent inside does, if it wants to know."""
        if isinstance(self._agent, HearsInterruptions):
            self._agent.interrupted()

    def saved(self) -> Any:
        """As the agent inside does."""
        return self._agent.saved()

    def restore(self, saved: Any) -> None:
        """As the agent inside does."""
        self._agent.restore(saved)

    def ended(self) -> None:
        """As the agent inside does."""
        self._agent.ended()


class _FreeTools:
    """The tools that need no approval, as `ToolUsingAgent` has tools. Owned by one answer."""

    def __init__(self, servers: McpServers, offered: Sequence[OfferedTool]) -> None:
        self._servers, self._offered = servers, {tool.name: tool for tool in offered}

    def schemas(self) -> list[JsonObject]:
        """As functions."""
        return [_schema(tool) for tool in self._offered.values()]

    async def call(self, name: str, arguments: str) -> ToolResult:
        """Run one; a failure for a name that there is not."""
        tool = self._offered.get(name)
        if tool is None:
            return failure(f"there is no tool {name!r:.64}; there are: {', '.join(self._offered) or 'none'}")
        return await self._servers.call(tool.label, tool.own_name, arguments)


def _schema(tool: OfferedTool) -> JsonObject:
    schema = {"type": "function", "name": tool.name, "description": tool.description}
    return {**schema, "parameters": tool.parameters}
