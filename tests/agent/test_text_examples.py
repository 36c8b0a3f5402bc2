"""The examples that are text agents, each in a call in virtual time."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from antiphon.agent.testing import Conversation, VirtualClockLoop

pytestmark = pytest.mark.pure

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def virtually(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(work)


def test_the_restaurant_repeats_what_it_understood_before_it_books() -> None:
    agent = example("restaurant_agent").agent

    async def work() -> None:
        call = Conversation(agent)
        await call.start()
        assert (await call.say("A table on Friday, please.")).expects == "number"
        assert "how many" in (await call.say("At eight.")).played
        asked = await call.say("For four people.")
        assert asked.played == "Let me repeat that: a table for 4 people on Friday at 8. Is that right?"
        assert (asked.expects, asked.tools) == ("yes_no", [])
        again = await call.say("No, for five people.")
        assert "5 people on Friday at 8" in again.played
        booked = await call.say("Yes, please.")
        assert booked.tool("book").arguments == {"day": "friday", "hour": 8, "people": 5}
        assert (await call.say("Goodbye!")).hung_up

    virtually(work())


def test_the_library_reads_the_paragraph_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whales.md").write_text("# Whales\n\nThe blue whale is the largest animal. It eats krill.\n")
    (tmp_path / "bees.txt").write_text("Bees live in hives, up to fifty thousand of them.\n\nHoney keeps for years.")
    monkeypatch.setenv("DOCUMENTS", str(tmp_path))
    agent = example("retrieval_agent").agent

    async def work() -> None:
        call = Conversation(agent)
        await call.start()
        assert "krill" in (await call.say("What does the blue whale eat?")).played
        assert "fifty thousand" in (await call.say("How many bees live in a hive?")).played
        assert "read nothing" in (await call.say("Who won the cup?")).played

    virtually(work())


def test_the_desk_gives_a_call_about_money_to_billing_with_a_summary() -> None:
    agents = example("hand_over_agents")

    async def work() -> None:
        call = Conversation(agents.desk)
        await call.start()
        given = await call.say("I did not get my invoice.")
        assert (given.transferred_to, given.summary) == ("billing", "The caller says: I did not get my invoice.")
        assert call.over
        next_call = Conversation(agents.billing)
        assert (await next_call.start()).played == "Billing, good morning."

    virtually(work())


def test_the_desk_answers_otherwise_when_its_supervisor_whispers() -> None:
    agents = example("supervised_agents")

    async def work() -> None:
        call = Conversation(agents.desk)
        await call.start()
        calm = await call.say("Where is my order?")
        assert "anything else" in calm.played
        agents.whispers[call.call_id] = "The caller is upset."
        assert "at once" in (await call.say("Where is my order?")).played

    virtually(work())
