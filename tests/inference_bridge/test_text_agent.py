"""A text agent's instances on a real NATS: one dies or is paused in mid-answer, is busy, sends rubbish, never ends."""

from __future__ import annotations

import asyncio
import base64
import signal
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.processes.text_agent import instance
from support.spans import recorded_spans

from antiphon.inference_bridge.agents import FunctionCall, HearsInterruptions, OwnSpeech, ReplyPart, Request, ToolRun
from antiphon.inference_bridge.agents.profile import FailureSentences
from antiphon.inference_bridge.agents.text_agent import RemoteTextAgent
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.replies import attempts, reader
from antiphon.inference_bridge.replies.attempts import MAX_ANSWER
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.access import REPLY_INBOXES
from antiphon.runtime.telemetry import spans
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import ReplyAlive, ReplyEnd, ReplyError, ReplyLimits, ReplyState, ReplyText

pytestmark = pytest.mark.process

APOLOGY, TOO_LONG = phrase("apology"), phrase("too_long")
ASKED = Request("What time is it?", datetime(2026, 11, 22, 10, 30), session={"voice": "joe"})
Answered = list[messages.AnyReplyPart] | Callable[[messages.ReplyRequest], list[messages.AnyReplyPart]]


def agent_of(client: Client, limits: ReplyLimits = ReplyLimits(), **more: Any) -> RemoteTextAgent:  # noqa: B008
    return RemoteTextAgent(client, "rtc_call", "desk", limits, **more)


async def parts_of(agent: RemoteTextAgent, request: Request = ASKED) -> list[ReplyPart]:
    return [part async for part in agent.reply(request)]


async def words(agent: RemoteTextAgent) -> str:
    return "".join(part for part in await parts_of(agent) if isinstance(part, str))


async def answering(client: Client, *answers: Answered) -> list[messages.ReplyRequest]:
    """An instance that the test plays: an answer per request, the last one again. Returns the requests."""
    asked: list[messages.ReplyRequest] = []

    async def on_request(message: Msg) -> None:
        asked.append(messages.decode(message.data, messages.ReplyRequest))
        answer = answers[min(len(asked), len(answers)) - 1]
        for part in answer(asked[-1]) if callable(answer) else answer:
            await message.respond(messages.encode(part))
            await asyncio.sleep(0)

    await client.subscribe(subjects.agent_reply("desk"), cb=on_request)
    await connection.flush(client)
    return asked


def said(*texts: str) -> list[messages.AnyReplyPart]:
    return [*(ReplyText(number=n, text=text) for n, text in enumerate(texts)), ReplyEnd(number=len(texts))]


async def test_the_request_brings_the_call_and_what_was_played_and_the_state_comes_back(bus_client: Client) -> None:
    state = ReplyState(number=1, state={"step": 2})
    asked = await answering(bus_client, [ReplyText(number=0, text="It is ten."), state, ReplyEnd(number=2)])
    agent = agent_of(bus_client)
    agent.greeting_played("Front desk.")
    assert await words(agent) == "It is ten."
    agent.interrupted()
    agent.played("It is")
    restored = agent_of(bus_client)
    restored.restore(agent.saved())
    assert await words(restored) == "It is ten."
    first, second = asked
    assert (first.call_id, first.agent, first.turn, first.text) == ("rtc_call", "desk", 1, "What time is it?")
    assert first.session == {"voice": "joe"}
    assert first.played == messages.PlayedAnswer(text="Front desk.")
    assert (second.turn, second.state) == (2, {"step": 2})
    assert second.played == messages.PlayedAnswer(text="It is", interrupted=True)
    assert isinstance(agent, HearsInterruptions)


async def test_a_turn_that_comes_again_finds_the_state_of_before(bus_client: Client) -> None:
    state = ReplyState(number=0, state={"step": 2})
    asked = await answering(bus_client, [state, ReplyText(number=1, text="What day?"), ReplyEnd(number=2)])
    agent = agent_of(bus_client)
    await words(agent)
    agent.interrupted()
    agent.played("")
    await words(agent)
    assert asked[1].state is None


async def test_an_instance_killed_in_mid_answer_is_replaced_by_one_that_is_told_what_was_said(
    bus_client: Client, nats_url: str
) -> None:
    with instance(nats_url, "desk", "one") as doomed:
        async with aclosing(agent_of(bus_client).reply(ASKED)) as parts:
            assert [await anext(parts), await anext(parts)] == ["one 0 ", "one 1 "]
            with instance(nats_url, "desk", "two"):
                doomed.kill()
                assert [part async for part in parts][-1] == "and on."


async def test_a_paused_instance_is_replaced(
    bus_client: Client, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "UNANSWERED", 20)  # NATS may choose the paused one again
    monkeypatch.setattr(reader, "SILENT_AGAIN_SECONDS", 0.3)
    with instance(nats_url, "desk", "one") as paused:
        async with aclosing(agent_of(bus_client).reply(ASKED)) as parts:
            assert await anext(parts) == "one 0 "
            with instance(nats_url, "desk", "two"):
                paused.send_signal(signal.SIGSTOP)
                assert [part async for part in parts][-1] == "and on."


async def test_closing_an_answer_stops_the_instance_that_makes_it(bus_client: Client, nats_url: str) -> None:
    with instance(nats_url, "desk", "one") as process:
        async with aclosing(agent_of(bus_client).reply(ASKED)) as parts:
            assert await anext(parts) == "one 0 "
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "turn 1\n"
        assert await asyncio.to_thread(process.stdout.readline) == "stopped\n"


async def test_the_end_of_a_call_is_told_without_an_answer(bus_client: Client) -> None:
    asked = await answering(bus_client, [])
    agent_of(bus_client).ended()
    async with asyncio.timeout(5):
        while not asked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert asked[0].event == "call_ended"


async def test_no_instance_at_all_is_an_apology_at_once(bus_client: Client) -> None:
    began = time.monotonic()
    assert await words(agent_of(bus_client, failures=FailureSentences(apology="We are closed."))) == "We are closed."
    assert time.monotonic() - began < 1


async def test_a_busy_instance_is_left_for_another_at_once(bus_client: Client) -> None:
    busy: Answered = [ReplyError(busy=True)]
    asked = await answering(bus_client, *[busy] * 4, said("Ten."))
    began = time.monotonic()
    assert await words(agent_of(bus_client)) == "Ten."
    assert time.monotonic() - began < 1.5
    assert {request.turn for request in asked} == {1}


async def test_an_agent_that_says_it_failed_is_not_asked_again(bus_client: Client) -> None:
    asked = await answering(bus_client, [ReplyText(number=0, text="Well, "), ReplyError(message="ValueError")])
    assert await words(agent_of(bus_client)) == f"Well,  {APOLOGY}"
    assert len(asked) == 1


async def test_tools_that_have_run_are_told_to_the_instance_that_goes_on(bus_client: Client) -> None:
    begun = messages.ReplyTool(number=0, call_id="t1", name="book", arguments="{}")
    done = messages.ReplyTool(number=1, call_id="t1", name="book", arguments="{}", output="booked")
    asked = await answering(bus_client, [begun, done, ReplyText(number=3, text="lost")], said("It is booked."))
    parts = await parts_of(agent_of(bus_client))
    assert parts == [ToolRun("t1", "book", "{}"), ToolRun("t1", "book", "{}", "booked"), "It is booked."]
    assert [item["type"] for item in asked[1].items] == ["function_call", "function_call_output"]


async def test_own_speech_is_decoded_and_odd_samples_are_refused(bus_client: Client) -> None:
    pcm = base64.b64encode(bytes(480)).decode()
    speech = messages.ReplySpeech(number=0, pcm=pcm, rate=16000, words="Ding")
    odd = messages.ReplySpeech(number=1, pcm=base64.b64encode(b"abc").decode())
    asked = await answering(bus_client, [speech, odd], said(" dong."))
    assert await parts_of(agent_of(bus_client)) == [OwnSpeech(bytes(480), 16000, "Ding"), " dong."]
    assert asked[1].said.strip() == "Ding"


async def test_words_without_an_end_are_cut_with_a_sentence(bus_client: Client) -> None:
    await answering(bus_client, [ReplyText(number=n, text="and so on " * 100) for n in range(500)])
    found = await words(agent_of(bus_client))
    assert found.endswith(TOO_LONG)
    assert len(found) <= MAX_ANSWER + 100


async def test_signs_of_life_without_a_word_end_in_an_apology_in_time(bus_client: Client) -> None:
    limits = ReplyLimits(first=0.5, between=0.5, whole=1)
    inbox: list[str] = []

    async def on_request(message: Msg) -> None:
        inbox.append(message.reply)
        for _ in range(100):
            await message.respond(messages.encode(ReplyAlive()))
            await asyncio.sleep(0.2)

    await bus_client.subscribe(subjects.agent_reply("desk"), cb=on_request)
    began = time.monotonic()
    assert await words(agent_of(bus_client, limits)) == APOLOGY
    assert 0.4 < time.monotonic() - began < 3
    assert inbox[0].startswith(f"{REPLY_INBOXES}.desk.")


async def test_a_function_call_ends_what_another_instance_can_go_on_with(bus_client: Client) -> None:
    call = messages.ReplyCall(number=0, call_id="c", name="look", arguments="{}")
    asked = await answering(bus_client, [call, ReplyText(number=5, text="lost")])
    assert await parts_of(agent_of(bus_client)) == [FunctionCall("c", "look", "{}")]
    assert len(asked) == 1


async def test_the_request_carries_the_turns_trace(bus_client: Client) -> None:
    headers: list[dict[str, str] | None] = []

    async def on_request(message: Msg) -> None:
        headers.append(message.headers)
        await message.respond(messages.encode(ReplyEnd(number=0)))

    await bus_client.subscribe(subjects.agent_reply("desk"), cb=on_request)
    with recorded_spans() as recorded, spans.current("turn"):
        await parts_of(agent_of(bus_client))
    turn = recorded.one("turn").get_span_context()
    assert turn is not None
    assert headers[0] is not None
    assert format(turn.trace_id, "032x") in headers[0]["traceparent"]
