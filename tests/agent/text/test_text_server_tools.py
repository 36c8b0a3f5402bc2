"""Tools of HTTP requests and MCP servers in a text agent: a model sees them, and they run as the agent's own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.conditions import until
from support.text_agents import parts_of, request, spoken
from support.tool_endpoint import ToolEndpoint

from antiphon.agent import Action, CallTool, HttpTool, McpServer, TextAgent, Turn
from antiphon.schemas.messages import ReplyTool

pytestmark = pytest.mark.process(timeout=150, reason="a server imports the SDK of MCP, which takes long if it is busy")


def desk(tool: str) -> TextAgent:
    """It calls this tool, and says what came of it."""
    agent = TextAgent("desk")

    @agent.tool
    async def book(day: str) -> str:
        """Book a table."""
        return "booked"

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        if turn.messages[-1]["role"] == "tool":
            yield str(turn.messages[-1]["content"])
        else:
            assert tool in [each["function"]["name"] for each in turn.tools]
            yield CallTool(tool, {"day": "Monday"} if tool == "tables" else {"a": 2, "b": 3})

    return agent


async def test_an_http_request_is_a_tool_of_a_text_agent(nats_url: str) -> None:
    async with ToolEndpoint().running() as endpoint:
        agent = desk("tables")
        agent.use(HttpTool(name="tables", url=f"{endpoint.url}/tables"))
        async with agent.serving(nats_url):
            parts = await parts_of(agent, request("Is there a table?"))
    assert spoken(parts) == '{"table": 4}'
    runs = [part for part in parts if isinstance(part, ReplyTool)]
    assert [(run.name, run.output, run.failed) for run in runs] == [
        ("tables", None, False),
        ("tables", '{"table": 4}', False),
    ]
    assert agent.announcement("i").tools == ["book", "tables"]


async def test_the_tools_of_an_mcp_server_are_there_while_the_agent_serves(nats_url: str) -> None:
    agent = desk("add")
    tests = str(Path(__file__).parents[2])
    command = {"command": sys.executable, "args": ("-m", "support.mcp_server", "stdio"), "env": {"PYTHONPATH": tests}}
    agent.use(McpServer.model_validate({"name": "test", **command}))
    async with agent.serving(nats_url):
        await until(lambda: "add" in agent.announcement("i").tools, 120)
        assert "5" in spoken(await parts_of(agent, request("What is two and three?")))
