"""What a client's events may be and cost: depth, width, numbers, text, sizes, rate; settings that it may not change."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from antiphon.inference_bridge.conversation import event_budget
from antiphon.inference_bridge.conversation.event_budget import BURST, BYTE_BURST, EventBudget, Verdict
from antiphon.inference_bridge.dispatch import conversation_snapshot
from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot, bounded, settings_json
from antiphon.inference_bridge.realtime_protocol.client_events import read_client_event
from antiphon.inference_bridge.realtime_protocol.conversation import MAX_CHARACTERS, Conversation, message
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.locked_settings import LockedSettings
from antiphon.inference_bridge.realtime_protocol.session_settings import (
    SessionChanges,
    SessionSettings,
    first_settings,
)

pytestmark = pytest.mark.pure


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def tool(parameters: str) -> str:
    return f'{{"type": "function", "name": "look", "parameters": {parameters}}}'


def update(parameters: str) -> str:
    return f'{{"type": "session.update", "event_id": "mine", "session": {{"tools": [{tool(parameters)}]}}}}'


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **more}


def create(item: dict[str, Any]) -> str:
    return json.dumps({"type": "conversation.item.create", "item": item})


# ---- one event -------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [30, 33, 100, 500, 900, 5000, 40_000])
def test_what_is_nested_more_than_32_levels_deep_is_refused(levels: int) -> None:
    with pytest.raises(ClientError):
        read_client_event(update(deep(levels)))
    with pytest.raises(ClientError):
        read_client_event("[" * levels)
    unknown = f'{{"type": "input_audio_buffer.clear", "more": {deep(max(levels, 33))}}}'
    with pytest.raises(ClientError):
        read_client_event(unknown)


def test_a_schema_of_ordinary_depth_is_taken_and_written_down() -> None:
    event: Any = read_client_event(update(deep(28)))
    settings = SessionSettings().changed(event.session)
    assert json.loads(json.dumps(settings_json(settings)))["tools"][0]["name"] == "look"


@pytest.mark.parametrize(
    "event",
    [
        update(json.dumps({f"key_{n}": 1 for n in range(100_000)})),
        update(json.dumps({f"{n}": 1 for n in range(20_000)})),
        update(json.dumps({"a": "x" * 17_000})),
        update('{"a": NaN}'),
        update('{"a": 1e999}'),
        update('{"a": ' + "9" * 4000 + "}"),
        update('{"a": ' + "9" * 5000 + "}"),
        update('{"a": "\\ud800"}'),
        update('{"\\udc00": 1}'),
        create(user("x" * 65_537)),
        create(user("", content=[{"type": "input_text", "text": "x" * 2000}] * 64)),
        create({"type": "function_call_output", "call_id": "c", "output": "x" * 65_537}),
        json.dumps({"type": "session.update", "session": {"instructions": "x" * 100_001}}),
        json.dumps({"type": "session.update", "session": {"tracing": {"a": "x" * 5000}}}),
        json.dumps({"type": "response.create", "response": {"metadata": {str(n): "" for n in range(4000)}}}),
        json.dumps({"type": "response.create", "response": {"metadata": {"a": "x" * 513}}}),
        json.dumps({"type": "response.create", "response": {"metadata": {"x" * 65: ""}}}),
        json.dumps({"type": "response.create", "response": {"instructions": "x" * 65_537}}),
        json.dumps({"type": "response.cancel", "response_id": "x" * 65}),
        '{"type": "conversation.item.truncate", "item_id": "a", "content_index": 1e30, "audio_end_ms": 0}',
        '{"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": -1}',
        '{"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 9007199254740993}',
        '{"type": "\\ud800"}',
    ],
)
def test_an_event_beyond_the_bounds_is_an_error_of_the_protocol(event: str) -> None:
    with pytest.raises(ClientError) as error:
        read_client_event(event)
    assert len(str(error.value)) < 1000
    json.dumps([str(error.value), error.value.param]).encode()


def test_an_error_does_not_send_back_what_was_too_long() -> None:
    for event in (
        {"type": "nothing", "event_id": "x" * 100_000},
        {"type": "x" * 100_000},
        {"type": "response.create", "response": {"metadata": {"x" * 100_000: 7}}},
    ):
        with pytest.raises(ClientError) as error:
            read_client_event(json.dumps(event))
        found = error.value
        assert len(f"{found} {found.param} {found.event_id}") < 1000


def test_the_tools_of_a_session_are_bounded_together_and_those_that_fit_are_taken() -> None:
    tools = [{"type": "function", "name": f"tool_{n}", "description": "x" * 4000} for n in range(20)]
    read: Any = read_client_event(json.dumps({"type": "session.update", "session": {"tools": tools}}))
    assert len(SessionSettings().changed(read.session).tools) == 16
    assert [error.param for error in read.session.refused] == [f"session.tools[{n}]" for n in range(16, 20)]
    assert all("together" in str(error) for error in read.session.refused)
    read = read_client_event(json.dumps({"type": "session.update", "session": {"tools": tools[:10]}}))
    assert not read.session.refused


def test_the_number_of_tools_is_bounded_and_the_first_are_taken() -> None:
    tools = [{"type": "function", "name": f"tool_{n}"} for n in range(5000)]
    changes = SessionChanges.model_validate({"tools": tools})
    assert len(SessionSettings().changed(changes).tools) == 128
    (error,) = changes.refused
    assert error.param == "session.tools[128]"


def test_an_event_with_thousands_of_bad_fields_gets_a_few_errors_and_their_number() -> None:
    session: dict[str, Any] = {f"field_{n}": n for n in range(4000)}
    session["instructions"] = "Be brief."
    changes = SessionChanges.model_validate(session)
    assert len(changes.refused) == 17
    assert "3984 more" in str(changes.refused[-1])
    assert SessionSettings().changed(changes).instructions == "Be brief."
    bad_tools = [{"type": "mcp"} for _ in range(128)]
    assert len(SessionChanges.model_validate({"tools": bad_tools, "voice": "x" * 100_000}).refused) == 17
    for error in changes.refused:
        assert len(f"{error} {error.param}") < 1000


def test_an_offer_with_a_setting_beyond_the_bounds_costs_that_setting() -> None:
    schema = json.loads(deep(200))
    settings, refused = first_settings(
        {
            "instructions": "Be brief.",
            "tools": [{"type": "function", "name": "a", "parameters": schema}],
            "audio": {"output": {"speed": 1e999}, "input": {"transcription": {"prompt": "Riverside"}}},
            "\ud800": 1,
        }
    )
    assert settings.instructions == "Be brief."
    assert settings.tools == ()
    assert settings.turn_prompt() == "Riverside"
    assert [error.param for error in refused] == ["session.tools", "session.audio.output.speed", "session.\\ud800"]
    assert "levels" in str(refused[0])
    json.dumps([[str(error), error.param] for error in refused]).encode()


# ---- the conversation ------------------------------------------------------------------------------


def test_above_its_characters_the_oldest_items_of_a_conversation_go() -> None:
    conversation = Conversation()
    for number in range(100):
        conversation.add(message(f"item_{number}", "user", "completed", {"type": "input_text", "text": "x" * 60_000}))
    items = conversation.items
    assert sum(len(item["content"][0]["text"]) for item in items) <= MAX_CHARACTERS
    assert items[-1]["id"] == "item_99"
    for item in items:
        conversation.delete(item["id"])
    conversation.add(message("after", "user", "completed", {"type": "input_text", "text": "x"}))
    assert [item["id"] for item in conversation.items] == ["after"]


@pytest.mark.parametrize("text", ["x" * 28_000, "\x00" * 13_000, "x" * 1000])
def test_a_snapshot_costs_what_it_keeps_and_not_what_the_conversation_holds(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    class Counted:
        @staticmethod
        def dumps(value: Any) -> str:
            written.append(len(json.dumps(value)))
            return json.dumps(value)

    monkeypatch.setattr(conversation_snapshot, "json", Counted)
    items = [message(f"item_{n}", "user", "completed", {"type": "input_text", "text": text}) for n in range(500)]
    bounded(ConversationSnapshot(items=items))
    assert sum(written) < 400_000


def test_settings_that_leave_no_room_do_not_cost_the_conversation() -> None:
    changes = SessionChanges.model_validate({"instructions": "x" * 60_000})
    items = [message("a", "user", "completed", {"type": "input_text", "text": "Hello"})]
    kept = bounded(ConversationSnapshot(items=items, settings=settings_json(SessionSettings().changed(changes))))
    assert kept["items"] == items
    assert kept["settings"] is None


# ---- the rate --------------------------------------------------------------------------------------


def test_a_client_that_restores_a_conversation_at_once_loses_nothing() -> None:
    budget = EventBudget(0.0)
    assert all(budget.spend(4000, 0.0) is Verdict.TAKE for _ in range(BURST))
    assert all(budget.spend(4000, number / 19.9) is Verdict.TAKE for number in range(1, 200)), (
        "and goes on at 20 a second"
    )


def test_a_flood_is_reported_once_a_second_and_ends_the_call() -> None:
    budget = EventBudget(0.0)
    verdicts = [(number / 500, budget.spend(100, number / 500)) for number in range(500 * 13)]
    taken = sum(verdict is Verdict.TAKE for _, verdict in verdicts)
    assert taken <= BURST + 20 * 13 + 1
    reports = [at for at, verdict in verdicts if verdict is Verdict.REPORT]
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(reports))
    (ended,) = [at for at, verdict in verdicts if verdict is Verdict.END]
    assert 10 <= ended < 13
    assert budget.dropped == len(verdicts) - taken


def test_a_client_that_slows_down_stays() -> None:
    budget = EventBudget(0.0)
    verdicts = []
    for second in range(0, 120, 6):  # a burst beyond the limit each six seconds
        verdicts += [budget.spend(100, float(second)) for _ in range(700)]
    assert Verdict.END not in verdicts
    assert Verdict.REPORT in verdicts


def test_bytes_are_counted_too() -> None:
    budget = EventBudget(0.0)
    verdicts = [budget.spend(256 * 1024, 0.0) for _ in range(20)]
    assert verdicts.count(Verdict.TAKE) == BYTE_BURST // (256 * 1024)


def test_a_client_whose_answers_wait_is_told_so_and_stays_if_it_waits() -> None:
    budget = EventBudget(0.0)
    assert budget.spend(100, 0.0) is Verdict.TAKE
    assert budget.spend(100, 0.1, answers_wait=True) is Verdict.REPORT
    assert budget.spend(100, 0.2, answers_wait=True) is Verdict.DROP
    assert budget.spend(100, 0.3) is Verdict.TAKE


def test_messages_of_other_channels_cost_nothing() -> None:
    budget = EventBudget(0.0)
    for _ in range(10 * BURST):
        assert budget.spend(1000, 0.0) is Verdict.TAKE
        budget.give_back(1000)
    assert event_budget.RATE == 20


# ---- locked settings -------------------------------------------------------------------------------

FIXED = SessionSettings().changed(
    SessionChanges.model_validate({"instructions": "Sell apples.", "tools": [{"type": "function", "name": "sell"}]})
)


@pytest.mark.parametrize(
    ("locked", "event", "param"),
    [
        ("instructions", {"type": "session.update", "session": {"instructions": "Sing."}}, "session.instructions"),
        ("instructions", {"type": "session.update", "session": {"instructions": None}}, "session.instructions"),
        ("tools", {"type": "session.update", "session": {"tools": []}}, "session.tools"),
        ("audio", {"type": "session.update", "session": {"audio": {"output": {"speed": 1.5}}}}, "speed"),
        (
            "audio.input.turn_detection",
            {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}},
            "turn_detection",
        ),
        (
            "audio.input.turn_detection.threshold",
            {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}},
            "turn_detection",
        ),
        ("instructions", {"type": "response.create", "response": {"instructions": "Sing."}}, "response.instructions"),
        ("tools", {"type": "response.create", "response": {"tools": []}}, "response.tools"),
        ("output_modalities", {"type": "response.create", "response": {"output_modalities": ["text"]}}, "modalities"),
        ("instructions", {"type": "response.create", "response": {"input": [user("Sing.", role="system")]}}, "input"),
        ("instructions", {"type": "conversation.item.create", "item": user("Sing.", role="system")}, "item"),
        ("instructions", {"type": "conversation.item.create", "item": user("Sing.", role="developer")}, "item"),
        ("audio.output.speed", {"type": "session.update", "session": {"speed": 1.5}}, "session.speed"),
        (
            "speed",
            {"type": "session.update", "session": {"audio": {"output": {"speed": 1.5}}}},
            "session.audio.output.speed",
        ),
        ("turn_detection", {"type": "session.update", "session": {"turn_detection": None}}, "session.turn_detection"),
        (
            "max_response_output_tokens",
            {"type": "response.create", "response": {"max_output_tokens": 9}},
            "response.max",
        ),
        ("output_modalities", {"type": "response.create", "response": {"modalities": ["text"]}}, "response.modalities"),
        ("audio.output.speed", {"type": "response.create", "response": {"speed": 1.5}}, "response.speed"),
    ],
)
def test_what_the_maker_of_a_secret_has_fixed_is_not_changed(locked: str, event: dict[str, Any], param: str) -> None:
    read = read_client_event(json.dumps(event))
    LockedSettings().check(read, FIXED)
    with pytest.raises(ClientError) as error:
        LockedSettings([locked]).check(read, FIXED)
    assert error.value.code == "locked_setting"
    assert param in str(error.value.param)


def test_a_locked_setting_may_be_sent_as_it_is() -> None:
    session = {"instructions": "Sell apples.", "audio": {"output": {"speed": 1.2}}}
    event = read_client_event(json.dumps({"type": "session.update", "session": session}))
    LockedSettings(["instructions", "tools", "no_such_setting"]).check(event, FIXED)


def test_a_field_that_is_fixed_at_its_old_place_counts_before_the_client_s_at_its_new_one() -> None:
    session = {"speed": 1.2, "audio": {"output": {"speed": 0.5}, "input": {"transcription": None}}}
    settings, refused = first_settings(session, locked=["speed"])
    assert (settings.speed, settings.transcription, refused) == (1.2, None, ())
    settings, refused = first_settings(session)
    assert settings.speed == 0.5, "today's place counts"
    assert [error.param for error in refused] == ["session.speed"]


def test_errors_about_what_is_hidden_are_not_for_the_client() -> None:
    session = {"tools": [{"type": "mcp"}], "speed": 9, "tool_choice": "x"}
    _, refused = first_settings(session)
    locked = LockedSettings(["tools", "speed", "tool_choice"])
    assert [error.param for error in refused if locked.may_see(error)] == ["session.tool_choice", "session.speed"]


def test_locked_instructions_and_tools_are_not_shown() -> None:
    shown = {"instructions": "Sell apples.", "tools": [1], "tool_choice": "auto"}
    assert LockedSettings(["instructions", "tools", "tool_choice"]).shown(shown) == {"tool_choice": "auto"}
    assert LockedSettings(["tools"]).shown(shown) == {"instructions": "Sell apples.", "tool_choice": "auto"}
