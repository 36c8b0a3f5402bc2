"""What is wrong with a text agent's code is told where it is written, with the line and the way out."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from antiphon.agent import Ask, CallTool, Pause, Person, ReplyLimits, Say, TextAgent, Transfer, Turn

pytestmark = pytest.mark.pure


async def generator(turn: Turn) -> AsyncIterator[str]:
    yield turn.text


async def returns(turn: Turn) -> str:
    return turn.text


class Callable_:
    async def __call__(self, turn: Turn) -> AsyncIterator[str]:
        yield turn.text


def plain(turn: Turn) -> str:
    return turn.text


def plain_generator(turn: Turn) -> Any:
    yield turn.text


async def without_parameter() -> AsyncIterator[str]:
    yield ""


async def with_two(turn: Turn, other: int) -> AsyncIterator[str]:
    yield ""


@pytest.mark.parametrize("function", [generator, returns, Callable_(), functools.partial(generator)])
def test_a_stream_or_a_text_is_registered_in_both_forms(function: Callable[..., Any]) -> None:
    assert TextAgent("one").reply(function) is function
    assert TextAgent("two").reply()(function) is function


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (plain, "is `def`: write `async def plain(turn: Turn)`"),
        (plain_generator, "is `def`: write `async def plain_generator(turn: Turn)`"),
        (lambda turn: "", "write `async def reply(turn: Turn)`"),
        (without_parameter, "can't be called with a turn"),
        (with_two, "other"),
        ("reply", "it was given str 'reply'"),
    ],
)
def test_what_can_not_answer_is_refused_at_the_decorator_with_its_line(function: Any, says: str) -> None:
    with pytest.raises(TypeError, match="agent desk: ") as error:
        TextAgent("desk").reply(function)
    assert says in str(error.value)
    if hasattr(function, "__code__"):
        assert f"{__file__}:{function.__code__.co_firstlineno}" in str(error.value)


def test_a_second_function_is_refused_with_the_line_of_the_first() -> None:
    agent = TextAgent("desk")
    agent.reply(generator)
    with pytest.raises(TypeError, match=r"a function for reply already, generator at .*:\d+"):
        agent.reply(returns)
    agent.silence(generator)
    agent.call_started(returns)


def test_hooks_that_no_caller_hears_may_yield_nothing() -> None:
    with pytest.raises(TypeError, match="no caller would hear it"):
        TextAgent("desk").call_ended(generator)
    with pytest.raises(TypeError, match="can't be called with a turn and a result"):
        TextAgent("desk").tool_result(returns)


@pytest.mark.parametrize("name", ["my agent", "", "a.b", "é", "a" * 65, "*"])
def test_a_name_that_no_subject_can_hold_is_refused_by_the_constructor(name: str) -> None:
    with pytest.raises(ValueError, match="agent name"):
        TextAgent(name)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"silence": 0.2}, "agent desk: silence in milliseconds"),
        ({"longest_call": -1.0}, "agent desk: longest_call"),
        ({"greeting": "x" * 5000}, "agent desk: greeting"),
        ({"capacity": -1}, "agent desk: capacity"),
        ({"turn_detection": {"x": "y" * 70000}}, "too long for an announcement"),
    ],
)
def test_a_setting_that_can_not_be_used_is_refused_by_the_constructor(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TextAgent("desk", **settings)


def test_a_tool_that_no_schema_can_describe_is_refused_with_its_line() -> None:
    class Connection: ...

    def bare(day) -> str:  # type: ignore[no-untyped-def]
        return str(day)

    def odd(connection: Connection) -> str:
        return str(connection)

    odd.__annotations__["connection"] = Connection
    agent = TextAgent("desk")
    wrong: list[tuple[Any, str]] = [
        (bare, "day has no type hint"),
        (odd, "schema"),
        ("book", "stands above a function"),
    ]
    for function, says in wrong:
        with pytest.raises(TypeError, match=says) as error:
            agent.tool(function)
        if callable(function):
            assert f"{__file__}:{function.__code__.co_firstlineno}" in str(error.value)


def test_a_tool_with_an_odd_name_or_a_second_one_is_refused() -> None:
    agent = TextAgent("desk")

    @agent.tool
    def book(day: str) -> str:
        return day

    with pytest.raises(TypeError, match="there is a tool book already"):
        agent.tool(name="book")(book)
    with pytest.raises(TypeError, match="1 to 64 letters"):
        agent.tool(name="book a table")(book)


def given(action: Any, *values: Any) -> Callable[[], Any]:
    """Made without the type checker's word on it."""
    return lambda: action(*values)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (given(Say, np.zeros(3, dtype=np.float32)), r"numpy\.ndarray of float32: expected bytes"),
        (given(Say, [0.1, 0.2]), "list of float: expected bytes"),
        (lambda: Say(b"123"), "pairs of bytes"),
        (lambda: Say(b"", rate=12345), "12345 Hz"),
        (lambda: Pause(11), "from 0 to 10 seconds"),
        (lambda: Transfer("a b"), "agent name"),
        (lambda: Transfer("billing", "x" * 5000), "a summary of 5000 characters"),
        (given(Person, "maybe"), "`offered` or `accepted`"),
        (given(Ask, "colour"), "one of number, name, date"),
        (lambda: CallTool("book", "x" * 70000), "arguments of 70000 characters"),
    ],
)
def test_an_action_that_can_not_be_done_is_refused_where_it_is_made(wrong: Callable[[], Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        wrong()


def test_the_announcement_tells_what_was_registered() -> None:
    agent = TextAgent("desk", greeting="Hello.", language="en", limits=ReplyLimits(first=3), capacity=7)
    agent.reply(generator)
    assert agent.announcement("one").greets is False
    assert agent.announcement("one").silence_ms is None
    agent.call_started(generator)
    agent.silence(generator)

    @agent.tool
    def book(day: str) -> str:
        return day

    said = agent.announcement("host-1", answering=2, leaving=True)
    assert (said.agent, said.instance, said.capacity, said.answering, said.leaving) == ("desk", "host-1", 7, 2, True)
    assert (said.greets, said.silence_ms, said.tools, said.limits.first) == (True, 10_000, ["book"], 3)


def test_an_agent_without_a_function_says_so() -> None:
    with pytest.raises(SystemExit, match=r"put @agent\.reply above one"):
        TextAgent("empty").run()
