"""What an agent's profile does to a call: its greeting, prompts to silent callers, the longest call, its sentences."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support.virtual_call import Answer, VirtualCall
from support.virtual_conversation import VirtualConversation

from antiphon.inference_bridge.agents.profile import AgentProfile, FailureSentences
from antiphon.inference_bridge.agents.scripted import SilentAgent
from antiphon.inference_bridge.conversation.agent_requests import GREET, STILL_THERE
from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.state import Kind, Rules
from antiphon.inference_bridge.conversation.core.timing import LAST_WORDS_S, MAX_PROMPTS
from antiphon.inference_bridge.conversation.first_state import first_state
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot
from antiphon.inference_bridge.phrases import phrase

PLAIN = AgentProfile("agent", lambda _: SilentAgent())
Start = Callable[..., VirtualConversation]


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Conversations of this test, closed at its end."""
    calls: list[VirtualConversation] = []

    def make(*answers: Any, **options: Any) -> VirtualConversation:
        calls.append(VirtualConversation(monkeypatch, [list(each) for each in answers], **options))
        return calls[-1]

    yield make
    for call in calls:
        await call.close()


def said(call: VirtualCall) -> list[str]:
    return [ask.response.fixed for ask in call.of(do.Ask) if ask.response.fixed]


# ---- the greeting ------------------------------------------------------------------------------------------


@pytest.mark.pure
def test_an_agent_that_greets_is_asked_once_when_the_caller_is_there() -> None:
    call = VirtualCall(state={"greets": True, "greeting": "not this one"})
    call.feed(events.Connected())
    call.run(4000)
    (asked,) = call.of(do.Ask)
    assert (asked.response.kind, asked.response.fixed) == (Kind.GREETING, "")
    call.feed(events.Connected())
    call.run(1000)
    assert len(call.of(do.Ask)) == 1


@pytest.mark.pure
def test_a_client_that_asks_for_an_answer_at_once_gets_the_agents_greeting() -> None:
    call = VirtualCall(state={"greets": True})
    call.feed(events.Create())
    call.run(4000)
    assert call.of(do.Ask)[0].response.kind is Kind.GREETING


@pytest.mark.pure
def test_a_greeting_under_way_is_due_again_in_another_process_and_not_answered_there() -> None:
    call = VirtualCall(state={"greets": True})
    call.feed(events.Connected())
    call.run(1000)
    assert call.core.answering is None
    assert call.core.greeting_is_due


# ---- silent callers ----------------------------------------------------------------------------------------


@pytest.mark.pure
def test_a_silent_caller_hears_the_prompts_of_the_agent_one_after_the_other() -> None:
    call = VirtualCall(Rules(silence_ms=5000, silence_prompts=("Hello?", "I can't hear you.")))
    call.run(60_000)
    assert said(call) == ["Hello?", "I can't hear you."]
    assert not call.of(do.TellTimeout), "the client has not asked for it"
    call.says("Sorry, I was away")
    call.run(30_000)
    assert said(call)[2:] == ["Hello?", "I can't hear you."], "from the first on again"


@pytest.mark.pure
def test_an_agent_without_prompts_is_asked_and_the_clients_own_limit_counts_before() -> None:
    call = VirtualCall(Rules(silence_ms=5000))
    call.run(60_000)
    assert [ask.response.kind for ask in call.of(do.Ask)] == [Kind.PROMPT] * MAX_PROMPTS
    assert not call.of(do.TellTimeout)
    of_client = VirtualCall(Rules(silence_ms=5000, silence_prompts=("Hello?",), idle_timeout_ms=10_000))
    of_client.run(60_000)
    assert len(of_client.of(do.TellTimeout)) == MAX_PROMPTS
    assert not said(of_client)


# ---- the longest call --------------------------------------------------------------------------------------


@pytest.mark.pure
def test_a_call_that_has_lasted_long_enough_ends_with_a_sentence() -> None:
    call = VirtualCall(state={"ends_at": 5.0}, answers=[Answer(play_ms=60_000)])
    call.says("Tell me a long story")
    call.run(20_000)
    assert said(call) == [phrase("longest_call")]
    assert [hang_up.reason for hang_up in call.of(do.HangUp)] == ["longest_call"]
    assert 5000 <= call.times(do.Stop)[0] <= 5200, "the answer under way is stopped"


@pytest.mark.pure
def test_a_client_that_stops_the_last_sentence_is_hung_up_all_the_same() -> None:
    call = VirtualCall(state={"ends_at": 1.0})
    call.run(1100)
    call.feed(events.Cancel())
    call.run(1000 * LAST_WORDS_S + 2000)
    assert {hang_up.reason for hang_up in call.of(do.HangUp)} == {"longest_call"}
    assert len(said(call)) == 1


@pytest.mark.pure
def test_the_time_of_a_call_counts_from_its_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    monkeypatch.setattr("time.monotonic", lambda: 50.0)
    longest = dataclasses.replace(PLAIN, longest_call=600.0)
    assert first_state(ConversationSnapshot(), longest, 900.0).ends_at == 550.0
    assert first_state(ConversationSnapshot(), longest, 2000.0).ends_at == 650.0, "clocks may differ"
    assert first_state(ConversationSnapshot(), longest, 0.0).ends_at == 650.0
    assert first_state(ConversationSnapshot(), PLAIN, 900.0).ends_at is None


# ---- what the agent is asked -------------------------------------------------------------------------------


@pytest.mark.virtual
@pytest.mark.parametrize("reads_events", [True, False])
async def test_an_agent_learns_why_it_is_asked_by_an_event_or_by_a_note(start: Start, reads_events: bool) -> None:
    profile = dataclasses.replace(PLAIN, reads_events=reads_events, silence_ms=3000)
    call = start(["Hello."], profile=profile, greets=True)
    call.runner.feed(events.Connected())
    await asyncio.sleep(6)
    greeting, silence = call.agent.requests[:2]
    assert (greeting.event, silence.event) == ("call_started", "silence")
    notes = [item["content"][0]["text"] for item in (*greeting.items, *silence.items) if item["role"] == "system"]
    assert notes == ([] if reads_events else [GREET, STILL_THERE])
    assert call.agent.told[0] == "Hello."


@pytest.mark.virtual
async def test_an_agent_that_raises_apologises_in_its_own_words(start: Start) -> None:
    profile = dataclasses.replace(PLAIN, failures=FailureSentences(apology="My crystal ball is broken."))
    call = start([], profile=profile)

    async def broken(_: Any) -> Any:
        raise RuntimeError("no")
        yield

    call.agent.reply = broken  # type: ignore[method-assign, assignment]
    await call.says("What will be?")
    await asyncio.sleep(4)
    assert call.ends == [("completed", "My crystal ball is broken.")]


@pytest.mark.virtual
async def test_an_agent_learns_that_the_call_is_over_but_not_that_another_process_has_it(start: Start) -> None:
    ended: list[str] = []
    for goes_on in (True, False):
        call = start(["Yes."])
        call.agent.ended = lambda: ended.append("ended")  # type: ignore[method-assign]
        call.runner.close(goes_on)
    assert ended == ["ended"]
