"""What an agent may answer besides text: own audio, pauses, tools of its own, a transfer, what it expects."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from support.virtual_conversation import VirtualConversation

from antiphon.inference_bridge.agents import (
    ExpectAnswer,
    GuessEndedError,
    HangUpAfterSpeech,
    OwnSpeech,
    SpokenPause,
    ToolRun,
    TransferAfterSpeech,
)
from antiphon.inference_bridge.agents.own_tools import NOT_FINISHED
from antiphon.inference_bridge.conversation.own_speech import RATES
from antiphon.inference_bridge.turns.expected_answer import ANYTHING, Expected
from antiphon.inference_bridge.turns.questions import Asked

pytestmark = pytest.mark.virtual

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


def tone(seconds: float, rate: int) -> bytes:
    return (8000 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 440 / rate)).astype("<i2").tobytes()


@pytest.mark.parametrize("rate", RATES)
async def test_own_audio_of_every_rate_is_played_for_its_time_with_its_words(start: Start, rate: int) -> None:
    call = start([OwnSpeech(tone(0.5, rate), rate, "Ding"), OwnSpeech(tone(0.51, rate), rate, "dong.")])
    await call.says("Ring the bell")
    await asyncio.sleep(4)
    assert call.ends == [("completed", "Ding dong.")]
    assert call.agent.told == ["Ding dong."]
    assert abs(call.spoken_ms() - 1010) <= 20, "one stream: no silence between its parts"


async def test_text_own_audio_and_pauses_are_played_in_their_order(start: Start) -> None:
    parts = ["Listen", SpokenPause(1000), OwnSpeech(tone(0.3, 24000), 24000, "beep"), "That was it."]
    call = start(parts)
    await call.says("What is it?")
    await asyncio.sleep(6)
    assert call.ends == [("completed", "Listen beep That was it.")]
    speech = [at for at, _, is_speech in call.bus.played if is_speech]
    gaps = [(round(after - before, 2), before) for before, after in itertools.pairwise(speech)]
    assert 0.95 < max(gaps)[0] < 1.1
    assert call.spoken_ms(max(gaps)[1] + 0.01) >= 300


async def test_an_answer_of_music_alone_is_complete_and_one_at_a_strange_rate_is_not(start: Start) -> None:
    call = start([OwnSpeech(tone(0.5, 16000), 16000, "")], [OwnSpeech(bytes(100), 12345, "x")])
    await call.says("Music please")
    await asyncio.sleep(3)
    await call.says("More")
    await asyncio.sleep(3)
    assert call.ends[0] == ("completed", "")
    assert call.spoken_ms() == 500
    assert len(call.ends) == 2


async def test_an_interruption_says_which_words_of_own_audio_were_played(start: Start) -> None:
    words = " ".join(f"w{number}" for number in range(20))
    call = start([OwnSpeech(tone(8, 24000), 24000, words)], ["Yes?"])
    await call.says("Tell me")
    await asyncio.sleep(2)
    await call.says("Stop it please")
    await asyncio.sleep(3)
    told = call.agent.told[0].split()
    assert 1 <= len(told) < 15
    assert words.startswith(call.agent.told[0])


async def test_a_transfer_is_asked_for_behind_the_last_word_and_its_failure_makes_the_agent_go_on(start: Start) -> None:
    call = start(["I give you to billing.", TransferAfterSpeech("billing", "wants a refund")], ["Nobody is there."])
    await call.says("Billing please")
    await asyncio.sleep(3)
    assert call.ends == [("completed", "I give you to billing.")]
    (at, agent), last = call.bus.transfers[0], max(at for at, _, is_speech in call.bus.played if is_speech)
    assert agent == "billing"
    assert at >= last
    call.runner.transfer_failed("sales", "of another one")
    call.runner.transfer_failed("billing", "no instance has accepted")
    await asyncio.sleep(3)
    assert call.ends[1:] == [("completed", "Nobody is there.")]
    assert len(call.bus.transfers) == 1
    note = call.agent.requests[1].items[-1]
    assert note["role"] == "system"
    assert "billing: no instance has accepted" in note["content"][0]["text"]
    assert "no instance has accepted" not in json.dumps(call.events)


async def test_a_transfer_without_an_outcome_does_not_leave_the_caller_in_silence(start: Start) -> None:
    call = start(["One moment.", TransferAfterSpeech("billing")], ["Nobody is there."])
    await call.says("Billing please")
    await asyncio.sleep(12)
    assert call.ends == [("completed", "One moment."), ("completed", "Nobody is there.")]


async def test_an_interrupted_answer_transfers_and_hangs_up_nothing(start: Start) -> None:
    long = "I give you to billing now, please hold the line until they are there. "
    call = start([long * 3, TransferAfterSpeech("billing")], [long * 3, HangUpAfterSpeech()], ["Yes?"])
    for _ in range(2):
        await call.says("Billing please")
        await asyncio.sleep(1.5)
    await call.says("No, wait please")
    await asyncio.sleep(3)
    assert not call.bus.transfers
    assert not call.bus.hung_up


async def test_the_agents_own_tools_are_on_record_for_it_and_the_client_sees_none_of_them(start: Start) -> None:
    begun, done = ToolRun("t1", "look_up", '{"secret": 1}'), ToolRun("t1", "look_up", "", '{"found": "classified"}')
    call = start(["Let me see", begun, 2.0, done, ". It is sunny."], ["Bye."])
    await call.says("How is the weather?")
    await asyncio.sleep(0.3)
    assert call.runner.core.state.current is not None
    assert call.runner.core.state.current.written == "Let me see", "spoken before the tool has ended"
    await asyncio.sleep(6)
    await call.says("Thanks a lot")
    await asyncio.sleep(3)
    items = call.agent.requests[1].items
    kinds = [(item["type"], item.get("role")) for item in items]
    assert ("function_call", None) in kinds
    assert ("function_call_output", None) in kinds
    output = next(item for item in items if item["type"] == "function_call_output")
    assert (output["call_id"], output["output"]) == ("t1", '{"found": "classified"}')
    written = json.dumps(call.events)
    assert "secret" not in written
    assert "classified" not in written
    assert not call.of("response.function_call_arguments.done")
    known = {event["item"]["id"] for event in call.of("conversation.item.added")}
    before = {event["previous_item_id"] for event in call.of("conversation.item.added")} - {None}
    assert before <= known
    call.send(type="conversation.item.retrieve", item_id=output["id"])
    assert call.of("error"), "the client can't ask for it either"
    assert call.bus.reports[1].turn.tools == ["look_up"]


async def test_a_tool_that_an_interruption_ends_is_on_record_as_not_finished(start: Start) -> None:
    call = start(["Let me see. ", ToolRun("t1", "book", "{}"), 30.0], ["Yes?"])
    await call.says("Book it")
    await asyncio.sleep(0.5)
    await call.says("No, wait please")
    await asyncio.sleep(3)
    outputs = [item["output"] for item in call.agent.requests[1].items if item["type"] == "function_call_output"]
    assert outputs == [NOT_FINISHED]


async def test_a_tool_before_the_first_word_does_not_stop_the_sign_that_it_takes_longer(start: Start) -> None:
    call = start([ToolRun("t1", "slow", "{}"), 6.0, ToolRun("t1", "slow", "{}", "ok"), "Done."])
    await call.says("Do it")
    await asyncio.sleep(4)
    assert call.spoken_ms() > 500, "One moment, please."
    await asyncio.sleep(6)
    assert call.ends == [("completed", "Done.")]


async def test_what_the_agent_expects_is_what_the_turn_detector_is_told_until_the_next_answer(start: Start) -> None:
    call = start(["And now.", ExpectAnswer("number")], ["Good.", ExpectAnswer("anything")], ["Well."])
    told = []
    for _ in range(3):
        await call.says("Go on please")
        await asyncio.sleep(3)
        told.append(call.runner.responses.answers.told)
    assert told == [Expected(Asked.NUMBER), ANYTHING, None]


async def test_keys_and_the_clients_settings_are_in_the_request(start: Start) -> None:
    call = start(["Thanks."], session={"voice": "joe"})
    for key in "12#":
        call.runner.press_key(key)
    await asyncio.sleep(3)
    asked = call.agent.requests[0]
    assert (asked.keys, asked.text, asked.event, asked.session) == ("12", "12", "turn", {"voice": "joe"})


async def test_a_guess_is_answered_early_and_used_if_the_turn_ends_with_the_same_words(
    start: Start,
) -> None:
    slow = [1.0, "It is ten."]
    call = start(slow, speculates=True)
    await call.says("What time is it?", silence=1.0)
    assert len(call.agent.requests) == 1
    assert call.agent.requests[0].speculative
    assert call.agent.requests[0].items[-1]["content"][0]["transcript"] == "What time is it?"
    await asyncio.sleep(3)
    assert len(call.agent.requests) == 1, "no second request"
    assert call.ends == [("completed", "It is ten.")]
    assert call.agent.told == ["It is ten."]


async def test_a_guess_that_was_wrong_is_undone_before_the_agent_is_asked_again(start: Start) -> None:
    call = start(["Got it. "], ["Thank you."], speculates=True)
    await call.goes_on("My number is", "My number is five")
    await asyncio.sleep(4)
    assert [(request.text, request.speculative) for request in call.agent.requests] == [
        ("My number is", True),
        ("My number is five", False),
    ]
    assert call.ends == [("completed", "Thank you.")]
    assert call.agent.told == ["", "Thank you."]


@pytest.mark.parametrize("wait", [0.05, 1.5], ids=["before the turn is over", "when it is"])
async def test_a_guess_that_can_t_be_answered_to_its_end_is_asked_for_again_behind_its_words(
    start: Start, wait: float
) -> None:
    call = start(["One moment. ", wait, GuessEndedError("no tools in a guess")], ["It is ten."], speculates=True)
    await call.says("What time is it?", silence=1.0)
    await asyncio.sleep(5)
    asked = [(request.speculative, request.already_spoken) for request in call.agent.requests]
    assert asked == [(True, ""), (False, "One moment. ")]
    assert call.ends == [("completed", "One moment. It is ten.")]


async def test_an_agent_that_wants_no_guesses_gets_none(start: Start) -> None:
    call = start(["It is ten."])
    await call.says("What time is it?", silence=1.0)
    await asyncio.sleep(3)
    assert [request.speculative for request in call.agent.requests] == [False]
