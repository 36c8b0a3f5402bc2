"""A small MCP server made with the official SDK, in a process of its own: `python -m support.mcp_server stdio`.

`http PORT` serves streamable HTTP at /mcp. Its tools do what tests want of a server: answer, be slow, fail, be long,
end the process, hang, add a tool.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("support")


@server.tool()
def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


@server.tool()
def environment(name: str) -> str:
    """A variable of the server's environment."""
    return os.environ.get(name, "(not set)")


@server.tool()
async def slow(seconds: float) -> str:
    """Answers late, in its own time."""
    await asyncio.sleep(seconds)
    return "done"


@server.tool()
def fail() -> str:
    """Raises."""
    raise ValueError("the kitchen is closed")


@server.tool()
def long() -> str:
    """A megabyte."""
    return "x" * 1_000_000


@server.tool()
def die() -> str:
    """Ends the process."""
    os._exit(3)


@server.tool()
async def hang() -> str:
    """Blocks the whole server."""
    time.sleep(3600)  # noqa: ASYNC251
    return "never"


@server.tool()
async def learn(context: Context) -> str:
    """Adds a tool, and says so."""

    def learned() -> str:
        """New."""
        return "new"

    server.add_tool(learned)
    await context.session.send_tool_list_changed()
    return "added"


def main() -> None:
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", port=int(sys.argv[2]))


if __name__ == "__main__":
    main()
