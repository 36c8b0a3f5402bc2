"""Tools: their schema, their checked arguments, and that a slow one delays no session."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.conditions import until
from support.models.sounds import tone
from support.processes.agents import calling
from support.tool_endpoint import ToolEndpoint

from antiphon.agent import Agent, HttpTool, McpServer, Session, ToolFailed, ToolResult


@pytest.mark.process
async def test_a_slow_tool_delays_no_audio_and_its_result_is_an_event(nats_url: str) -> None:
    agent = Agent("tools")
    results: list[object] = []

    @agent.tool
    def blocking(seconds: float) -> str:
        """Blocks its thread."""
        time.sleep(seconds)
        return "done"

    @agent.tool(timeout=0.1)
    async def slow(session: Session) -> None:
        await asyncio.sleep(10)

    @agent.session
    async def talk(session: Session) -> None:
        session.call_tool("blocking", '{"seconds": 0.5}', "a")
        session.call_tool("slow", {}, "b")
        session.call_tool("blocking", {"seconds": "long"}, "c")
        session.call_tool("none", {}, "d")
        session.start(session.say(tone(1)))
        async for event in session.events():
            if isinstance(event, ToolResult | ToolFailed):
                results.append(event)  # noqa: PERF401 - looked at while it grows

    async with calling(agent, nats_url) as call:
        await until(lambda: len(results) == 4)
        await until(lambda: len(call.played) >= 48000)
    by_id = {event.call_id: event for event in results if isinstance(event, ToolResult | ToolFailed)}
    assert isinstance(by_id["a"], ToolResult)
    assert by_id["a"].output == "done"
    errors = {key: event.error for key, event in by_id.items() if isinstance(event, ToolFailed)}
    assert "no result within 0.1 s" in errors["b"]
    assert "seconds" in errors["c"]
    assert "there is no tool 'none'; there are: blocking, slow" in errors["d"]


@pytest.mark.pure
def test_the_schema_of_a_tool_comes_from_its_type_hints() -> None:
    agent = Agent("tools")

    @agent.tool
    async def book(session: Session, day: str, people: int = 2) -> None:
        """Book a table."""

    assert agent.tool_schemas() == [
        {
            "type": "function",
            "name": "book",
            "description": "Book a table.",
            "parameters": {
                "type": "object",
                "properties": {"day": {"type": "string"}, "people": {"type": "integer", "default": 2}},
                "required": ["day"],
                "additionalProperties": False,
            },
        }
    ]


@pytest.mark.process
async def test_an_http_tool_is_run_like_a_function_and_its_failure_is_an_event(nats_url: str) -> None:
    agent = Agent("desk")
    results: list[ToolResult | ToolFailed] = []

    @agent.tool
    async def book() -> str:
        """Book."""
        return "booked"

    @agent.session
    async def talk(session: Session) -> None:
        session.call_tool("tables", {"day": "Monday"}, "a")
        session.call_tool("missing", "{}", "b")
        async for event in session.events():
            if isinstance(event, ToolResult | ToolFailed):
                results.append(event)  # noqa: PERF401 - looked at while it grows

    async with ToolEndpoint().running() as endpoint:
        agent.use(HttpTool(name="tables", url=f"{endpoint.url}/tables"))
        agent.use(HttpTool(name="missing", url=f"{endpoint.url}/missing"))
        assert [schema["name"] for schema in agent.tool_schemas()] == ["book", "tables", "missing"]
        async with calling(agent, nats_url):
            await until(lambda: len(results) == 2)
        assert endpoint.asked[0].line.startswith("GET /tables?day=Monday") or len(endpoint.asked) == 2
    by_id = {event.call_id: event for event in results}
    assert isinstance(by_id["a"], ToolResult)
    assert by_id["a"].output == '{"table": 4}'
    assert isinstance(by_id["b"], ToolFailed)
    assert "no such order" in by_id["b"].error


@pytest.mark.pure
def test_a_tool_of_a_server_that_can_t_be_used_is_refused_at_once() -> None:
    agent = Agent("desk")
    agent.use(HttpTool(name="tables", url="https://example.com/"))
    with pytest.raises(ValueError, match="two HTTP tools with the name tables"):
        agent.use(HttpTool(name="tables", url="https://example.com/"))
    with pytest.raises(ValueError, match="the environment has no NOWHERE"):
        agent.use(McpServer(name="files", url="https://example.com/mcp", headers={"X-Key": "env:NOWHERE"}))
    with pytest.raises(TypeError, match="an HttpTool or an McpServer"):
        agent.use("https://example.com/")  # type: ignore[arg-type]
