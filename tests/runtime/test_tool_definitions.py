"""What an operator writes down of tools is checked, and what is wrong is named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from antiphon.runtime.tools.definitions import HttpTool, McpServer, ToolDefinitionError, secret_headers
from antiphon.runtime.tools.tool_set import ToolSet

pytestmark = pytest.mark.pure

ORDER = {"type": "object", "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}, "required": ["id"]}
HTTP = {"name": "order", "url": "https://api.example.com/orders/{id}", "parameters": ORDER}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "an order"}, "name"),
        ({"url": "ftp://api.example.com/"}, "expected one such as https://"),
        ({"url": "https://{id}.example.com/"}, "can't be part of the host"),
        ({"url": "https://{id}/"}, "can't be part of the host"),
        ({"url": "https://user:secret@example.com/"}, "use headers, with env:NAME"),
        ({"url": "https://example.com/{name}"}, "{name} is no property of parameters; there are: id, n"),
        ({"url": "https://example.com/{n}"}, "put it into parameters.required"),
        ({"url": "https://example.com/{}"}, "a brace that belongs to no"),
        ({"url": "https://example.com/#part"}, "is never sent"),
        ({"url": "https://example.com/a b"}, "encode it"),
        ({"headers": {"Host": "other.example.com"}}, "leave it out"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "no line"),
        ({"headers": {"X A": "a"}}, "can't be the name of a header"),
        ({"body": "json"}, "a GET has no body"),
        ({"parameters": {"type": "string"}}, "are an object"),
        ({"timeout": 0}, "timeout"),
        ({"retrys": 3}, "retrys"),
    ],
)
def test_a_mistake_in_an_http_tool_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as error:
        HttpTool.model_validate({**HTTP, **change})
    assert named in str(error.value)
    assert "secret" not in str(error.value).replace("input_value", "").partition("[type=")[0]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "either a command or a url"),
        ({"command": "a", "url": "http://b/"}, "either a command or a url"),
        ({"command": "a", "headers": {"X-A": "b"}}, "headers belong to a url"),
        ({"url": "http://b/", "env": {"A": "b"}}, "belong to a command"),
        ({"url": "file:///etc/passwd"}, "expected one such as https://"),
        ({"command": "a", "env": {"A=B": "c"}}, "can't be a variable"),
    ],
)
def test_a_mistake_in_an_mcp_server_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        McpServer.model_validate({"name": "files", **given})


def test_a_secret_comes_from_the_environment_also_behind_a_word() -> None:
    headers = {"Authorization": "Bearer env:TOKEN", "X-Key": "env:KEY", "X-Plain": "environment"}
    found = secret_headers(headers, {"TOKEN": "t0p", "KEY": "k3y"}, "tool order")
    assert found == {"Authorization": "Bearer t0p", "X-Key": "k3y", "X-Plain": "environment"}


def test_a_secret_that_is_not_there_is_named_with_its_tool() -> None:
    tool = HttpTool.model_validate({**HTTP, "headers": {"X-Key": "env:KEY"}})
    with pytest.raises(ToolDefinitionError, match="tool order: header X-Key: the environment has no KEY"):
        ToolSet([tool], environ={})


def test_a_secret_that_can_t_be_a_header_is_not_shown() -> None:
    with pytest.raises(ToolDefinitionError) as error:
        secret_headers({"X-Key": "env:KEY"}, {"KEY": "k3y\nX-B: c"}, "tool order")
    assert "k3y" not in str(error.value)


def test_two_tools_of_one_name_are_refused() -> None:
    tool = HttpTool.model_validate(HTTP)
    with pytest.raises(ToolDefinitionError, match="two HTTP tools with the name order"):
        ToolSet([tool, tool])
    server = McpServer(name="files", command="a")
    with pytest.raises(ToolDefinitionError, match="two MCP servers with the name files"):
        ToolSet(mcp=[server, server])


def test_parameters_that_are_no_json_schema_are_refused() -> None:
    wrong = {**HTTP, "url": "https://a.example/", "parameters": {"type": "object", "required": "id"}}
    with pytest.raises(ToolDefinitionError, match="tool order: parameters are no JSON Schema"):
        ToolSet([HttpTool.model_validate(wrong)])


def test_the_schemas_are_functions_of_the_realtime_protocol() -> None:
    assert ToolSet([HttpTool.model_validate(HTTP)]).schemas() == [
        {"type": "function", "name": "order", "description": "", "parameters": ORDER}
    ]
