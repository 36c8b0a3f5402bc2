"""The test kit: conversations in virtual time, what they show of an answer, scenarios as files, the pytest plug-in."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.agent import Action, Ask, CallTool, HangUp, TextAgent, Transfer, Turn
from antiphon.agent.testing import Conversation, Judge, SimulatedCaller, VirtualClockLoop, read_scenarios, run_scenario
from antiphon.agent.testing.scenario import ScenarioError

ECHO_SCENARIO = """
agent = "echo.py"
[[scenario]]
name = "says it back"
greeting.says = ["hello"]
[[scenario.turn]]
says = "One"
expect.says = ["one"]
expect.tools = []
[[scenario.turn]]
silence = 6
expect.says = ["still there"]
[[scenario.turn]]
says = "Bye"
expect.hangs_up = true
expect.within_ms = 5000
"""


def echo_agent() -> TextAgent:
    agent = TextAgent("echo", greeting="Hello.", silence=5)

    @agent.tool
    async def book(turn: Turn, day: str, people: int = 2) -> str:
        """Book a table."""
        await asyncio.sleep(2)
        turn.state["day"] = day
        return f"booked for {day}"

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        if turn.messages[-1]["role"] == "tool":
            yield f"Done: {turn.messages[-1]['content']}"
        elif turn.keys:
            yield f"You pressed {turn.keys}."
        elif "book" in turn.text:
            yield "One moment. "
            yield CallTool("book", {"day": "Monday"})
        elif "bye" in turn.text.lower():
            yield f"Goodbye{', until ' + turn.state['day'] if 'day' in turn.state else ''}."
            yield HangUp()
        elif "billing" in turn.text:
            yield Transfer("billing", summary="wants a bill")
        else:
            yield f"You said {turn.text}. "
            yield f"Before that you heard {turn.played!r}{', cut' if turn.interrupted else ''}."
            yield Ask("yes_no")

    @agent.silence
    async def silent(turn: Turn) -> str:
        return "Are you still there?"

    return agent


def virtually(work: Any) -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(work)


@pytest.mark.pure
def test_a_conversation_of_twenty_turns_takes_its_time_by_the_clock_of_the_test_alone() -> None:
    async def work() -> None:
        call = Conversation(echo_agent())
        await call.start()
        for number in range(20):
            answer = await call.say(f"number {number}, please book it" if number % 5 == 0 else f"number {number}")
            assert answer.played
        assert call.seconds > 60  # speech and tools took their time, by the clock of the test

    began = time.monotonic()
    virtually(work())
    assert time.monotonic() - began < 60  # and not by ours


@pytest.mark.pure
def test_an_answer_shows_tools_arguments_order_state_and_time() -> None:
    async def work() -> None:
        call = Conversation(echo_agent())
        await call.start()
        answer = await call.say("please book a table")
        assert answer.tool("book").arguments == {"day": "Monday"}
        assert answer.tool("book").output == "booked for Monday"
        assert answer.played == "One moment. Done: booked for Monday"
        assert answer.ms is not None
        assert answer.ms < 100
        assert 2000 <= answer.whole_ms < 2500
        assert call.state == {"day": "Monday"}
        goodbye = await call.say("bye")
        assert (goodbye.played, goodbye.hung_up, call.over) == ("Goodbye, until Monday.", True, True)

    virtually(work())


@pytest.mark.pure
def test_an_interruption_cuts_the_answer_and_the_next_turn_knows_what_was_heard() -> None:
    async def work() -> None:
        call = Conversation(echo_agent())
        await call.start()
        cut = await call.say("one", interrupt_after="You said")
        assert (cut.played, cut.interrupted) == ("You said", True)
        answer = await call.say("two")
        assert "'You said', cut" in answer.played
        with pytest.raises(AssertionError, match="ended without 'never'"):
            await call.say("three", interrupt_after="never")

    virtually(work())


@pytest.mark.pure
def test_keys_silence_transfers_and_what_is_expected_are_shown() -> None:
    async def work() -> None:
        call = Conversation(echo_agent())
        await call.start()
        assert (await call.press("12#")).played == "You pressed 12#."
        assert (await call.wait()).played == "Are you still there?"
        assert (await call.wait(2)).played == ""
        assert (await call.say("hm")).expects == "yes_no"
        given = await call.say("billing, please")
        assert (given.transferred_to, given.summary, call.over) == ("billing", "wants a bill", True)
        shown = str(call.transcript)
        assert "keys      12#" in shown
        assert "action    transfer to billing" in shown

    virtually(work())


@pytest.mark.pure
def test_an_agent_that_fails_is_a_failure_with_its_reason() -> None:
    agent = TextAgent("broken")

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        yield "Well. "
        raise LookupError("no such thing")

    async def work() -> None:
        answer = await Conversation(agent).say("hello")
        assert answer.failure

    virtually(work())


@pytest.mark.pure
def test_a_thread_is_waited_for_and_time_does_not_run_ahead_of_it() -> None:
    agent = TextAgent("slow")

    @agent.tool
    def work_on_a_thread(word: str) -> str:
        """Works."""
        time.sleep(0.2)
        return word

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        yield str(await turn.call("work_on_a_thread", word="done"))

    async def work() -> None:
        assert (await Conversation(agent).say("go")).played == "done"

    virtually(work())


@pytest.mark.pure
def test_a_simulated_caller_talks_until_its_goal_is_reached_and_a_judge_reads_the_call() -> None:
    class Model:
        def __init__(self, *answers: str) -> None:
            self.answers, self.asked = list(answers), [] if not answers else [""]

        async def ask(self, messages: list[dict[str, Any]]) -> str:
            self.asked.append(str(messages))
            return self.answers.pop(0)

    async def work() -> None:
        call = Conversation(echo_agent())
        assert await SimulatedCaller("book a table", Model("please book a table", "DONE")).talk(call)
        judge = Model("YES, it booked.", "No. It never did.")
        assert await Judge(judge).verdict(call.transcript, "It books.")
        verdict = await Judge(judge).verdict(call.transcript, "It never books.")
        assert not verdict
        assert verdict.reason == "It never did."
        assert "please book a table" in judge.asked[1]

    virtually(work())


@pytest.mark.pure
def test_a_scenario_of_a_file_passes_and_says_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "scenarios.toml"
    file.write_text(ECHO_SCENARIO.replace("expect.hangs_up = true", "expect.hangs_up = false"))
    (scenario,) = read_scenarios(file).scenario

    async def work() -> None:
        assert await run_scenario(scenario, Conversation(echo_agent())) == [
            "turn 3: hangs_up is True; expected False",
        ]

    virtually(work())


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agent = 7", "scenario: Field required"),
        ('agent = "a.py"\n[[scenario]]\nname = "x"\n[[scenario.turn]]\n', "a turn has one of says, keys"),
        ('agent = "a.py"\n[[scenario]]\nname = "x"\n[[scenario.turn]]\nsayz = "a"', "sayz: Extra inputs"),
        ("agent = ", "Invalid value"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "scenarios.toml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as raised:
        read_scenarios(file)
    assert said in str(raised.value)
    assert str(file) in str(raised.value)


@pytest.mark.process
@pytest.mark.parametrize("kind", ["text", "audio", "file"])
def test_what_init_writes_passes_its_own_test_at_once(tmp_path: Path, kind: str) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "init", "front-desk", "--kind", kind, "--into", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "front-desk"
    plugin = ["-p", "antiphon.agent.testing.pytest_plugin", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    tested = subprocess.run([sys.executable, "-m", "pytest", "-q", *plugin], cwd=folder, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    if kind == "text":
        run = [sys.executable, "-m", "antiphon.cli", "test", "."]
        scenarios = subprocess.run(run, cwd=folder, capture_output=True, text=True)
        assert scenarios.returncode == 0, scenarios.stdout + scenarios.stderr
        assert "ok" in scenarios.stdout


@pytest.mark.process
def test_a_test_that_fails_shows_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from antiphon.agent import TextAgent\n"
        "agent = TextAgent('a', greeting='Hello there.')\n"
        "@agent.reply\n"
        "async def reply(turn):\n    yield 'No idea.'\n"
        "async def test_it(conversation):\n"
        "    call = conversation(agent)\n    await call.start()\n"
        "    assert (await call.say('What day is it?')).played == 'Monday'\n"
    )
    plugin = ["-p", "antiphon.agent.testing.pytest_plugin", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin], cwd=tmp_path, capture_output=True, text=True
    )
    assert tested.returncode == 1
    assert "caller    What day is it?" in tested.stdout
    assert "agent     No idea." in tested.stdout
