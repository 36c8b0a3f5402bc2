"""What is made of an instance's parts, in order and time: gaps, rubbish, floods, silence."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from antiphon.inference_bridge.agents import Request
from antiphon.inference_bridge.replies import reader
from antiphon.inference_bridge.replies.reader import AnswerEndedError, AnswerReader, TimeLimits, Why
from antiphon.inference_bridge.replies.requests import packed, read_request, reply_request
from antiphon.schemas import messages
from antiphon.schemas.errors import MalformedError

pytestmark = pytest.mark.pure

LIMITS = TimeLimits(first=8, between=4, whole=20)


def text(number: int, words: str = "word ") -> bytes:
    return messages.encode(messages.ReplyText(number=number, text=words))


def long_text(characters: int) -> bytes:
    return json.dumps({"version": 1, "type": "text", "number": 1, "text": "x" * characters}).encode()


ALIVE = messages.encode(messages.ReplyAlive())


def given(answer: AnswerReader, *parts: bytes, now: float = 0.0) -> list[Any]:
    """What comes out of these parts, the failure included."""
    for part in parts:
        answer.receive(part, now)
    found: list[Any] = []
    try:
        while (part_ := answer.take()) is not None:
            found.append(part_)
    except AnswerEndedError as error:
        found.append(error.why)
    return found


def test_parts_come_out_in_order_and_nothing_is_read_behind_the_end() -> None:
    answer = AnswerReader(LIMITS, 0)
    end = messages.encode(messages.ReplyEnd(number=2))
    found = given(answer, ALIVE, text(0), text(1), end, text(3), b"rubbish")
    assert [type(part).__name__ for part in found] == ["ReplyText", "ReplyText", "ReplyEnd"]
    assert answer.is_over


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([text(0), text(2)], Why.GONE),
        ([text(0), text(0)], Why.RUBBISH),
        ([text(0), b"\xff{"], Why.RUBBISH),
        ([text(0), b'{"type": "song", "number": 1}'], Why.RUBBISH),
        (
            [text(0), json.dumps({"version": 1, "type": "text", "number": 1, "text": "x" * 1_000_000}).encode()],
            Why.RUBBISH,
        ),
        (
            [text(0), json.dumps({"version": 1, "type": "text", "number": 1, "text": "x" * 20_000}).encode()],
            Why.RUBBISH,
        ),
        ([text(0), b'{"version": 1, "type": "state", "number": 1, "state": ' + b"[" * 100_000], Why.RUBBISH),
        ([text(0), messages.encode(messages.ReplyError(message="no"))], Why.FAILED),
        ([text(0), messages.encode(messages.ReplyError(busy=True))], Why.BUSY),
        ([text(0), *[ALIVE] * 100], Why.RUBBISH),
    ],
)
def test_what_is_no_answer_ends_it_behind_the_parts_that_were_good(parts: list[bytes], why: Why) -> None:
    first, failure = given(AnswerReader(LIMITS, 0), *parts)
    assert first.text == "word "
    assert failure is why


def test_an_answer_without_end_is_bounded_in_parts_and_in_bytes_that_wait() -> None:
    many = AnswerReader(LIMITS, 0)
    taken = 0
    while not many.is_over:
        many.receive(text(taken), 0)
        taken += len(given(many))
    assert taken <= reader.MAX_PARTS + 1
    large = AnswerReader(LIMITS, 0)
    for number in range(2000):
        large.receive(text(number, "x" * 16_000), 0)
    assert sum(len(part.text) for part in given(large)[:-1]) <= reader.MAX_WAITING_BYTES


def test_an_instance_without_a_sign_of_life_is_gone_and_one_with_signs_is_late() -> None:
    silent = AnswerReader(LIMITS, 0)
    silent.wait(0)
    assert silent.due == reader.SILENT_SECONDS
    silent.expire(silent.due)
    assert given(silent) == [Why.UNANSWERED]
    again = AnswerReader(LIMITS, 0, again=True)
    again.wait(0)
    assert again.due == reader.SILENT_AGAIN_SECONDS
    again.receive(ALIVE, 0.5)
    assert again.due == 0.5 + reader.SILENT_SECONDS
    again.expire(again.due)
    assert given(again) == [Why.GONE]
    alive = AnswerReader(LIMITS, 0)
    alive.wait(0)
    for tick in range(20):
        if alive.has_part:
            break
        now = tick / 2
        alive.receive(ALIVE, now)
        alive.expire(now)
    assert given(alive) == [Why.LATE]
    assert now == LIMITS.first


def test_the_time_in_which_an_answer_is_spoken_does_not_count() -> None:
    answer, now = AnswerReader(LIMITS, 0), 0.0
    for number in range(10):
        answer.wait(now)
        now += 1.9
        answer.receive(text(number), now)
        answer.waited(now)
        answer.take()
        now += 30  # it is spoken
        answer.receive(ALIVE, now)
    answer.wait(now)
    assert answer.due == pytest.approx(now + 1.0), "19 of 20 s are used"


def test_a_process_that_stood_still_itself_does_not_blame_the_instance_but_once() -> None:
    answer = AnswerReader(LIMITS, 0)
    answer.wait(0)
    answer.expire(60)
    assert not answer.has_part
    assert 60 < answer.due <= 61
    answer.expire(answer.due)
    assert given(answer) == [Why.UNANSWERED]


def test_a_request_comes_back_as_it_was_and_one_that_is_too_large_goes_without_its_oldest_items() -> None:
    now = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
    items = [{"type": "message", "id": f"item_{n}", "content": [{"text": "x" * 100_000}]} for n in range(20)]
    asked = Request("?", now, items, "Be brief.", already_spoken="Well, ", keys="12#", session={"a": None})
    small = replace(asked, items=items[:1], tools=[{"name": "look"}])
    assert read_request(packed(reply_request(small))) == small
    data = packed(reply_request(asked, call_id="rtc_x", turn=3))
    assert len(data) <= messages.MAX_MESSAGE_BYTES
    assert read_request(data).items[-1]["id"] == "item_19"
    with pytest.raises(MalformedError, match="shorten the instructions"):
        packed(reply_request(Request("?", now, items, "x" * 600_000)))
