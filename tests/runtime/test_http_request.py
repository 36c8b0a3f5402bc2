"""The request that arguments of a model make: they fill the places left open, and no other."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.runtime.tools.arguments import ArgumentsError, ArgumentsSchema, SchemaError
from antiphon.runtime.tools.definitions import HttpTool
from antiphon.runtime.tools.http_request import request_of

pytestmark = pytest.mark.pure

PATTERN = "^(a|aa|a?b?)+$(?!x)"
"""Takes for ever where it is matched by trying all ways."""
TEXTS = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]}


def tool(url: str, method: str = "GET", **more: Any) -> HttpTool:
    return HttpTool.model_validate({"name": "t", "url": url, "method": method, "parameters": TEXTS, **more})


def test_arguments_that_the_url_does_not_name_go_into_the_query_of_a_get() -> None:
    request = request_of(tool("https://x.example/o/{a}?v=1"), {"a": "ä/ü", "b": "1 & 2", "c": [1, True], "d": None})
    assert request.url == "https://x.example/o/%C3%A4%2F%C3%BC?v=1&b=1+%26+2&c=1&c=true"
    assert request.content is None


def test_arguments_that_the_url_does_not_name_go_into_the_body_of_a_post() -> None:
    request = request_of(tool("https://x.example/o/{a}", "POST"), {"a": 4, "b": {"c": ["ü"]}})
    assert (request.method, request.url) == ("POST", "https://x.example/o/4")
    assert request.content == '{"b": {"c": ["ü"]}}'.encode()


def test_arguments_of_a_post_may_go_into_the_query() -> None:
    request = request_of(tool("https://x.example/o", "POST", body="query"), {"a": 1, "b": 2})
    assert (request.url, request.content) == ("https://x.example/o?a=1&b=2", None)


def test_a_placeholder_in_the_query_is_encoded() -> None:
    request = request_of(tool("https://x.example/o?q={a}&r={b}"), {"a": "1&admin=1#", "b": "?"})
    assert request.url == "https://x.example/o?q=1%26admin%3D1%23&r=%3F"


@pytest.mark.parametrize("value", ["..", ".", "../admin", "a\\..\\b", "", " ", None, ["a"], {"a": 1}])
def test_a_value_that_would_leave_its_segment_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentsError):
        request_of(tool("https://x.example/o/{a}/x"), {"a": value, "b": 1})


def test_two_values_that_make_a_way_up_together_are_refused() -> None:
    with pytest.raises(ArgumentsError):
        request_of(tool("https://x.example/o/.{a}/x"), {"a": ".x".removesuffix("x"), "b": 1})


FIXED = tool("https://x.example:8443/o/{a}/end?q={a}")


@settings(max_examples=60, deadline=None)
@given(a=st.text(), b=st.text() | st.integers() | st.floats() | st.lists(st.text()))
def test_no_arguments_change_where_a_request_goes(a: str, b: Any) -> None:
    try:
        request = request_of(FIXED, {"a": a, "b": b})
    except ArgumentsError:
        return
    parts = urlsplit(request.url)
    assert (parts.scheme, parts.netloc) == ("https", "x.example:8443")
    assert parts.path.startswith("/o/")
    assert parts.path.endswith("/end")
    assert parts.path.count("/") == 3
    assert not parts.fragment
    request.url.encode("ascii")


def test_a_url_that_gets_too_long_is_refused() -> None:
    with pytest.raises(ArgumentsError, match="too long for a URL"):
        request_of(tool("https://x.example/{a}"), {"a": "x" * 9000, "b": 1})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("{", "no JSON"),
        ("[1]", "a JSON object"),
        ('{"n": "x"}', 'n: "x" is not of type "integer"'),
        ("{}", '"n" is a required property'),
        ("[" * 60_000, "no JSON"),
        ('{"n": 1, "t": "' + "x" * 70_000 + '"}', "characters"),
        ('{"n": ' + "1" * 5000 + "}", "no JSON"),
    ],
)
def test_arguments_that_don_t_fit_are_named(arguments: str, named: str) -> None:
    schema = ArgumentsSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    with pytest.raises(ArgumentsError, match=named):
        schema.read(arguments)


def test_no_arguments_are_an_empty_object() -> None:
    assert ArgumentsSchema({"type": "object"}).read(" ") == {}


@pytest.mark.timeout(2)
def test_a_stranger_s_pattern_takes_no_time() -> None:
    schema = ArgumentsSchema(
        {"type": "object", "properties": {"t": {"type": "string", "pattern": "^(a|aa|a?b?)+$(?!x)"}}}
    )
    with pytest.raises(ArgumentsError):
        schema.read('{"t": "' + "a" * 30_000 + '!"}')


def test_nothing_is_fetched_for_a_schema() -> None:
    with pytest.raises(SchemaError, match="disabled"):
        ArgumentsSchema({"$ref": "http://127.0.0.1:1/schema.json"})
