"""The conversation with its shell in virtual time: what the client is told, what the agent is asked, what is played."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support.virtual_conversation import VirtualConversation

from antiphon.inference_bridge.agents import FunctionCall, HangUpAfterSpeech, Incomplete, Usage
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.input.vad_pipeline import VadPipeline
from antiphon.inference_bridge.realtime_protocol.session_settings import ServerVad, SessionSettings
from antiphon.inference_bridge.turns.detector import Utterance

pytestmark = pytest.mark.virtual

Start = Callable[..., VirtualConversation]
WEATHER = FunctionCall("c1", "weather", "{}")
MANUAL = SessionSettings(turn_detection=None)


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


def lives(call: VirtualConversation) -> list[str]:
    return [event["type"].split(".")[-1] for event in call.of("response.created", "response.done", "error")]


async def test_a_turn_is_answered_and_what_was_played_is_on_record(start: Start) -> None:
    call = start(["It is ten. ", "Good."])
    await call.says("What time is it?")
    await asyncio.sleep(5)
    assert call.ends == [("completed", "It is ten. Good.")]
    assert call.agent.told == ["It is ten. Good."]
    assert call.agent.requests[0].text == "What time is it?"
    assert call.spoken_ms() >= 60 * 11


@pytest.mark.parametrize("after", [0.02, 0.7])
async def test_a_filler_is_played_whole_and_the_answer_follows_it_at_once(start: Start, after: float) -> None:
    call = start(["Let me check that for you.", WEATHER], [0.3, "It is sunny."])
    await call.says("How is the weather?")
    await asyncio.sleep(0.2)
    assert call.of("response.function_call_arguments.done")
    await asyncio.sleep(after)
    call.returns("c1", "sunny")
    await asyncio.sleep(8)
    assert call.ends == [("completed", "Let me check that for you."), ("completed", "It is sunny.")]
    assert lives(call) == ["created", "done", "created", "done"]
    speech = [at for at, _, is_speech in call.bus.played if is_speech]
    pauses = [later - earlier for earlier, later in itertools.pairwise(speech)]
    assert max(pauses) < 0.3, "the answer was prepared while the filler was played"
    items = call.agent.requests[1].items
    kinds = [(item["type"], item.get("role")) for item in items]
    assert kinds == [
        ("message", "user"),
        ("message", "assistant"),
        ("function_call", None),
        ("function_call_output", None),
    ]
    assert items[1]["content"][0]["transcript"] == "Let me check that for you."
    output = call.of("response.done")[0]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call"]
    assert call.of("response.function_call_arguments.done")[0]["output_index"] == 1


@pytest.mark.parametrize("wait", [0.0, 0.02, 0.3])
async def test_create_then_cancel_is_created_and_done_and_the_next_one_works(start: Start, wait: float) -> None:
    call = start([0.5, "It is ten."], settings=MANUAL)
    call.runner.feed(events.Committed(Utterance(b"What time is it?", 0, 32000, 2000), speaking=False))
    call.send(type="response.create")
    await asyncio.sleep(wait)
    call.send(type="response.cancel")
    await asyncio.sleep(0.5)
    assert lives(call) == ["created", "done"]
    assert call.of("response.done")[0]["response"]["status_details"]["reason"] == "client_cancelled"
    call.send(type="response.create")
    await asyncio.sleep(3)
    assert call.ends[-1] == ("completed", "It is ten.")


async def test_bursts_of_create_and_cancel_or_clear_end_in_pairs(start: Start) -> None:
    call = start([0.5, "It is ten."])
    for number in range(30):
        call.types(f"text {number}")
        call.send(type="response.create")
        call.send(type="response.cancel" if number % 2 else "output_audio_buffer.clear")
        if number % 3 == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(2)
    created = [event["response"]["id"] for event in call.of("response.created")]
    done = [event["response"]["id"] for event in call.of("response.done")]
    assert created == done
    assert len(created) == 30


async def test_responses_out_of_band_run_beside_the_speech(start: Start) -> None:
    call = start(["We are open from Monday to Friday, and on Saturday until noon."], [0.2, "spam"])
    await call.says("When are you open?")
    await asyncio.sleep(1)
    aside = {"conversation": "none", "output_modalities": ["text"], "metadata": {"topic": "spam"}}
    for _ in range(3):
        call.send(type="response.create", response=aside)
    await asyncio.sleep(0.5)
    assert call.ends == [("completed", "spam")] * 3
    await asyncio.sleep(6)
    assert call.ends[3] == ("completed", "We are open from Monday to Friday, and on Saturday until noon.")
    assert not call.bus.flushes
    assert call.of("response.done")[0]["response"]["metadata"] == {"topic": "spam"}
    assert len(call.beside) == 3
    assert call.agent.told == ["We are open from Monday to Friday, and on Saturday until noon."]


async def test_a_late_first_word_is_announced_once_and_not_on_record(start: Start) -> None:
    call = start([9.0, "It is sunny."])
    await call.says("How is the weather?")
    asked = call.loop.time()
    await asyncio.sleep(4)
    assert call.bus.played[0][0] - asked < 3
    await call.says("Hello?", 0.5)
    await asyncio.sleep(9)
    assert len(call.agent.requests) == 1
    assert call.ends == [("completed", "It is sunny.")]
    assert call.spoken_ms() == 20 * -(-(60 * 15) // 20) + 20 * -(-(60 * 9) // 20), "the sign and the answer, once"
    assert call.agent.told == ["It is sunny."]


async def test_a_turn_that_went_on_is_answered_as_one_and_the_fragment_is_off_the_record(start: Start) -> None:
    call = start(["Got it. What else can I do for you today?"], ["Thank you."])
    await call.says("My number is five five five")
    await asyncio.sleep(0.5)
    began = call.loop.time()
    await call.says("zero one two three")
    held = [at for at, _, _ in call.bus.played if began + 0.15 < at < call.loop.time()]
    assert not held, "silent from 100 ms behind the onset"
    await asyncio.sleep(4)
    assert call.agent.requests[-1].text == "My number is five five five zero one two three"
    assert [item["role"] for item in call.agent.requests[-1].items] == ["user", "user"]
    assert call.ends[-1] == ("completed", "Thank you.")


@pytest.mark.parametrize("answer", ["👍", "**", "..."])
async def test_an_answer_without_words_is_announced_and_on_record_as_written(start: Start, answer: str) -> None:
    call = start([answer])
    await call.says("Is that fine?")
    await asyncio.sleep(6)
    assert call.ends == [("completed", answer)]
    assert call.spoken_ms() > 1000, "a spoken notice"
    assert call.agent.told == [answer]


async def test_an_answer_of_nothing_has_failed_also_behind_a_sign_that_it_is_late(start: Start) -> None:
    for wait in (0.1, 4.0):
        call = start([wait])
        await call.says("What time is it?")
        await asyncio.sleep(9)
        assert call.ends == [("failed", "")]
        assert (call.spoken_ms() > 0) is (wait > 2.5)


async def test_what_a_client_has_cancelled_before_a_word_was_played_is_asked_again(start: Start) -> None:
    call = start([1.0, "It is ten."])
    call.types("What time is it?")
    call.send(type="response.create")
    await asyncio.sleep(0.5)
    call.send(type="response.cancel")
    await asyncio.sleep(0.1)
    assert call.agent.told == [""]
    call.send(type="response.create")
    await asyncio.sleep(4)
    assert [request.text for request in call.agent.requests] == ["What time is it?"] * 2


async def test_an_incomplete_answer_says_why(start: Start) -> None:
    for reason in ("max_output_tokens", "content_filter"):
        call = start(["It is half of", Usage(None, None), Incomplete(reason)])  # type: ignore[arg-type]
        await call.says("What is it?")
        await asyncio.sleep(4)
        response = call.of("response.done")[0]["response"]
        assert response["status"] == "incomplete"
        assert response["status_details"]["reason"] == reason
        assert response["output"][0]["status"] == "incomplete"


async def test_the_client_learns_of_keys_and_the_agent_gets_them_as_a_turn(start: Start) -> None:
    call = start(["Press your number now, and then the hash key, please."], ["Thank you."])
    await call.says("I want my balance.")
    await asyncio.sleep(1)
    for key in "123#":
        call.runner.press_key(key)
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    assert [event["event"] for event in call.of("input_audio_buffer.dtmf_event_received")] == list("123#")
    assert call.ends[0][0] == "cancelled"
    assert "123" in call.agent.requests[1].items[-1]["content"][0]["text"].replace(" ", "")
    assert call.ends[1] == ("completed", "Thank you.")


async def test_a_silent_commit_has_an_empty_transcript_and_costs_no_recogniser(start: Start) -> None:
    call = start(["What can I do?"], settings=MANUAL)
    call.runner.feed(events.Committed(Utterance(bytes(64000), 0, 0, 0.0), speaking=False))
    call.send(type="response.create")
    await asyncio.sleep(3)
    assert call.stt.asked == 0
    (transcribed,) = call.of("conversation.item.input_audio_transcription.completed")
    assert transcribed["transcript"] == ""
    assert call.agent.requests[0].text == ""


async def test_a_silent_caller_is_asked_for_and_the_agent_is_told_what_to_do(start: Start) -> None:
    call = start(["Are you still there?"], settings=SessionSettings(turn_detection=ServerVad(idle_timeout_ms=5000)))
    await asyncio.sleep(5.3)
    assert call.of("input_audio_buffer.timeout_triggered")
    note = call.agent.requests[0].items[-1]
    assert note["role"] == "system"
    assert "still there" in note["content"][0]["text"]
    assert not any(item["role"] == "system" for item in call.realtime.conversation.items), "not on record"


async def test_the_greeting_is_spoken_to_a_caller_who_sends_no_audio(start: Start) -> None:
    call = start(["Hello again!"], greeting="Hello, how can I help you?")
    call.runner.feed(events.Connected(sends_audio=False))
    await asyncio.sleep(1)
    call.send(type="response.create")
    await asyncio.sleep(3)
    assert lives(call) == ["created", "error", "done"]
    assert call.ends == [("completed", "Hello, how can I help you?")]
    assert call.agent.told == ["Hello, how can I help you?"]


async def test_held_speech_goes_on_at_the_very_sample(start: Start) -> None:
    call = start(["We are open from Monday to Friday, and on Saturday until noon."])
    await call.says("When are you open?")
    await asyncio.sleep(1.5)
    await call.says("Mm-hmm.", 0.4)
    await asyncio.sleep(8)
    assert call.ends == [("completed", "We are open from Monday to Friday, and on Saturday until noon.")]
    assert not call.bus.flushes
    assert call.of("antiphon.false_interruption")


async def test_the_agents_own_words_are_no_turn_where_an_echo_is_likely(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VadPipeline, "words_of_echo", lambda pipeline, utterance: 1)
    call = start(["We are open from Monday to Friday, and on Saturday until noon."], ["It is ten."])
    await call.says("When are you open?")
    await asyncio.sleep(1.5)
    await call.says("We are open", 0.4)
    await asyncio.sleep(8)
    assert call.ends == [("completed", "We are open from Monday to Friday, and on Saturday until noon.")]
    assert [request.text for request in call.agent.requests] == ["When are you open?"]
    assert "We are open" not in [item["content"][0].get("transcript") for item in call.realtime.conversation.items]


async def test_other_words_stop_the_speech_over_an_echo_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VadPipeline, "words_of_echo", lambda pipeline, utterance: 1)
    call = start(["We are open from Monday to Friday, and on Saturday until noon."], ["It is ten."])
    await call.says("When are you open?")
    await asyncio.sleep(2.5)
    await call.says("Stop, what time is it?")
    await asyncio.sleep(4)
    assert [status for status, _ in call.ends] == ["cancelled", "completed"]


async def test_words_stop_the_speech_and_are_answered(start: Start) -> None:
    call = start(["We are open from Monday to Friday, and on Saturday until noon."], ["It is ten."])
    await call.says("When are you open?")
    await asyncio.sleep(2.5)
    await call.says("Stop, what time is it?")
    await asyncio.sleep(4)
    assert call.ends[0][0] == "cancelled"
    assert call.ends[0][1].startswith("We are open")
    assert call.ends[1] == ("completed", "It is ten.")
    assert call.bus.flushes == 1
    assert call.agent.told == [call.ends[0][1], "It is ten."]


async def test_an_agent_that_raises_is_not_the_end_of_the_call(start: Start) -> None:
    call = start([7], ["It is ten."])
    await call.says("What time is it?")
    await asyncio.sleep(8)
    await call.says("What time is it?")
    await asyncio.sleep(4)
    assert len(call.ends) == 2
    assert call.ends[1] == ("completed", "It is ten.")


async def test_a_goodbye_ends_the_call_behind_its_last_word(start: Start) -> None:
    call = start(["Goodbye.", HangUpAfterSpeech()])
    await call.says("That is all.")
    await asyncio.sleep(0.3)
    hung_up = [call.bus.hung_up]
    await asyncio.sleep(3)
    assert [*hung_up, call.bus.hung_up] == ["", "agent"]
    assert call.ends == [("completed", "Goodbye.")]
