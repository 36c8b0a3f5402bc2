"""Tools of MCP servers that a client has named, in a conversation in virtual time: events, record, agent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import TypeAdapter
from support.virtual_conversation import VirtualConversation

from antiphon.inference_bridge.agents import FunctionCall, TransferAfterSpeech
from antiphon.inference_bridge.agents.client_mcp import OfferedTool
from antiphon.inference_bridge.realtime_protocol.mcp_tools import McpServerTool
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.runtime.tools.tool_result import ToolResult

pytestmark = pytest.mark.virtual

Start = Callable[..., VirtualConversation]
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
SERVER = McpServerTool(server_label="sums", server_url="https://sums.example.com/mcp")
ADD = FunctionCall("call_1", "add", '{"a": 2, "b": 3}')


class Servers:
    """One server with one tool, which takes 0.2 s."""

    def __init__(self, asks_first: bool = False, failed: bool = False) -> None:
        self.asks_first, self.failed = asks_first, failed
        self.called: list[tuple[str, str, str]] = []

    def offered(self, tools: Sequence[dict[str, Any]]) -> list[OfferedTool]:
        if all(tool.get("type") != "mcp" for tool in tools):
            return []
        return [OfferedTool("add", "sums", "add", "Adds.", {"type": "object"}, self.asks_first)]

    async def call(self, label: str, name: str, arguments: str) -> ToolResult:
        self.called.append((label, name, arguments))
        await asyncio.sleep(0.2)
        return ToolResult("out of order" if self.failed else "5", self.failed)


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    made: list[VirtualConversation] = []

    def make(servers: Servers, *answers: Any) -> VirtualConversation:
        settings = SessionSettings(tools=(SERVER,))
        made.append(VirtualConversation(monkeypatch, list(answers), settings, mcp=servers))
        return made[-1]

    yield make
    for call in made:
        all_published(call)
        await call.close()


def all_published(call: VirtualConversation) -> None:
    for event in call.events:
        if not event["type"].startswith("antiphon."):
            assert type(SERVER_EVENT.validate_python(event)).__name__ != "dict", event


def outputs(call: VirtualConversation) -> list[list[dict[str, Any]]]:
    return [event["response"]["output"] for event in call.of("response.done")]


def given_to_agent(call: VirtualConversation) -> list[str]:
    """The outputs of functions in the newest request."""
    return [item["output"] for item in call.agent.requests[-1].items if item["type"] == "function_call_output"]


async def test_a_call_is_an_item_of_its_response_and_the_model_goes_on(start: Start) -> None:
    servers = Servers()
    call = start(servers, [ADD], ["Five."], ["Yes."])
    await call.says("what is two and three")
    await asyncio.sleep(3)
    ((called, said),) = outputs(call)
    assert (called["type"], called["name"], called["server_label"], called["output"]) == (
        "mcp_call",
        "add",
        "sums",
        "5",
    )
    assert said["content"][0]["transcript"] == "Five."
    assert [event["type"] for event in call.events if "mcp_call" in event["type"]] == [
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
    ]
    assert servers.called == [("sums", "add", ADD.arguments)]
    assert [tool["name"] for tool in call.agent.requests[0].tools] == ["add"], "to an agent it is a function"
    await call.says("are you sure")
    await asyncio.sleep(2)
    assert given_to_agent(call) == ["5"], "it knows in later turns what was done"


async def test_a_call_that_fails_has_an_error_and_the_model_learns_it(start: Start) -> None:
    call = start(Servers(failed=True), [ADD], ["I can't add now."])
    await call.says("what is two and three")
    await asyncio.sleep(3)
    ((called, _),) = outputs(call)
    assert called["error"] == {"type": "tool_execution_error", "message": "out of order"}
    assert call.of("response.mcp_call.failed")


async def test_a_call_that_is_interrupted_has_failed_and_is_known(start: Start) -> None:
    call = start(Servers(), ["Let me add that up for you, one moment. ", ADD], ["Stopped."])
    await call.says("what is two and three")
    await asyncio.sleep(0.2)
    call.send(type="response.cancel")
    await asyncio.sleep(2)
    done = call.of("response.done")[0]["response"]
    assert done["status"] == "cancelled"
    if call.of("response.mcp_call.in_progress"):
        assert call.of("response.mcp_call.failed", "response.mcp_call.completed")


@pytest.mark.parametrize("approve", [True, False])
async def test_the_client_is_asked_first_and_its_word_counts(start: Start, approve: bool) -> None:
    servers = Servers(asks_first=True)
    call = start(servers, ["May I? ", ADD], ["So be it."])
    await call.says("what is two and three")
    await asyncio.sleep(3)
    said, asked = outputs(call)[0]
    assert (said["type"], asked["type"], asked["arguments"]) == ("message", "mcp_approval_request", ADD.arguments)
    assert not servers.called
    answer = {"type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": approve, "reason": "no!"}
    call.send(type="conversation.item.create", item=answer)
    await asyncio.sleep(3)
    assert [item["type"] for item in outputs(call)[1]] == (["mcp_call", "message"] if approve else ["message"])
    assert len(servers.called) == int(approve)
    (given,) = given_to_agent(call)
    assert given == "5" if approve else "no!" in json.loads(given)["error"]
    call.send(type="conversation.item.create", item=answer)
    assert call.of("error")[-1]["error"]["param"] == "item.approval_request_id", "it was answered already"


async def test_an_unanswered_question_is_known_to_the_agent(start: Start) -> None:
    call = start(Servers(asks_first=True), [ADD], ["Still waiting."])
    await call.says("what is two and three")
    await asyncio.sleep(1)
    await call.says("well")
    await asyncio.sleep(2)
    assert "not yet said" in given_to_agent(call)[0]


async def test_the_last_words_before_a_transfer_have_their_events_before_it(start: Start) -> None:
    call = start(Servers(), ["I connect you.", TransferAfterSpeech("billing")])
    await call.says("billing please")
    await asyncio.sleep(3)
    assert call.of("response.done")
    ((at, agent),) = call.bus.transfers
    assert agent == "billing"
    assert call.events_sent_at
    assert call.events_sent_at[0] <= at
