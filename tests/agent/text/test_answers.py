"""What a function yields becomes the parts of an answer, in virtual time and without a connection."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from support.text_agents import of_type, parts_of, request, spoken

from antiphon.agent import (
    Action,
    Ask,
    CallTool,
    HangUp,
    Pause,
    Person,
    Retract,
    Say,
    TextAgent,
    Transfer,
    Turn,
    Usage,
)
from antiphon.agent.text.answer import AHEAD_SECONDS, MAX_CHARACTERS, MAX_PIECES
from antiphon.schemas.messages import (
    PlayedAnswer,
    ReplyEnd,
    ReplyError,
    ReplyExpect,
    ReplyHangUp,
    ReplyPause,
    ReplyPerson,
    ReplyRetracted,
    ReplySpeech,
    ReplyState,
    ReplyText,
    ReplyTransfer,
    ReplyUsage,
)
from antiphon.schemas.messages.replies import MAX_SPEECH_PART, MAX_TEXT_PART

pytestmark = pytest.mark.virtual


def answering(*pieces: Any) -> TextAgent:
    """An agent that yields these."""
    agent = TextAgent("desk")

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        for piece in pieces:
            yield piece

    return agent


async def test_parts_are_numbered_without_a_gap_and_end() -> None:
    actions = [Pause(0.5), Ask("date"), Person(), Transfer("billing", "a refund"), Retract(), Usage(3, 4), HangUp()]
    parts = await parts_of(answering("Hello, ", None, "", "you. ", *actions), request("Hi."))
    kinds = [ReplyText, ReplyText, ReplyPause, ReplyExpect, ReplyPerson, ReplyTransfer]
    assert [type(each) for each in parts] == [*kinds, ReplyRetracted, ReplyUsage, ReplyHangUp, ReplyEnd]
    assert [getattr(each, "number", None) for each in parts] == list(range(10))
    assert of_type(parts, ReplyPause)[0].milliseconds == 500


async def test_a_function_may_return_its_text() -> None:
    agent = TextAgent("desk")

    @agent.reply
    async def reply(turn: Turn) -> str:
        return f"You said: {turn.text}"

    parts = await parts_of(agent, request("Hi."))
    assert spoken(parts) == "You said: Hi."
    assert isinstance(parts[-1], ReplyEnd)


async def test_a_long_text_is_split() -> None:
    parts = await parts_of(answering("é" * (2 * MAX_TEXT_PART + 3)), request())
    assert [len(each.text) for each in of_type(parts, ReplyText)] == [MAX_TEXT_PART, MAX_TEXT_PART, 3]


@pytest.mark.parametrize(("rate", "frames"), [(24000, 24000), (22050, 24000), (8000, 8000), (11025, 16000)])
async def test_long_audio_is_split_with_its_words(rate: int, frames: int) -> None:
    words = "one two three four five six seven eight nine ten"
    parts = await parts_of(answering(Say(bytes(2 * rate * 6), words, rate)), request())
    speech = of_type(parts, ReplySpeech)
    assert "".join(each.words for each in speech) == words
    assert {each.rate for each in speech} == {frames}
    sizes = [len(base64.b64decode(each.pcm)) for each in speech]
    assert max(sizes) <= MAX_SPEECH_PART
    assert sum(sizes) == 2 * frames * 6
    assert len(speech) > 1 or frames == 8000
    assert speech[0].words


async def test_audio_is_sent_as_it_is_played_where_much_of_it_waits_already() -> None:
    began = asyncio.get_running_loop().time()
    parts = await parts_of(answering(*[Say(bytes(2 * 8000 * 60), "", 8000)] * 2), request())
    assert isinstance(parts[-1], ReplyEnd)
    assert asyncio.get_running_loop().time() - began == pytest.approx(120 - AHEAD_SECONDS, abs=1)
    endless = await parts_of(answering(*[Say(bytes(2 * 8000 * 60), "", 8000)] * 10), request())
    assert "more than 300 s of audio" in endless[-1].message  # type: ignore[union-attr]


async def test_half_a_letter_costs_that_letter_only() -> None:
    assert spoken(await parts_of(answering("Hello\ud800."), request())) == "Hello?."


@pytest.mark.parametrize("piece", [3, b"pcm", ["text"], object()])
async def test_what_is_neither_text_nor_action_ends_the_answer_and_names_the_function(
    piece: object, caplog: pytest.LogCaptureFixture
) -> None:
    parts = await parts_of(answering("Hello.", piece), request())
    assert spoken(parts) == "Hello."
    assert isinstance(parts[-1], ReplyError)
    assert "it yielded" in parts[-1].message
    assert f"reply at {__file__}:" in caplog.text


async def test_an_exception_ends_the_answer_and_its_traceback_is_in_our_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = TextAgent("desk")

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        yield "Hello."
        raise ValueError("the password is 1234")

    parts = await parts_of(agent, request())
    assert spoken(parts) == "Hello."
    assert isinstance(parts[-1], ReplyError)
    assert "ValueError" in parts[-1].message
    assert "1234" not in parts[-1].message
    assert "the password is 1234" in caplog.text


@pytest.mark.parametrize("piece", ["", "a"])
async def test_a_function_that_never_stops_is_stopped_and_lets_others_live(piece: Any) -> None:
    agent = TextAgent("desk")
    ticks = 0

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[Any]:
        while True:
            yield piece

    async def others() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    parts = await parts_of(agent, request())
    beside.cancel()
    assert isinstance(parts[-1], ReplyError)
    assert str(MAX_PIECES) in parts[-1].message
    assert ticks >= MAX_PIECES // 100


async def test_a_text_without_an_end_is_stopped() -> None:
    parts = await parts_of(answering(*["x" * 100_000] * 10), request())
    assert isinstance(parts[-1], ReplyError)
    assert len(spoken(parts)) <= MAX_CHARACTERS


# ---- interruption


async def test_closing_the_answer_cancels_the_function_where_it_waits() -> None:
    agent, ended = TextAgent("desk"), asyncio.Event()

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        yield "Hello."
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    async with aclosing(agent.answer(request())) as parts:
        assert (await anext(parts)).type == "text"
    assert ended.is_set()


async def test_a_function_that_does_not_end_is_named(caplog: pytest.LogCaptureFixture) -> None:
    agent, hold = TextAgent("desk"), True

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        yield "Hello."
        while hold:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                logging.getLogger("test").info("no")

    async with aclosing(agent.answer(request())) as parts:
        await anext(parts)
    assert "does not end though it was cancelled" in caplog.text
    hold = False


async def test_the_next_turn_tells_what_was_played() -> None:
    agent = TextAgent("desk")
    seen: list[Turn] = []

    @agent.reply
    async def reply(turn: Turn) -> str:
        seen.append(turn)
        return "Yes."

    await parts_of(agent, request("No!", played=PlayedAnswer(text="On Mon", interrupted=True), keys="1", turn=3))
    turn = seen[0]
    assert (turn.played, turn.interrupted, turn.keys, turn.number) == ("On Mon", True, "1", 3)
    with pytest.raises(AttributeError):
        turn.text = "other"  # type: ignore[misc]


# ---- an answer that another instance has begun


async def test_what_another_instance_has_said_is_not_said_again() -> None:
    agent = answering("We have tables ", "at six ", "and at eight.")
    assert spoken(await parts_of(agent, request(said="We have tables at six"))) == " and at eight."


async def test_a_function_that_reads_what_was_said_takes_care_of_it_itself() -> None:
    agent = TextAgent("desk")

    @agent.reply
    async def reply(turn: Turn) -> str:
        return f"{turn.said} and {turn.said}"

    assert spoken(await parts_of(agent, request(said="We have"))) == "We have and We have"


# ---- state


async def test_state_is_saved_when_it_has_changed() -> None:
    agent = TextAgent("desk")

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str]:
        turn.state["count"] = turn.state.get("count", 0) + 1
        yield "One."
        yield "Two."
        turn.state["done"] = True

    parts = await parts_of(agent, request(state={"count": 4}))
    assert [each.type for each in parts] == ["state", "text", "text", "state", "end"]
    assert of_type(parts, ReplyState)[-1].state == {"count": 5, "done": True}


async def test_state_that_has_not_changed_costs_nothing() -> None:
    agent = answering("One.", "Two.")
    for state in (None, {}, {"a": 1}, "rubbish"):
        assert not of_type(await parts_of(agent, request(state=state)), ReplyState)


@pytest.mark.parametrize(
    ("value", "says"), [("x" * 9000, "at most 8192"), (object(), "no plain JSON"), (float("nan"), "no plain JSON")]
)
async def test_state_that_can_not_be_kept_is_an_error(value: object, says: str) -> None:
    agent = TextAgent("desk")

    @agent.reply
    async def reply(turn: Turn) -> str:
        turn.state["value"] = value
        return "Yes."

    parts = await parts_of(agent, request())
    assert isinstance(parts[-1], ReplyError)
    assert says in parts[-1].message


# ---- hooks


async def test_the_greeting_is_what_the_hook_yields_or_the_fixed_one() -> None:
    agent = TextAgent("desk", greeting="Good morning.")
    agent.reply(answering("no")._functions["reply"])
    assert spoken(await parts_of(agent, request(event="call_started"))) == "Good morning."

    @agent.call_started
    async def started(turn: Turn) -> str | None:
        turn.state["known"] = turn.session.get("name")
        return f"Hello, {turn.session['name']}." if "name" in turn.session else None

    parts = await parts_of(agent, request(event="call_started", session={"name": "Ada"}))
    assert spoken(parts) == "Hello, Ada."
    assert of_type(parts, ReplyState)[-1].state == {"known": "Ada"}
    assert spoken(await parts_of(agent, request(event="call_started"))) == "Good morning."


async def test_silence_is_answered_by_its_function_or_by_reply() -> None:
    agent = answering("Go on.")
    assert spoken(await parts_of(agent, request(event="silence"))) == "Go on."

    @agent.silence
    async def silent(turn: Turn) -> AsyncIterator[str | Action]:
        yield "Goodbye."
        yield HangUp()

    parts = await parts_of(agent, request(event="silence"))
    assert spoken(parts) == "Goodbye."
    assert of_type(parts, ReplyHangUp)


async def test_the_end_of_a_call_is_told_and_nothing_of_it_is_spoken() -> None:
    agent = answering("no")
    assert [each.type for each in await parts_of(agent, request(event="call_ended"))] == ["end"]
    ended: list[str] = []

    @agent.call_ended
    async def over(turn: Turn) -> None:
        ended.append(turn.call_id)

    assert [each.type for each in await parts_of(agent, request(event="call_ended"))] == ["end"]
    assert ended


async def test_a_guess_is_marked_and_runs_no_tool() -> None:
    agent, ran = TextAgent("desk", speculates=True), False

    @agent.tool
    def book() -> str:
        nonlocal ran
        ran = True
        return "booked"

    @agent.reply
    async def reply(turn: Turn) -> AsyncIterator[str | Action]:
        if turn.text == "Hello.":
            yield "Hello!" if turn.speculative else "Hi!"
        elif turn.text == "Book.":
            yield CallTool("book")
        else:
            try:
                yield str(await turn.call("book"))
            except Exception:
                yield "Sorry."

    assert spoken(await parts_of(agent, request("Hello.", speculative=True))) == "Hello!"
    for text in ("Book.", "Call."):
        parts = await parts_of(agent, request(text, speculative=True))
        assert [each.type for each in parts] == ["error"]
    assert not ran
