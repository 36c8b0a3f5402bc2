"""Tools: their schema, their checked arguments, and that a slow one delays no session."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.conditions import until
from support.models.sounds import tone
from support.processes.agents import calling

from antiphon.agent import Agent, Session, ToolFailed, ToolResult


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
