"""The demo clinic as a text agent: whole calls in virtual time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

import pytest

from antiphon.agent.testing import Conversation, VirtualClockLoop
from antiphon.demo.concierge.agent import agent

pytestmark = pytest.mark.pure

NOW = datetime(2026, 11, 22, 10, 30)


def virtually(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(work)


def test_a_call_books_asks_back_and_ends() -> None:
    async def work() -> None:
        call = Conversation(agent, now=NOW)
        greeting = await call.start()
        assert greeting.played == "Hello, this is the Riverside Clinic. How can I help you?"
        assert "which day" in (await call.say("I'd like an appointment, please.")).played
        assert "what time" in (await call.say("Tomorrow.")).played
        assert "booked you for tomorrow" in (await call.say("At half past ten.")).played
        assert "an appointment: tomorrow" in (await call.say("What have I booked?")).played
        goodbye = await call.say("No, that's all. Goodbye.")
        assert (goodbye.hung_up, call.over) == (True, True)

    virtually(work())


def test_it_offers_a_person_after_two_misses_and_repeats_what_was_heard_of_it() -> None:
    async def work() -> None:
        call = Conversation(agent, now=NOW)
        await call.start()
        assert (await call.say("Could you repeat that?")).played.startswith("Hello, this is the Riverside Clinic")
        await call.say("Blue bananas.")
        assert (await call.say("Green bananas.")).person == "offered"
        assert (await call.say("Yes, please.")).person == "accepted"

    virtually(work())


def test_a_state_of_another_version_counts_as_none() -> None:
    async def work() -> None:
        call = Conversation(agent, now=NOW)
        call.state = {"dialogue": {"booked": "rubbish"}}
        assert "Hello" in (await call.say("Hi!")).played

    virtually(work())


def test_the_process_of_the_clinic_needs_no_bridge() -> None:
    """Its image has none."""
    script = "import sys, antiphon.demo.concierge.agent; sys.exit('antiphon.inference_bridge' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
