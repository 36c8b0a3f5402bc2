"""What runs the tools that a file names, where this version has it: file agents are served without, too."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Protocol

from pydantic import BaseModel

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.profile import FailureSentences


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
    """What this version checks tools by, without what runs them."""
    found = _module("antiphon.runtime.tools.definitions")
    return ToolSupport() if found is None else ToolSupport(found.HttpTool, found.McpServer)


def installed() -> ToolSupport:
    """All that this version has."""
    found, running = definitions(), _module("antiphon.runtime.tools.tool_set")
    using = _module("antiphon.inference_bridge.agents.tool_using")
    if running is None or using is None:
        return ToolSupport()
    return replace(found, tool_set=running.ToolSet, using=using.ToolUsingAgent)


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("antiphon."):
            return None
        raise
