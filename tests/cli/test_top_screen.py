"""The live screen of `antiphon top`, with a fake source and textual's pilot."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from antiphon.cli.errors import UsageError
from antiphon.cli.top import command
from antiphon.cli.top.model import Snapshot
from antiphon.cli.top.screen import Confirm, Detail, TopScreen
from antiphon.cli.top.source import SourceError
from antiphon.runtime.operators.processes import Process
from antiphon.schemas.messages import CallSummary, Turn, TurnParts

pytestmark = pytest.mark.virtual


def call(name: str, **changes: Any) -> CallSummary:
    given = {"session_id": f"rtc_{name}", "agent": "concierge", "state": "running", "began": 1000.0, "owner": "ownerid"}
    return CallSummary.model_validate({**given, **changes})


class FakeSource:
    """Answers what the test sets."""

    name = "a fake"

    def __init__(self, *calls: CallSummary) -> None:
        self.calls = list(calls)
        self.trouble = ""
        self.done: list[tuple[str, ...]] = []

    def now(self) -> Snapshot:
        processes = [Process("antiphon-transceiver", "ownerid", "1.0.0", "0.3", taken=1, capacity=9)]
        return Snapshot(list(self.calls), processes, len(self.calls), [], time.time())

    async def snapshot(self) -> Snapshot:
        if self.trouble:
            raise SourceError(self.trouble)
        return self.now()

    async def hang_up(self, session_id: str) -> str:
        if self.trouble:
            raise SourceError(self.trouble)
        self.done.append(("hang_up", session_id))
        return "hung up"

    async def drain(self, service: str, instance: str) -> str:
        self.done.append(("drain", service, instance))
        return "it drains"


TWO = (
    call("a", began=10.0, round_trip_ms=5.0, trace_id="feed" * 8),
    call("b", began=20.0, round_trip_ms=50.0, agent="echo",
         last_turn=Turn(number=3, generation=3, began=1.0, parts=TurnParts(stt=40, agent=160))),
)  # fmt: skip


@asynccontextmanager
async def opened(source: FakeSource, **options: Any) -> AsyncIterator[tuple[TopScreen, Pilot[None]]]:
    app = TopScreen(source, source.now(), **{"processes": False, **options})
    async with app.run_test(size=(150, 30)) as pilot:
        yield app, pilot


def ids(app: TopScreen) -> list[str]:
    table = app.screen_stack[0].query_one(DataTable)
    return [str(table.get_row_at(place)[0]) for place in range(table.row_count)]


def text(app: TopScreen, where: str) -> str:
    return str(app.screen.query_one(where, Static).render())


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Within the time limit of the test."""
    while not true():
        await pilot.pause(0.02)


async def test_keys_sort_and_filter_the_table() -> None:
    async with opened(FakeSource(*TWO)) as (app, pilot):
        assert ids(app) == ["rtc_a", "rtc_b"]
        await pilot.press("s")
        assert ids(app) == ["rtc_b", "rtc_a"]
        await pilot.press("slash", *"hq", "backspace", "backspace", *"echo", "enter")
        assert ids(app) == ["rtc_b"]
        assert 'filter "echo"' in text(app, "#status")
        assert not app.query_one("#filter", Input).display
        await pilot.press("escape")
        assert ids(app) == ["rtc_b", "rtc_a"]


async def test_enter_shows_the_parts_of_the_last_turn_and_the_trace() -> None:
    async with opened(FakeSource(*TWO)) as (app, pilot):
        await pilot.press("enter")
        await pilot.pause()
        assert "feed" * 8 in text(app, "#detail")
        await pilot.press("escape", "down", "enter")
        await pilot.pause()
        assert "200 ms" in text(app, "#detail")
        assert "█" in text(app, "#detail")
        await pilot.press("s", "p", "d")
        assert isinstance(app.screen, Detail)


async def test_nothing_is_ended_without_a_yes() -> None:
    source = FakeSource(*TWO)
    async with opened(source) as (app, pilot):
        for key in ("h", "d"):
            for no in ("n", "escape", "q"):
                await pilot.press(key)
                assert isinstance(app.screen, Confirm)
                await pilot.press("enter", "h", no)
        assert source.done == []
        await pilot.press("down", "h", "y")
        await until(pilot, lambda: bool(source.done))
        await pilot.press("d", "y")
        await until(pilot, lambda: len(source.done) == 2)
        assert source.done == [("hang_up", "rtc_b"), ("drain", "antiphon-transceiver", "ownerid")]
        await until(pilot, lambda: "it drains" in text(app, "#said"))


async def test_the_cursor_stays_on_its_call_when_others_come_and_go() -> None:
    source = FakeSource(*TWO)
    async with opened(source) as (app, pilot):
        await pilot.press("down")
        source.calls = [call("0", began=1.0), *TWO]
        await until(pilot, lambda: len(ids(app)) == 3)
        await pilot.press("h", "y")
        await until(pilot, lambda: bool(source.done))
        assert source.done == [("hang_up", "rtc_b")]


async def test_a_question_is_about_the_call_that_it_names() -> None:
    source = FakeSource(*TWO)
    async with opened(source) as (app, pilot):
        await pilot.press("h")
        source.calls = [TWO[1]]
        await until(pilot, lambda: ids(app) == ["rtc_b"])
        await pilot.press("y")
        await until(pilot, lambda: bool(source.done))
        assert source.done == [("hang_up", "rtc_a")]


async def test_a_source_that_is_gone_is_named_and_asked_again() -> None:
    source = FakeSource(*TWO)
    async with opened(source) as (app, pilot):
        source.trouble = "NATS is away"
        await until(pilot, lambda: "NATS is away" in text(app, "#trouble"))
        assert ids(app) == ["rtc_a", "rtc_b"]
        await pilot.press("h", "y")
        await until(pilot, lambda: "not done: NATS is away" in text(app, "#said"))
        source.trouble, source.calls = "", []
        await until(pilot, lambda: not text(app, "#trouble"))
        assert ids(app) == []
        await pilot.press("h", "d", "enter")
        assert app.screen is app.screen_stack[0]


async def test_p_shows_the_processes_and_d_drains_one() -> None:
    source = FakeSource()
    async with opened(source) as (app, pilot):
        await pilot.press("p")
        assert ids(app) == ["transceiver"]
        await pilot.press("d", "y")
        await until(pilot, lambda: bool(source.done))
        assert source.done == [("drain", "antiphon-transceiver", "ownerid")]
        await pilot.press("p", "q")
        await until(pilot, lambda: not app.is_running)


@pytest.mark.parametrize("found", [None, object()])
def test_without_textual_or_a_terminal_one_line_says_what_to_do(found: object, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    with pytest.raises(UsageError, match="use --once") as error:
        command.run(parser.parse_args([]))
    assert (".[operator]" in str(error.value)) == (found is None)


def test_the_command_alone_does_not_import_textual() -> None:
    code = "import sys, antiphon.cli.top.command; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
