"""HTTP tools against a server that is slow, fails, redirects, answers too much or rubbish."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.conditions import until
from support.tool_endpoint import ToolEndpoint

from antiphon.runtime.tools.definitions import HttpTool
from antiphon.runtime.tools.tool_result import MAX_OUTPUT, ToolResult
from antiphon.runtime.tools.tool_set import ToolSet

pytestmark = pytest.mark.process


@pytest.fixture
async def endpoint() -> AsyncIterator[ToolEndpoint]:
    async with ToolEndpoint().running() as running:
        yield running


async def call(url: str, arguments: str = "{}", environ: dict[str, str] | None = None, **more: Any) -> ToolResult:
    tools = ToolSet([HttpTool.model_validate({"name": "t", "url": url, **more})], environ=environ or {})
    await tools.start()
    try:
        return await tools.call("t", arguments)
    finally:
        await tools.close()


async def test_the_answer_is_the_output_and_the_secret_goes_along(
    endpoint: ToolEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    headers = {"Authorization": "Bearer env:TOKEN"}
    result = await call(
        f"{endpoint.url}/tables", '{"day": "Monday"}', {"TOKEN": "t0psecret"}, method="POST", headers=headers
    )
    assert result == ToolResult('{"table": 4}')
    (asked,) = endpoint.asked
    assert asked.line == "POST /tables HTTP/1.1"
    assert asked.body == b'{"day": "Monday"}'
    assert asked.headers["authorization"] == "bearer t0psecret"
    assert "t0psecret" not in caplog.text


async def test_a_late_answer_is_a_failure_in_its_time(endpoint: ToolEndpoint) -> None:
    result = await call(f"{endpoint.url}/slow", timeout=0.2)
    assert result.failed
    assert result.output.startswith("no result within 0.2 s")


@pytest.mark.parametrize("path", ["long", "endless"])
async def test_a_long_answer_is_cut(endpoint: ToolEndpoint, path: str) -> None:
    result = await call(f"{endpoint.url}/{path}")
    assert not result.failed
    assert len(result.output) == MAX_OUTPUT
    assert result.output.endswith("(cut here: it is longer than what is read of it)")


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("rubbish", "the connection has failed"),
        ("cut", "the connection has failed"),
        ("picture", "the answer is image/png, which is no text"),
        ("zipped", "compressed"),
        ("missing", "status 404: no such order"),
        ("round", "redirects more than 3 times"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_that_says_why(endpoint: ToolEndpoint, path: str, named: str) -> None:
    result = await call(f"{endpoint.url}/{path}", retries=0)
    assert result.failed
    assert named in result.output


async def test_a_redirect_to_another_host_is_not_followed(endpoint: ToolEndpoint) -> None:
    async with ToolEndpoint().running() as other:
        endpoint.elsewhere = f"{other.url}/inside"
        result = await call(f"{endpoint.url}/elsewhere", headers={"X-Key": "k"})
        assert result.failed
        assert "redirects elsewhere" in result.output
        assert not other.asked


async def test_a_redirect_within_the_host_is_followed_with_its_body(endpoint: ToolEndpoint) -> None:
    result = await call(f"{endpoint.url}/moved", '{"a": 1}', method="POST")
    assert result == ToolResult('{"table": 4}')
    assert endpoint.asked[-1].line == "POST /here HTTP/1.1"
    assert endpoint.asked[-1].body == b'{"a": 1}'


async def test_a_busy_server_is_asked_again(endpoint: ToolEndpoint) -> None:
    endpoint.failures = 2
    assert await call(f"{endpoint.url}/busy") == ToolResult('{"table": 4}')
    assert len(endpoint.asked) == 3


async def test_a_post_is_sent_again_only_where_the_operator_says_so(endpoint: ToolEndpoint) -> None:
    endpoint.failures = 1
    result = await call(f"{endpoint.url}/busy", method="POST")
    assert result == ToolResult("status 503", failed=True)
    assert len(endpoint.asked) == 1
    endpoint.failures = 1
    assert not (await call(f"{endpoint.url}/busy", method="POST", retry_unsafe=True)).failed


async def test_arguments_that_don_t_fit_are_not_sent(endpoint: ToolEndpoint) -> None:
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    result = await call(f"{endpoint.url}/tables", '{"n": "many"}', parameters=parameters)
    assert result == ToolResult('n: "many" is not of type "integer"', failed=True)
    assert not endpoint.asked


async def test_no_cookie_of_one_call_goes_to_the_next(endpoint: ToolEndpoint) -> None:
    tools = ToolSet([HttpTool(name="t", url=f"{endpoint.url}/tables")])
    await tools.start()
    await tools.call("t", "{}")
    await tools.call("t", "{}")
    await tools.close()
    assert [("cookie" in asked.headers) for asked in endpoint.asked] == [False, False]


async def test_a_cancelled_call_leaves_the_set_usable(endpoint: ToolEndpoint) -> None:
    tools = ToolSet([HttpTool(name="t", url=f"{endpoint.url}/tables"), HttpTool(name="s", url=f"{endpoint.url}/slow")])
    await tools.start()
    slow = asyncio.create_task(tools.call("s", "{}"))
    await until(lambda: endpoint.asked)
    slow.cancel()
    assert await tools.call("t", "{}") == ToolResult('{"table": 4}')
    await tools.close()
    assert (await tools.call("t", "{}")).failed


async def test_a_tool_that_was_never_there_is_named() -> None:
    tools = ToolSet([HttpTool(name="t", url="http://127.0.0.1:1/")])
    assert await tools.call("u", "{}") == ToolResult("there is no tool 'u'; there are: t", failed=True)
