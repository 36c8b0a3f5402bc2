"""An MCP server with one tool, made with the official SDK: `examples/agents/clock.toml` uses it over stdio."""

from datetime import datetime
from zoneinfo import ZoneInfo

from mcp.server.mcpserver import MCPServer

server = MCPServer("clock")


@server.tool()
def time_in(zone: str) -> str:
    """The time in a place, whose zone is such as Europe/Vienna or Asia/Tokyo."""
    return f"{datetime.now(ZoneInfo(zone)):%H:%M}"


if __name__ == "__main__":
    server.run("stdio")
