"""MCP servers that a client names in its session: listed, called, approved, refused."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import TypeAdapter
from support.conditions import wait_until
from support.models.plain_chat_server import ChatServer, chat_server
from support.processes.bridge import StartBridge, agent_is_there
from support.processes.regions import free_ports

from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = [
    pytest.mark.models,
    pytest.mark.process(timeout=150, reason="bridge and server import the SDK, which takes 1.5 s of a processor"),
]
TESTS = str(Path(__file__).parents[1])
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
SECRET = "t0psecret-of-the-client"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server made with the official SDK."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "support.mcp_server", "http", str(port)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": TESTS}, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text(), 120)
        yield port
        process.kill()


@asynccontextmanager
async def conversation(
    start_bridge: StartBridge, client: Client, hosts: str
) -> AsyncIterator[tuple[ChatServer, FakeTransceiver]]:
    async with chat_server() as chat:
        settings = {"greeting": "none", "agent_name": "clever", "llm_url": chat.url, "llm_model": "tiny"}
        start_bridge(**settings, mcp_hosts=hosts)
        await agent_is_there(client, "clever")
        async with FakeTransceiver(client, "clever", {"output_modalities": ["text"]}) as call:
            await call.wait_for("session.created")
            yield chat, call


def calls(name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    piece = {"index": 0, "id": "call_1", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": "tool_calls"}]}]


def tool(port: int, **more: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": "sums", "server_url": f"http://127.0.0.1:{port}/mcp", **more}


async def ask(call: FakeTransceiver, text: str) -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await call.send({"type": "conversation.item.create", "item": item})
    await call.send({"type": "response.create"})


def all_published(call: FakeTransceiver) -> None:
    for event in call.events:
        if not event["type"].startswith("antiphon."):
            assert type(SERVER_EVENT.validate_python(event)).__name__ != "dict", event


async def test_the_model_calls_a_tool_of_the_client_s_server_and_the_client_sees_it(
    start_bridge: StartBridge, bus_client: Client, port: int
) -> None:
    async with conversation(start_bridge, bus_client, f"http://127.0.0.1:{port}") as (chat, call):
        tools = [tool(port, allowed_tools=["add", "fail"], require_approval="never", authorization=SECRET)]
        await call.send({"type": "session.update", "session": {"tools": tools}})
        shown = (await call.wait_for("session.updated"))["session"]["tools"]
        assert shown[0]["server_label"] == "sums"
        await call.wait_for("mcp_list_tools.completed")
        listed = (await call.wait_for("conversation.item.done"))["item"]
        assert (listed["type"], [each["name"] for each in listed["tools"]]) == ("mcp_list_tools", ["add", "fail"])
        chat.replies, chat.pieces = [calls("add", {"a": 2, "b": 3})], ["Five."]
        await ask(call, "What is two and three?")
        done = (await call.wait_for("response.done"))["response"]
        called, said = done["output"]
        assert (called["type"], called["server_label"], called["name"]) == ("mcp_call", "sums", "add")
        assert json.loads(called["arguments"]) == {"a": 2, "b": 3}
        assert called["output"] == "5"
        assert said["content"][0]["text"] == "Five."
        order = [event["type"] for event in call.events if event["type"].startswith("response.mcp_call")]
        assert order == [
            "response.mcp_call_arguments.delta",
            "response.mcp_call_arguments.done",
            "response.mcp_call.in_progress",
            "response.mcp_call.completed",
        ]
        assert {each["function"]["name"] for each in chat.requests[0]["tools"]} == {"add", "fail"}
        assert chat.requests[1]["messages"][-1]["content"] == "5"

        chat.replies = [calls("fail", {})]
        await ask(call, "And fail.")
        failed = (await call.wait_for("response.done", 2))["response"]["output"][0]
        assert failed["error"]["type"] == "tool_execution_error"
        assert call.of_type("response.mcp_call.failed")
        assert "5" in [each.get("content") for each in chat.requests[2]["messages"]], "it knows what it has done"
        all_published(call)
        assert SECRET not in json.dumps(call.events)
        js = bus_client.jetstream()
        bucket = await js.key_value("antiphon-leases")
        for key in await bucket.keys():
            assert SECRET.encode() not in ((await bucket.get(key)).value or b"")


async def test_a_call_waits_for_the_approval_of_the_client(
    start_bridge: StartBridge, bus_client: Client, port: int
) -> None:
    async with conversation(start_bridge, bus_client, f"http://127.0.0.1:{port}") as (chat, call):
        await call.send({"type": "session.update", "session": {"tools": [tool(port, allowed_tools=["add"])]}})
        await call.wait_for("mcp_list_tools.completed")
        for number, approve in enumerate((True, False)):
            chat.replies, chat.pieces = [calls("add", {"a": 40, "b": 2 + number})], ["So be it."]
            await ask(call, "Add them.")
            (asked,) = (await call.wait_for("response.done", 2 * number + 1))["response"]["output"]
            assert (asked["type"], asked["name"]) == ("mcp_approval_request", "add")
            answer = {"type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": approve}
            await call.send({"type": "conversation.item.create", "item": answer})
            output = (await call.wait_for("response.done", 2 * number + 2))["response"]["output"]
            assert [item["type"] for item in output] == (["mcp_call", "message"] if approve else ["message"])
            if approve:
                assert (output[0]["output"], output[0]["approval_request_id"]) == ("42", asked["id"])
                assert chat.requests[-1]["messages"][-1]["content"] == "42"
            else:
                assert "does not want" in chat.requests[-1]["messages"][-1]["content"]
            await call.send({"type": "conversation.item.create", "item": answer})
            await call.wait_for("error", number + 1)
        all_published(call)


async def test_a_server_that_is_not_allowed_or_not_there_costs_only_its_own_tools(
    start_bridge: StartBridge, bus_client: Client, port: int
) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        target = f"http://127.0.0.1:{port}/mcp"
        writer.write(f"HTTP/1.1 307 x\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    elsewhere = server.sockets[0].getsockname()[1]
    hosts = f"http://127.0.0.1:{elsewhere},http://localhost.localdomain:{port},http://localhost:{port}"
    async with server, conversation(start_bridge, bus_client, hosts) as (chat, call):
        function = {"type": "function", "name": "look", "parameters": {"type": "object"}}
        tools = [
            tool(port, server_label="other"),
            function,
            tool(elsewhere, server_label="sends_us_on", require_approval="never"),
        ]
        await call.send({"type": "session.update", "session": {"tools": tools}})
        refused = (await call.wait_for("error"))["error"]
        assert (refused["param"], "ANTIPHON_MCP_HOSTS" in refused["message"]) == ("session.tools[0].server_url", True)
        await call.wait_for("mcp_list_tools.failed")
        assert "sends_us_on" in (await call.wait_for("error", 2))["error"]["message"]
        await ask(call, "Hello?")
        await call.wait_for("response.done")
        assert [each["function"]["name"] for each in chat.requests[0]["tools"]] == ["look"]
