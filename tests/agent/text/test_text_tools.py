"""Tools of a text agent: rounds, results, and what becomes of those that are late, fail, are many or are none."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date
from typing import Any

import pytest
from support.conditions import until
from support.text_agents import of_type, parts_of, request, spoken

from antiphon.agent import Action, CallTool, ReplyLimits, TextAgent, ToolError, ToolFailed, ToolResult, Turn
from antiphon.agent.text.answer import MAX_ROUNDS
from antiphon.agent.text.tool_runs import MAX_AT_WORK
from antiphon.schemas.messages import ReplyCall, ReplyEnd, ReplyError, ReplyState, ReplyTool

pytestmark = pytest.mark.virtual


def desk(**settings: Any) -> TextAgent:
    """An agent that plays a language model: each line of the text calls a tool, and the results are said."""
    agent = TextAgent("desk", **settings)

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        results = [each["content"] for each in turn.messages if each["role"] == "tool"]
        if results:
            yield f"Results: {', '.join(results)}"
            return
        yield "One moment. "
        for number, line in enumerate(turn.text.splitlines()):
            name, _, arguments = line.partition(" ")
            yield CallTool(name, arguments, f"call_{number}")

    return agent


async def test_a_tool_s_result_is_in_the_messages_of_the_next_round() -> None:
    agent = desk()

    @agent.tool
    async def book(day: date, people: int = 2) -> str:
        """Book a table."""
        return f"{people} on {day:%A}"

    parts = await parts_of(agent, request('book {"day": "2026-12-01"}'))
    assert spoken(parts) == "One moment. Results: 2 on Tuesday"
    begun, ended = of_type(parts, ReplyTool)
    assert (begun.name, begun.call_id, json.loads(begun.arguments)) == ("book", "call_0", {"day": "2026-12-01"})
    assert (ended.call_id, ended.output, ended.failed) == ("call_0", "2 on Tuesday", False)
    assert ended.arguments == begun.arguments


async def test_schemas_are_in_chat_format_with_those_of_the_client() -> None:
    agent, seen = TextAgent("desk"), []

    @agent.tool
    async def book(turn: Turn, day: date) -> str:
        """Book a table."""
        return ""

    @agent.reply
    async def reply(turn: Turn) -> None:
        seen.append(turn.tools)

    theirs = {"type": "function", "name": "show_map", "description": "Show.", "parameters": {"type": "object"}}
    await parts_of(agent, request(tools=[theirs, {"name": "book"}, {"name": 3}, {}]))
    own, other = seen[0]
    assert own["function"]["name"] == "book"
    assert own["function"]["parameters"]["properties"] == {"day": {"format": "date", "type": "string"}}
    assert other == {"type": "function", "function": {k: theirs[k] for k in ("name", "description", "parameters")}}


async def test_several_tools_run_in_parallel_and_their_results_keep_their_order() -> None:
    agent = desk()

    @agent.tool
    async def wait(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return f"{seconds:g}"

    began = asyncio.get_running_loop().time()
    parts = await parts_of(agent, request('wait {"seconds": 3}\nwait {"seconds": 1}\nwait {"seconds": 2}'))
    assert asyncio.get_running_loop().time() - began == pytest.approx(3, abs=0.1)
    assert spoken(parts) == "One moment. Results: 3, 1, 2"
    assert [each.output for each in of_type(parts, ReplyTool)] == [None, None, None, "1", "2", "3"]


async def test_words_are_spoken_while_a_tool_runs() -> None:
    agent = TextAgent("desk")

    @agent.tool
    async def wait() -> str:
        await asyncio.sleep(5)
        return "done"

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        if turn.messages[-1]["role"] == "tool":
            yield "Done."
        else:
            yield CallTool("wait")
            yield "Let me see."

    parts = await parts_of(agent, request("Hi."))
    kinds = [each.type for each in parts if each.type != "state"]
    assert kinds == ["tool", "text", "tool", "text", "end"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("fails", "fails has failed: RuntimeError"),
        ("refuses", "we are closed"),
        ("late", "late: no result within 2 s"),
        ("unknown", "there is no tool 'unknown'; there are: fails, late, refuses"),
        ("refuses no JSON", "the arguments are no JSON"),
        ('refuses {"day": "x"}', "refuses: day"),
        (f"{'n' * 500}", "there is no tool 'nnn"),
    ],
)
async def test_a_tool_without_a_result_tells_the_model_why(line: str, says: str) -> None:
    agent = desk()

    @agent.tool
    async def fails() -> None:
        raise RuntimeError("postgres://user:secret@host")

    @agent.tool
    async def refuses() -> None:
        raise ToolError("we are closed")

    @agent.tool(timeout=2)
    async def late() -> None:
        await asyncio.sleep(100)

    parts = await parts_of(agent, request(line))
    ended = of_type(parts, ReplyTool)[-1]
    assert ended.failed
    assert says in json.loads(ended.output)["error"]
    assert says in json.loads(spoken(parts).removeprefix("One moment. Results: "))["error"]
    assert "secret" not in spoken(parts)
    assert isinstance(parts[-1], ReplyEnd)


async def test_a_tool_that_takes_long_keeps_the_answer_alive_for_the_bridge() -> None:
    agent = desk(limits=ReplyLimits(between=4))

    @agent.tool(timeout=60)
    async def slow() -> str:
        await asyncio.sleep(20)
        return "done"

    times: list[float] = []
    loop = asyncio.get_running_loop()
    async with aclosing(agent.answer(request("slow", state={"a": 1}))) as parts:
        found = []
        async for part in parts:
            found.append(part)
            times.append(loop.time())
    assert max(after - before for before, after in itertools.pairwise(times)) <= 2.1
    assert {json.dumps(each.state) for each in of_type(found, ReplyState)} == {'{"a": 1}'}
    assert spoken(found) == "One moment. Results: done"


async def test_an_interruption_cancels_tools_and_the_next_turn_shows_no_result() -> None:
    agent, cancelled = desk(), asyncio.Event()

    @agent.tool
    async def wait() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with aclosing(agent.answer(request("wait"))) as parts:
        async for part in parts:
            if isinstance(part, ReplyTool):
                break
        await asyncio.sleep(1)
    await until(cancelled.is_set)


async def test_more_tools_than_may_run_at_once_are_refused() -> None:
    agent = desk()

    @agent.tool
    async def wait() -> str:
        await asyncio.sleep(1)
        return "done"

    parts = await parts_of(agent, request("\n".join(["wait"] * (MAX_AT_WORK + 2))))
    outputs = [each.output for each in of_type(parts, ReplyTool) if each.output is not None]
    assert outputs.count("done") == MAX_AT_WORK
    assert sum("at work already" in each for each in outputs) == 2


async def test_a_model_that_calls_tools_for_ever_is_stopped() -> None:
    agent, rounds, offered = TextAgent("desk"), 0, []

    @agent.tool
    async def again() -> str:
        return "again"

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        nonlocal rounds
        rounds += 1
        offered.append(len(turn.tools))
        yield CallTool("again")

    parts = await parts_of(agent, request())
    assert rounds == MAX_ROUNDS + 1
    assert offered == [1] * MAX_ROUNDS + [0]
    assert isinstance(parts[-1], ReplyError)
    assert "8 rounds" in parts[-1].message


async def test_an_answer_that_says_nothing_after_its_tools_is_an_error_that_the_caller_hears() -> None:
    agent = TextAgent("desk")

    @agent.tool
    async def book() -> str:
        return "booked"

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        if turn.messages[-1]["role"] != "tool":
            yield CallTool("book")

    parts = await parts_of(agent, request("Hi."))
    assert isinstance(parts[-1], ReplyError)
    assert "says nothing" in parts[-1].message


async def test_a_tool_of_the_client_is_called_there_and_ends_the_answer() -> None:
    agent = desk()
    parts = await parts_of(agent, request('show_map {"zoom": 3}', tools=[{"name": "show_map"}]))
    call = of_type(parts, ReplyCall)[0]
    assert (call.call_id, call.name, call.arguments) == ("call_0", "show_map", '{"zoom": 3}')
    assert not of_type(parts, ReplyTool)
    assert spoken(parts) == "One moment. "


async def test_a_tool_of_the_client_beside_one_of_ours_has_no_result_yet() -> None:
    agent = desk()

    @agent.tool
    async def book() -> str:
        return "booked"

    parts = await parts_of(agent, request("show_map\nbook", tools=[{"name": "show_map"}]))
    assert spoken(parts) == "One moment. Results: booked, (no result)"


async def test_a_direct_call_returns_what_the_function_returns_and_is_on_record() -> None:
    agent = TextAgent("desk")

    @agent.tool
    def free(turn: Turn, day: date) -> list[date]:
        turn.state["asked"] = True
        return [day]

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        days = await turn.call("free", day="2026-12-01")
        yield f"{days[0]:%A}"
        try:
            await turn.call("free", day="tomorrow")
        except ToolError as error:
            yield f" {error}"

    parts = await parts_of(agent, request("Hi."))
    assert spoken(parts).startswith("Tuesday free: day:")
    assert [each.output for each in of_type(parts, ReplyTool)][:2] == [None, '["2026-12-01"]']
    assert of_type(parts, ReplyState)[-1].state == {"asked": True}


async def test_results_of_any_kind_are_text_for_the_model() -> None:
    agent = desk()
    results: dict[str, Any] = {"none": None, "set": {1}, "bytes": b"\xff", "odd": object(), "nan": float("nan")}

    @agent.tool
    async def give(what: str) -> Any:
        return results[what]

    for what in results:
        parts = await parts_of(agent, request(json.dumps({"what": what}).join(["give ", ""])))
        assert isinstance(of_type(parts, ReplyTool)[-1].output, str)
        assert isinstance(parts[-1], ReplyEnd)


async def test_the_hook_sees_each_result_and_may_give_the_model_another_text() -> None:
    agent, seen = desk(), []

    @agent.tool
    async def card() -> str:
        return "4111 1111 1111 1111"

    @agent.tool_result
    async def result(turn: Turn, result: ToolResult | ToolFailed) -> str | None:
        seen.append(type(result).__name__)
        return "a card" if isinstance(result, ToolResult) else None

    parts = await parts_of(agent, request("card\nnone"))
    assert sorted(seen) == ["ToolFailed", "ToolResult"]
    assert "a card" in spoken(parts)
    assert "4111" not in str(parts)


async def test_calls_with_the_same_id_are_told_apart() -> None:
    agent = TextAgent("desk")

    @agent.tool
    async def book() -> str:
        return "booked"

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        if turn.messages[-1]["role"] == "tool":
            yield "Done."
            return
        yield CallTool("book", {}, "same")
        yield CallTool("book", {}, "same")

    ids = [each.call_id for each in of_type(await parts_of(agent, request("Hi.")), ReplyTool)]
    assert len(set(ids)) == 2
