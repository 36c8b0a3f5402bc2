"""Tools that the agent runs itself: in parallel, late, failing, interrupted, never offered; what is heard of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

import pytest
from support.models.plain_chat_server import chat_server
from support.tool_endpoint import ToolEndpoint
from support.virtual_conversation import Agent, Part, VirtualConversation

from antiphon.inference_bridge.agents import FunctionCall, ReplyPart, Request, ToolRun, Usage
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.agents.profile import FailureSentences
from antiphon.inference_bridge.agents.tool_using import INTERRUPTED, MAX_ROUNDS, ToolUsingAgent
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.realtime_protocol.conversation import message
from antiphon.runtime.tools.definitions import HttpTool
from antiphon.runtime.tools.tool_result import ToolResult
from antiphon.runtime.tools.tool_set import ToolSet

NOW = datetime(2026, 11, 22, 10, 30)
CLIENT_TOOL = {"type": "function", "name": "show", "description": "", "parameters": {"type": "object"}}


class ScriptedTools:
    """`slow` takes three seconds, `late` fails after ten, the rest is there at once."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.ended: list[str] = []

    def schemas(self) -> list[dict[str, Any]]:
        return [{"type": "function", "name": name, "parameters": {}} for name in ("look", "slow", "late")]

    async def call(self, name: str, arguments: str) -> ToolResult:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep({"slow": 3, "late": 10}.get(name, 0.1))
            if name not in ("look", "slow"):
                return ToolResult(f"no result of {name}", failed=True)
            return ToolResult(f"{name} gave {arguments}")
        finally:
            self.running -= 1
            self.ended.append(name)


def call(name: str, number: int = 1, arguments: str = "{}") -> FunctionCall:
    return FunctionCall(f"call_{number}", name, arguments)


def asking(*items: dict[str, Any], **settings: Any) -> Request:
    user = message("item_user", "user", "completed", {"type": "input_text", "text": "Is there a table?"})
    return Request("Is there a table?", NOW, [*items, user], "Be brief.", **settings)


def using(*answers: Sequence[Part], patience_ms: int = 0) -> tuple[ToolUsingAgent, Agent, ScriptedTools]:
    inner, tools = Agent(list(answers)), ScriptedTools()
    return ToolUsingAgent(inner, tools, FailureSentences(), patience_ms), inner, tools


async def parts_of(agent: ToolUsingAgent, request: Request) -> list[ReplyPart]:
    return [part async for part in agent.reply(request)]


def spoken(parts: list[ReplyPart]) -> str:
    return " ".join("".join(part for part in parts if isinstance(part, str)).split())


def told(request: Request) -> list[tuple[str, str]]:
    """Calls and outputs that the model is shown."""
    kinds = {"function_call": "name", "function_call_output": "output"}
    return [(item["type"], item[kinds[item["type"]]]) for item in request.items if item["type"] in kinds]


@pytest.mark.virtual
async def test_the_model_is_told_what_the_tool_gave_and_answers() -> None:
    agent, inner, _ = using(["Let me see.", call("look", arguments='{"at": 1}')], ["Yes, there is."])
    parts = await parts_of(agent, asking(tools=[CLIENT_TOOL]))
    assert spoken(parts) == "Let me see. Yes, there is."
    runs = [part for part in parts if isinstance(part, ToolRun)]
    assert [(run.output, run.failed) for run in runs] == [(None, False), ('look gave {"at": 1}', False)]
    assert [tool["name"] for tool in inner.requests[0].tools] == ["look", "slow", "late", "show"]
    assert told(inner.requests[1]) == [("function_call", "look"), ("function_call_output", 'look gave {"at": 1}')]


@pytest.mark.virtual
async def test_words_before_a_tool_end_a_clause_so_that_they_are_heard_meanwhile() -> None:
    agent, _, _ = using(["Let me see.", call("slow")], ["Yes."])
    parts = await parts_of(agent, asking())
    assert parts[:3] == ["Let me see.", "\n", ToolRun("call_1", "slow", "{}")]


@pytest.mark.virtual
async def test_tools_run_side_by_side_and_begin_before_the_answer_has_ended() -> None:
    agent, _, tools = using([call("slow", 1), call("slow", 2), 2.0], ["Done."])
    began = asyncio.get_running_loop().time()
    await parts_of(agent, asking())
    assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)
    assert tools.most == 2


@pytest.mark.virtual
async def test_of_both_kinds_ours_runs_and_the_client_answers_the_other() -> None:
    agent, inner, _ = using([call("look", 1), call("show", 2)], ["There it is."])
    parts = await parts_of(agent, asking(tools=[CLIENT_TOOL]))
    assert [part for part in parts if isinstance(part, FunctionCall)] == [call("show", 2)]
    assert len(inner.requests) == 1
    shown = {"id": "c", "type": "function_call", "call_id": "call_2", "name": "show", "arguments": "{}"}
    output = {"id": "o", "type": "function_call_output", "call_id": "call_2", "output": "shown"}
    await parts_of(agent, Request("", NOW, [*asking().items, shown, output], tools=[CLIENT_TOOL]))
    assert told(inner.requests[1]) == [
        ("function_call", "look"),
        ("function_call_output", "look gave {}"),
        ("function_call", "show"),
        ("function_call_output", "shown"),
    ]


@pytest.mark.virtual
@pytest.mark.parametrize("name", ["late", "nowhere"])
async def test_a_tool_that_fails_or_was_never_there_is_heard_when_the_model_says_nothing(name: str) -> None:
    agent, inner, _ = using([call(name)], [])
    assert spoken(await parts_of(agent, asking(language="de"))) == phrase("tool_failed", "de")
    assert told(inner.requests[1])[1] == ("function_call_output", f"no result of {name}")


@pytest.mark.virtual
async def test_the_model_s_own_words_stand_in_place_of_the_sentence() -> None:
    agent, _, _ = using([call("late")], ["The kitchen does not answer."])
    assert spoken(await parts_of(agent, asking())) == "The kitchen does not answer."


@pytest.mark.virtual
async def test_the_operator_s_sentence_is_said() -> None:
    inner = Agent([[call("late")], []])
    agent = ToolUsingAgent(inner, ScriptedTools(), FailureSentences(tool_failed="The desk is closed."))
    assert spoken(await parts_of(agent, asking())) == "The desk is closed."


@pytest.mark.virtual
async def test_an_interruption_ends_the_tools_and_the_model_learns_of_it_in_the_next_turn() -> None:
    agent, inner, tools = using(["One second.", call("look", 1), call("slow", 2)], ["Sorry. Again?"])
    async with aclosing(agent.reply(asking())) as reply:
        async for part in reply:
            if isinstance(part, ToolRun) and part.output is not None:
                break  # of `look`; `slow` is at work
    assert sorted(tools.ended) == ["look", "slow"]
    assert tools.running == 0
    agent.played("")
    answer = message("item_answer", "assistant", "completed", {"type": "output_text", "text": "One"})
    user = message("item_next", "user", "completed", {"type": "input_text", "text": "No, wait."})
    await parts_of(agent, Request("No, wait.", NOW, [*asking().items, answer, user]))
    assert told(inner.requests[1])[2:] == [
        ("function_call_output", "look gave {}"),
        ("function_call_output", INTERRUPTED),
    ]
    assert [item["id"] for item in inner.requests[1].items if item["type"] == "message"] == [
        "item_user",
        "item_answer",
        "item_next",
    ]


@pytest.mark.virtual
async def test_a_model_that_calls_for_ever_is_stopped_and_the_caller_hears_it() -> None:
    agent, inner, _ = using([call("look")])
    assert spoken(await parts_of(agent, asking())) == phrase("tool_failed")
    assert len(inner.requests) == MAX_ROUNDS
    assert inner.requests[-1].tool_choice == "none"


@pytest.mark.virtual
async def test_a_call_that_was_demanded_is_demanded_once() -> None:
    agent, inner, _ = using([call("look")], ["Yes."])
    await parts_of(agent, asking(tool_choice="required"))
    assert [request.tool_choice for request in inner.requests] == ["required", "auto"]


@pytest.mark.virtual
async def test_a_slow_tool_behind_some_words_gets_a_sign_of_patience_once() -> None:
    agent, _, _ = using(["Let me see.", call("late")], ["It is late."], patience_ms=2500)
    assert spoken(await parts_of(agent, asking())) == f"Let me see. {phrase('patience')} It is late."


@pytest.mark.virtual
async def test_the_tokens_of_all_rounds_are_counted_together() -> None:
    agent, _, _ = using([call("look"), Usage(10, 2)], ["Yes.", Usage(20, 3)])
    parts = await parts_of(agent, asking())
    assert [part for part in parts if isinstance(part, Usage)][-1] == Usage(30, 5)


@pytest.mark.virtual
async def test_another_process_knows_what_was_run() -> None:
    agent, _, _ = using([call("look")], ["Yes."])
    await parts_of(agent, asking())
    other, inner, _ = using(["Again."])
    other.restore(agent.saved())
    await parts_of(other, asking())
    assert told(inner.requests[0]) == [("function_call", "look"), ("function_call_output", "look gave {}")]


@pytest.mark.virtual
async def test_a_guess_of_a_turn_runs_no_tool() -> None:
    agent, inner, _ = using([call("look")])
    with pytest.raises(ValueError, match="guess"):
        await parts_of(agent, asking(speculative=True))
    assert not inner.requests


@pytest.mark.process
async def test_a_chat_server_s_call_is_asked_of_the_endpoint_and_its_answer_told() -> None:
    async with chat_server() as chat, ToolEndpoint().running() as endpoint, client_for(chat.url, "") as client:
        tools = ToolSet([HttpTool(name="tables", url=f"{endpoint.url}/tables")])
        await tools.start()
        agent = ToolUsingAgent(LanguageModel(client, "tiny", 5.0), tools)
        piece = {"index": 0, "id": "call_7", "function": {"name": "tables", "arguments": "{}"}}
        chat.pieces = []
        chat.chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}]}]
        parts: list[ReplyPart] = []
        async for part in agent.reply(asking()):
            if isinstance(part, ToolRun) and part.output is not None:
                chat.pieces, chat.chunks = ["Table four."], []
            parts.append(part)
        await tools.close()
        assert spoken(parts) == "Table four."
        assert chat.requests[1]["messages"][-1] == {
            "role": "tool",
            "tool_call_id": "call_7",
            "content": '{"table": 4}',
        }


@pytest.mark.process
async def test_a_function_that_was_never_offered_is_told_to_the_model_and_heard() -> None:
    async with chat_server() as chat, client_for(chat.url, "") as client:
        piece = {"index": 0, "id": "call_7", "function": {"name": "tables", "arguments": "{}"}}
        chat.pieces = ["Let me look."]
        chat.chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}]}]
        agent = LanguageModel(client, "tiny", 5.0)
        said: list[ReplyPart] = []
        async for part in agent.reply(asking(tools=[CLIENT_TOOL])):
            said.append(part)
            chat.pieces = []
        assert spoken(said) == f"Let me look. {phrase('tool_failed')}"
        tool = chat.requests[1]["messages"][-1]
        assert tool["content"] == "there is no function tables; there are: show"


@pytest.mark.virtual
async def test_a_caller_who_waits_for_a_tool_hears_a_sign_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = ToolRun("call_1", "slow", "{}")
    answer: list[Part] = [begun, 6.0, ToolRun("call_1", "slow", "{}", "sunny"), "It is sunny."]
    conversation = VirtualConversation(monkeypatch, [answer])
    await conversation.says("How is the weather?")
    await asyncio.sleep(5)
    letters = sum(letter.isalnum() for letter in phrase("patience"))
    assert conversation.spoken_ms() == 60 * letters
    await asyncio.sleep(5)
    assert conversation.ends == [("completed", "It is sunny.")]
    await conversation.close()


@pytest.mark.virtual
async def test_words_before_a_slow_tool_are_played_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, _, _ = using(["Let me see.", call("late")], ["It is late."])
    parts = await parts_of(agent, asking())
    waits: list[Part] = [10.0 if part == parts[2] else part for part in parts]
    conversation = VirtualConversation(monkeypatch, [waits])
    await conversation.says("Is there a table?")
    await asyncio.sleep(4)
    assert conversation.spoken_ms() == 60 * len("Letmesee")
    await conversation.close()
