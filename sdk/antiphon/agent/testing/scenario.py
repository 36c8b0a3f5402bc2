"""Scenarios as TOML files: what a caller does turn by turn, and what is expected of each answer.

agent = "desk.py"                 # a file with a TextAgent, beside this one; or: agent = "desk.py:agent"

[[scenario]]
name = "books a table"

[[scenario.turn]]
says = "A table for two on Monday, please."
expect.says = ["Monday"]
expect.tools = [{ name = "book", arguments = { people = 2 } }]

[[scenario.turn]]
says = "No, on Tuesday."
interrupts_after = "Certainly"    # of the answer before: this is said as soon as these words were spoken
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from antiphon.agent.testing.answer import Answer, ToolCall
from antiphon.agent.testing.judge import Judge, Model
from antiphon.agent.testing.transcript import Transcript


class ScenarioError(ValueError):
    """A file of scenarios can't be used: the file, the place, and what is wrong."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpectedTool(_Part):
    """A tool that is to be run. Other arguments than those that are named do not matter."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    failed: bool = False


class Expectation(_Part):
    """Of one answer. What is left out does not matter."""

    says: list[str] = Field(default_factory=list)
    """Words that stand in what the caller hears, in any order; upper and lower case are the same."""
    says_not: list[str] = Field(default_factory=list)
    tools: list[ExpectedTool] | None = None
    """All tools that are run, in this order; an empty list: none."""
    hangs_up: bool | None = None
    transfers_to: str | None = None
    person: Literal["", "offered", "accepted"] | None = None
    expects: str | None = None
    within_ms: float | None = Field(default=None, gt=0)
    """From the end of the caller's words to the first word."""
    judge: str = ""
    """A criterion for the judge, about the whole call so far."""


class ScenarioTurn(_Part):
    """One thing that the caller does, and the answer to it."""

    says: str = ""
    keys: str = Field(default="", pattern=r"^[0-9A-D*#]*$")
    silence: float | None = Field(default=None, gt=0)
    """Seconds."""
    hangs_up: bool = False
    interrupts_after: str = ""
    """Words of the answer before at which this turn begins."""
    expect: Expectation = Expectation()

    @model_validator(mode="after")
    def _does_one_thing(self) -> ScenarioTurn:
        done = [bool(self.says), bool(self.keys), self.silence is not None, self.hangs_up]
        if sum(done) != 1:
            raise ValueError("a turn has one of says, keys, silence, hangs_up")
        return self


class Scenario(_Part):
    """One call."""

    name: str
    language: str = "en"
    now: datetime | None = None
    """Day and time of the call; None: today's."""
    session: dict[str, Any] = Field(default_factory=dict)
    """The client's settings, as in the realtime protocol."""
    greeting: Expectation = Expectation()
    turn: list[ScenarioTurn] = Field(min_length=1, max_length=1000)


class ScenarioFile(_Part):
    """The scenarios of one agent."""

    agent: str
    """A Python file beside this one, perhaps with the variable: `desk.py:agent`; or the name of an agent of a stack."""
    scenario: list[Scenario] = Field(min_length=1, max_length=1000)


class Call(Protocol):
    """What a scenario is run in: a `Conversation`, or a real call."""

    @property
    def transcript(self) -> Transcript: ...
    @property
    def over(self) -> bool: ...
    async def start(self) -> Answer: ...
    async def say(self, text: str, interrupt_after: str = "") -> Answer: ...
    async def press(self, keys: str) -> Answer: ...
    async def wait(self, seconds: float | None = None) -> Answer: ...
    async def hang_up(self) -> None: ...


def read_scenarios(file: Path) -> ScenarioFile:
    """The scenarios of a file; `ScenarioError` with the place of each mistake."""
    try:
        text = file.read_text()
        return ScenarioFile.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{file}: {error}") from None
    except ValidationError as error:
        lines = []
        for each in error.errors(include_url=False, include_input=False):
            where = ".".join(str(part) for part in each["loc"]) or "file"
            lines.append(f"{file}: {where}: {each['msg'].removeprefix('Value error, ')}")
        raise ScenarioError("\n".join(lines)) from None


async def run_scenario(scenario: Scenario, call: Call, judge: Model | None = None) -> list[str]:
    """What was not as expected, a line for each; empty: all was. `judge`: asked where a criterion is given."""
    failures: list[str] = []

    async def compare(number: int, expected: Expectation, answer: Answer) -> None:
        place = f"turn {number}" if number else "greeting"
        failures.extend(f"{place}: {text}" for text in differences(expected, answer))
        if expected.judge and judge is not None:
            verdict = await Judge(judge).verdict(call.transcript, expected.judge)
            if not verdict:
                failures.append(f"{place}: the judge denies {expected.judge!r}: {verdict.reason}")

    await compare(0, scenario.greeting, await call.start())
    for number, turn in enumerate(scenario.turn, 1):
        if call.over:
            failures.append(f"turn {number}: the call is over before it")
            break
        following = scenario.turn[number] if number < len(scenario.turn) else None
        try:
            answer = await _take_turn(turn, call, following.interrupts_after if following else "")
        except AssertionError as error:
            failures.append(f"turn {number}: {error}")
            break
        await compare(number, turn.expect, answer)
    if not call.over:
        await call.hang_up()
    return failures


async def _take_turn(turn: ScenarioTurn, call: Call, interrupt_after: str) -> Answer:
    if turn.says:
        return await call.say(turn.says, interrupt_after)
    if turn.keys:
        return await call.press(turn.keys)
    if turn.silence is not None:
        return await call.wait(turn.silence)
    await call.hang_up()
    return Answer()


def differences(expected: Expectation, answer: Answer) -> list[str]:
    """What of the answer is not as expected, in words."""
    heard = answer.played.casefold()
    found = [f"{words!r} is not in {answer.played!r}" for words in expected.says if words.casefold() not in heard]
    found += [f"{words!r} is in {answer.played!r}" for words in expected.says_not if words.casefold() in heard]
    if answer.failure:
        found.append(f"there was no answer: {answer.failure}")
    if expected.tools is not None and answer.tools_known and not _same_tools(expected.tools, answer.tools):
        shown = ", ".join(f"{each.name}({dict(each.arguments)})" for each in answer.tools) or "none"
        wanted = ", ".join(f"{each.name}({each.arguments})" for each in expected.tools) or "none"
        found.append(f"tools were {shown}; expected {wanted}")
    for what, wanted_value, value in (
        ("hangs_up", expected.hangs_up, answer.hung_up),
        ("transfers_to", expected.transfers_to, answer.transferred_to),
        ("person", expected.person, answer.person),
        ("expects", expected.expects, answer.expects),
    ):
        if wanted_value is not None and wanted_value != value:
            found.append(f"{what} is {value!r}; expected {wanted_value!r}")
    if expected.within_ms is not None and (answer.ms is None or answer.ms > expected.within_ms):
        took = "never" if answer.ms is None else f"after {answer.ms:.0f} ms"
        found.append(f"the first word came {took}; expected within {expected.within_ms:g} ms")
    return found


def _same_tools(wanted: list[ExpectedTool], run: list[ToolCall]) -> bool:
    return len(wanted) == len(run) and all(
        each.name == call.name and each.failed == call.failed and _within(each.arguments, call.arguments)
        for each, call in zip(wanted, run, strict=True)
    )


def _within(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    return all(name in given and given[name] == value for name, value in wanted.items())
