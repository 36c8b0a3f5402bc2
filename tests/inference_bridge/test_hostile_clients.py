"""Callers who flood a running bridge with events: bounded, told so, ended, and no other call waits for them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError

from antiphon.schemas import messages, subjects
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = [pytest.mark.process, pytest.mark.models]

CREATE = {"type": "response.create"}
CANCEL = {"type": "response.cancel"}


def user(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


def errors(call: FakeTransceiver, code: str) -> list[dict[str, Any]]:
    return [event["error"] for event in call.of_type("error") if event["error"]["code"] == code]


async def is_released(client: Client, session_id: str) -> bool:
    leases = await client.jetstream().key_value(subjects.BUCKET_LEASES)
    try:
        await leases.get(subjects.lease_key("concierge", session_id))
    except KeyNotFoundError:
        return True
    return False


async def answered(call: FakeTransceiver) -> None:
    """The call asks, and gets an answer in speech."""
    frames, done = len(call.frames), len(call.of_type("response.done"))
    await call.send(user("When are you open?"))
    await call.send(CREATE)
    await call.until(lambda: len(call.frames) > frames)
    await call.send({"type": "output_audio_buffer.clear"})
    await call.wait_for("response.done", done + 1)


@pytest.mark.nightly
async def test_ten_thousand_events_of_every_kind_end_that_call_and_release_its_lease(quiet_bridge: Client) -> None:
    schema = {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(100)}}
    tools = {"tools": [{"type": "function", "name": "look", "parameters": schema}]}
    kinds = [user("Hello"), {"type": "session.update", "session": tools}, CREATE, CANCEL, user("x" * 5000), CREATE]
    kinds += [{"type": "conversation.item.delete", "item_id": "item_1"}, {"type": "nothing"}, CANCEL]
    async with FakeTransceiver(quiet_bridge, "concierge") as neighbour:
        await answered(neighbour)
        async with FakeTransceiver(quiet_bridge, "concierge") as call:
            await call.wait_for("session.created")
            for number, event in zip(range(10_000), itertools.cycle(kinds), strict=False):
                await call.send(event)
                if number % 100 == 0:
                    await quiet_bridge.flush()
            await answered(neighbour)
            while not call.hung_up.is_set():  # it goes on until the bridge has had enough
                await call.send(user("Hello"))
                await quiet_bridge.flush()
            await answered(neighbour)
            told = errors(call, "rate_limit_exceeded")
            assert "20 events" in told[0]["message"]
            assert len(told) <= 15, "once a second"
        while not await is_released(quiet_bridge, call.id):
            await quiet_bridge.flush()
        await answered(neighbour)


async def test_a_storm_of_responses_and_cancels_leaves_a_call_that_still_answers(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.wait_for("session.created")
        for _ in range(150):
            await call.send(user("When are you open?"))
            await call.send(CREATE)
            await call.send(CANCEL)
        await call.send({"type": "conversation.item.retrieve", "item_id": "no_such_item"})
        await call.until(lambda: bool(errors(call, "item_not_found")))
        await answered(call)
        assert all("being closed" in error["message"] for error in errors(call, "rate_limit_exceeded"))
    while not await is_released(quiet_bridge, call.id):
        await quiet_bridge.flush()


async def test_a_conversation_of_500_items_is_restored_at_once(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.wait_for("session.created")
        await call.send({"type": "session.update", "session": {"instructions": "Be brief."}})
        for number in range(500):
            await call.send(user(f"This is number {number}, and it is of ordinary length for something said."))
        await call.send(CREATE)
        await call.until(lambda: len(call.of_type("conversation.item.done")) >= 500)
        assert not call.of_type("error")
        await call.until(lambda: bool(call.frames))


@pytest.mark.parametrize("again", ["conversation.item.retrieve", "session.update"])
async def test_small_events_with_large_answers_are_refused_while_their_answers_wait(
    quiet_bridge: Client, again: str
) -> None:
    large = "y" * 60_000
    ask: dict[str, Any] = {"type": again, "item_id": "large"} if "item" in again else {"type": again, "session": {}}
    async with (
        FakeTransceiver(quiet_bridge, "concierge") as neighbour,
        FakeTransceiver(quiet_bridge, "concierge") as call,
    ):
        await call.wait_for("session.created")
        await call.send({"type": "session.update", "session": {"instructions": large}})
        item = user(large)
        await call.send({**item, "item": {**item["item"], "id": "large"}})
        for _ in range(500):
            await call.send(ask)
        await call.until(lambda: bool(errors(call, "rate_limit_exceeded")) or len(call.events) > 500)
        (error,) = errors(call, "rate_limit_exceeded")
        assert "answers wait" in error["message"]
        assert len(call.events) < 100, "of 500 answers"
        await answered(neighbour)


async def test_a_tool_schema_500_levels_deep_is_an_error_and_the_call_goes_on(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.wait_for("session.created")
        for levels in (40, 500, 900, 20_000):
            schema = '{"a":' * levels + "1" + "}" * levels
            tool = f'{{"type": "function", "name": "look", "parameters": {schema}}}'
            text = f'{{"type": "session.update", "session": {{"tools": [{tool}]}}}}'
            data = messages.encode(messages.DataMessage.of(messages.EVENTS_CHANNEL, text))
            await quiet_bridge.publish(subjects.data_in("concierge", call.id), data)
        await call.wait_for("error", 4)
        await answered(call)


async def test_odd_events_are_errors_and_the_call_goes_on(quiet_bridge: Client) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        await call.wait_for("session.created")
        cut = {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 0}
        for event in (
            {**cut, "content_index": 2**31},
            {**cut, "content_index": -1},
            {**cut, "audio_end_ms": 2**63},
            {"type": "conversation.item.retrieve", "item_id": "x" * 64},
            {"type": "conversation.item.delete", "item_id": ""},
            {"type": "response.create", "response": {"input": [{"type": "message"}] * 201}},
            {"type": "session.update", "session": {"instructions": "x" * 150_000}},
        ):
            await call.send(event)
        await call.wait_for("error", 7)
        await call.send(
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "unknown", "output": "x" * 60_000},
            }
        )
        await call.send(user("x" * 60_000))
        await call.wait_for("conversation.item.done", 2)
        await call.send(CREATE)
        await call.until(lambda: bool(call.frames))
        await call.send({"type": "output_audio_buffer.clear"})
        await answered(call)


async def test_what_a_secret_fixes_is_neither_shown_nor_changed(quiet_bridge: Client) -> None:
    session = {"instructions": "Sell apples.", "tools": [{"type": "function", "name": "sell"}], "tool_choice": "none"}
    locked = ["instructions", "tools"]
    async with FakeTransceiver(quiet_bridge, "concierge", session, locked=locked) as call:
        created = (await call.wait_for("session.created"))["session"]
        assert created["tool_choice"] == "none"
        assert "apples" not in json.dumps(created)
        assert "sell" not in json.dumps(created)
        changes = {"instructions": "Sing.", "tool_choice": "auto"}
        await call.send({"type": "session.update", "event_id": "mine", "session": changes})
        error = (await call.wait_for("error"))["error"]
        assert (error["code"], error["param"]) == ("locked_setting", "session.instructions")
        assert error["event_id"] == "mine"
        await call.send({"type": "response.create", "response": {"instructions": "Sing."}})
        assert (await call.wait_for("error", 2))["error"]["param"] == "response.instructions"
        await call.send({"type": "session.update", "session": {"max_output_tokens": 9}})
        updated = (await call.wait_for("session.updated"))["session"]
        assert updated["tool_choice"] == "none", "the refused update was refused as a whole"
        assert "apples" not in json.dumps(updated)
