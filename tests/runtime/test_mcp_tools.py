"""MCP servers as tools, over both transports: the official SDK's own server in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.conditions import until, wait_until
from support.processes.regions import free_ports
from support.tool_endpoint import ToolEndpoint

from antiphon.runtime.tools.definitions import McpServer
from antiphon.runtime.tools.tool_result import MAX_OUTPUT, ToolResult
from antiphon.runtime.tools.tool_set import ToolSet

pytestmark = pytest.mark.process(timeout=150, reason="each server imports the SDK, which takes 1.5 s of a processor")

TESTS = str(Path(__file__).parents[1])
COMMAND = {"command": sys.executable, "args": ("-m", "support.mcp_server", "stdio"), "env": {"PYTHONPATH": TESTS}}


@asynccontextmanager
async def tool_set(*servers: McpServer) -> AsyncIterator[ToolSet]:
    tools = ToolSet(mcp=servers)
    await tools.start(120)
    try:
        yield tools
    finally:
        await tools.close()


def names(tools: ToolSet) -> list[str]:
    return [schema["name"] for schema in tools.schemas()]


async def until_it_adds(tools: ToolSet) -> None:
    while (await tools.call("add", '{"a": 1, "b": 2}')).failed:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


def children() -> set[int]:
    """Processes whose parent we are."""
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for each in found for pid in each.read_text().split()}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "support.mcp_server", "http", str(port)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": TESTS}, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: _answers(port), 120)
        yield f"http://127.0.0.1:{port}/mcp"
        process.kill()


def _answers(port: int) -> bool:
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


async def test_a_command_s_tools_answer_without_our_environment_and_end_with_the_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTIPHON_LLM_API_KEY", "t0psecret")
    before = children()
    async with tool_set(McpServer.model_validate({"name": "s", **COMMAND, "allow": ("add", "environment")})) as tools:
        assert names(tools) == ["add", "environment"]
        assert await tools.call("add", '{"a": 1, "b": 2}') == ToolResult("3")
        assert (await tools.call("add", '{"a": "x", "b": 2}')).output == 'a: "x" is not of type "integer"'
        assert await tools.call("environment", '{"name": "ANTIPHON_LLM_API_KEY"}') == ToolResult("(not set)")
        assert len(children() - before) == 1
    await until(lambda: children() <= before)


async def test_a_server_that_dies_is_started_again_and_its_tools_fail_meanwhile() -> None:
    async with tool_set(McpServer.model_validate({"name": "s", **COMMAND})) as tools:
        assert await tools.call("die", "{}") == ToolResult("the server has ended before it gave a result", failed=True)
        meanwhile = await tools.call("add", '{"a": 1, "b": 2}')
        assert meanwhile.failed
        assert "add" in names(tools)
        await until_it_adds(tools)


@pytest.mark.nightly
async def test_a_server_that_hangs_is_started_again() -> None:
    async with tool_set(McpServer.model_validate({"name": "s", **COMMAND, "timeout": 0.5})) as tools:
        assert (await tools.call("hang", "{}")).output.startswith("no result within 0.5 s")
        await until_it_adds(tools)


async def test_http_gives_the_same_tools(url: str) -> None:
    async with tool_set(McpServer(name="s", url=url, timeout=5)) as tools:
        assert await tools.call("add", '{"a": 1, "b": 2}') == ToolResult("3")
        failed = await tools.call("fail", "{}")
        assert failed.failed
        long = await tools.call("long", "{}")
        assert len(long.output) == MAX_OUTPUT


async def test_a_slow_tool_is_late_and_the_others_go_on(url: str) -> None:
    async with tool_set(McpServer(name="s", url=url, timeout=0.3)) as tools:
        assert (await tools.call("slow", '{"seconds": 9}')).output.startswith("no result within 0.3 s")
        assert await tools.call("add", '{"a": 1, "b": 2}') == ToolResult("3")


async def test_a_tool_that_the_server_learns_is_offered(url: str) -> None:
    async with tool_set(McpServer(name="s", url=url)) as tools:
        await until(lambda: tools.schemas())
        assert await tools.call("learn", "{}") == ToolResult("added")
        await until(lambda: "learned" in names(tools))
        assert await tools.call("learned", "{}") == ToolResult("new")


async def test_names_have_the_server_in_front_only_where_two_have_the_same(url: str) -> None:
    one, other = McpServer(name="a", url=url, allow=("add",)), McpServer(name="b", url=url, allow=("add", "fail"))
    async with tool_set(one, other) as tools:
        assert names(tools) == ["a_add", "b_add", "fail"]
        assert await tools.call("b_add", '{"a": 1, "b": 2}') == ToolResult("3")


@pytest.mark.parametrize(
    "script",
    [
        "import sys\nwhile True: sys.stdout.write('x' * 65536)",
        "import sys\nwhile True: sys.stdout.write('rubbish\\n')",
        "import sys\nprint('no', file=sys.stderr)",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('[]', flush=True)",
    ],
)
async def test_a_command_that_is_no_server_fails_and_leaves_nothing_behind(script: str) -> None:
    before = children()
    async with tool_set(McpServer(name="s", command=sys.executable, args=("-c", script))) as tools:
        assert tools.schemas() == []
    await until(lambda: children() <= before)


async def test_a_command_that_is_not_there_fails_with_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async with tool_set(McpServer(name="s", command="/nowhere/server")) as tools:
        assert tools.schemas() == []
    assert "MCP server s can't be used now, its tools fail: FileNotFoundError" in caplog.text


async def test_a_url_that_is_no_server_fails(caplog: pytest.LogCaptureFixture) -> None:
    async with ToolEndpoint().running() as endpoint, tool_set(McpServer(name="s", url=f"{endpoint.url}/mcp")) as tools:
        assert tools.schemas() == []
    assert "MCP server s can't be used now" in caplog.text


async def test_the_clock_of_the_examples_tells_the_time() -> None:
    examples = Path(TESTS).parent / "examples"
    (table,) = tomllib.loads((examples / "agents" / "clock.toml").read_text())["tools"]["mcp"]
    used = {"command": sys.executable, "args": (str(examples / "mcp_clock_server.py"),), "timeout": 30}
    async with tool_set(McpServer.model_validate({**table, **used})) as tools:
        assert names(tools) == ["time_in"]
        told = await tools.call("time_in", '{"zone": "Asia/Tokyo"}')
    assert re.search(r"[0-2][0-9]:[0-5][0-9]", told.output), told
