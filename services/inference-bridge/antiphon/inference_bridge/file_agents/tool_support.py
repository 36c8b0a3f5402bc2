"""What checks and runs the tools that a file names; the tests of files put others in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.profile import FailureSentences
from antiphon.inference_bridge.agents.tool_using import ToolUsingAgent
from antiphon.runtime.tools import tool_set
from antiphon.runtime.tools.definitions import HttpTool, McpServer


class ToolSet(Protocol):
    """The tools of one version of a file, shared by its calls. Owned by the source, used on the event loop."""

    async def start(self) -> None:
        """Connect to what has to be connected to."""

    async def close(self) -> None:
        """No call may use them any more."""


@dataclass(frozen=True)
class ToolSupport:
    """The parts that deal with tools. A value."""

    http_tool: type[BaseModel] | None = None
    """Checks `[[tools.http]]`; None: there are no tools."""
    mcp_server: type[BaseModel] | None = None
    """Checks `[[tools.mcp]]`."""
    tool_set: Callable[[Sequence[Any], Sequence[Any]], ToolSet] | None = None
    """Of HTTP tools and MCP servers."""
    using: Callable[[Agent, Any, FailureSentences], Agent] | None = None
    """An agent that runs tools of the set, around one that asks for them."""


def definitions() -> ToolSupport:
    """What tools are checked by, without what runs them."""
    return ToolSupport(HttpTool, McpServer)


def installed() -> ToolSupport:
    """All that this version has."""
    return ToolSupport(HttpTool, McpServer, tool_set.ToolSet, ToolUsingAgent)
