"""The pytest plug-in of the test kit: the fixture `conversation`, virtual time, the transcript of a test that fails.

    async def test_books(conversation):
        call = conversation(agent)
        await call.start()
        answer = await call.say("A table for two on Monday, please.")
        assert answer.tool("book").arguments == {"day": "2026-01-05", "people": 2}

A coroutine test that asks for it runs in virtual time by itself; where pytest-asyncio runs the test, time is real. The
fixture `audio_call` is for agents that get and give sound, and runs in real time.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from antiphon.agent import Agent
    from antiphon.agent.testing.audio_call import AudioCall
    from antiphon.agent.testing.conversation import Answers, Conversation

_CALLS: Final = pytest.StashKey["list[Conversation]"]()
CONVERSATION: Final = "conversation"
AUDIO_CALL: Final = "audio_call"


class Conversations:
    """The fixture `conversation`: called with an agent, it begins a call. Lives as long as the test."""

    def __init__(self, calls: list[Conversation]) -> None:
        self._calls = calls

    def __call__(self, agent: Answers, **options: Any) -> Conversation:
        """A call with this agent; `options` are those of `Conversation`."""
        from antiphon.agent.testing.conversation import (
            Conversation,  # only where it is used: each run of pytest loads us
        )

        call = Conversation(agent, **options)
        self._calls.append(call)
        return call


@pytest.fixture
def conversation(request: pytest.FixtureRequest) -> Conversations:
    """Begins calls with a text agent: `call = conversation(agent)`."""
    calls: list[Conversation] = []
    request.node.stash[_CALLS] = calls
    return Conversations(calls)


class AudioCalls:
    """The fixture `audio_call`: awaited with an agent, it begins a call. Ends them all with the test."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __call__(self, agent: Agent) -> AudioCall:
        """A call with this agent."""
        from antiphon.agent.testing.audio_call import audio_call

        return await self._stack.enter_async_context(audio_call(agent))

    async def close(self) -> None:
        """End the calls, and what they needed."""
        await self._stack.aclose()


@pytest.fixture(name="audio_call")
def _audio_call() -> AudioCalls:
    """Begins calls with an audio agent, in real time: `call = await audio_call(agent)`."""
    return AudioCalls()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test that holds conversations in virtual time, one with audio calls in real time."""
    asked = set(pyfuncitem.fixturenames) & {CONVERSATION, AUDIO_CALL}
    if not asked or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    from antiphon.agent.testing.virtual_clock import VirtualClockLoop

    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}

    async def work() -> None:
        try:
            await pyfuncitem.obj(**arguments)
        finally:
            calls = pyfuncitem.funcargs.get(AUDIO_CALL)
            if isinstance(calls, AudioCalls):
                await calls.close()

    with asyncio.Runner(loop_factory=None if AUDIO_CALL in asked else VirtualClockLoop) as runner:
        runner.run(work())
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what was said where a test failed."""
    report = yield
    if report.when == "call" and report.failed:
        calls: list[Conversation] = item.stash.get(_CALLS, [])
        for number, call in enumerate(calls, 1):
            report.sections.append((f"conversation {number} (seconds, who, what)", str(call.transcript)))
    return report
