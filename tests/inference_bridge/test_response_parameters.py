"""What a client wants of one response, and the items that it gives to it or puts on record: in force or refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from openai.types.beta.realtime.response_create_event import Response as FlatResponse
from openai.types.realtime import RealtimeResponseCreateParams

from antiphon.inference_bridge.realtime_protocol.client_events import (
    ItemCreate,
    ResponseCreate,
    ResponseParameters,
    read_client_event,
)
from antiphon.inference_bridge.realtime_protocol.conversation import (
    MAX_INPUT_CHARACTERS,
    Conversation,
    item_of,
    message,
    text_of,
)
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionChanges, SessionSettings
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport

pytestmark = pytest.mark.pure

SUPPORT = SpeechSupport(voices={"joe": frozenset({"en"}), "af_bella": frozenset({"en"}), "ef_dora": frozenset({"es"})})
SESSION = SessionSettings().changed(
    SessionChanges.model_validate({"instructions": "Be kind.", "tools": [{"name": "look"}], "speed": 1.2})
)


def parameters(**response: Any) -> ResponseParameters:
    event = read_client_event(json.dumps({"type": "response.create", "event_id": "mine", "response": response}))
    assert isinstance(event, ResponseCreate)
    assert event.response is not None
    return event.response


def settings(**response: Any) -> tuple[SessionSettings, list[str | None]]:
    applied = SESSION.for_response(parameters(**response), SUPPORT)
    return applied.settings, [error.param for error in applied.refused]


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **more}


# ---- fields ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "setting", "value"),
    [
        ({}, "instructions", "Be kind."),
        ({"instructions": "Classify."}, "instructions", "Classify."),
        ({"instructions": None}, "instructions", "Be kind."),
        ({"output_modalities": ["text"]}, "output_modalities", ("text",)),
        ({"modalities": ["text"]}, "output_modalities", ("text",)),
        ({"modalities": ["audio", "text"]}, "output_modalities", ("audio", "text")),
        ({"max_output_tokens": 20}, "max_output_tokens", 20),
        ({"max_response_output_tokens": 20}, "max_output_tokens", 20),
        ({"max_output_tokens": "inf"}, "max_output_tokens", "inf"),
        ({"tools": []}, "tools", ()),
        ({"tools": None}, "tools", SESSION.tools),
        ({"tool_choice": "none"}, "tool_choice", "none"),
        ({"audio": {"output": {"voice": "af_bella"}}}, "voice", "af_bella"),
        ({"voice": "af_bella"}, "voice", "af_bella"),
        ({"voice": {"id": "af_bella"}}, "voice", "af_bella"),
        ({"voice": "alloy"}, "voice", ""),
        ({"speed": 0.5}, "speed", 0.5),
        ({"audio": {"output": {"format": {"type": "audio/pcm"}}}}, "speed", 1.2),
        ({"output_audio_format": "pcm16", "temperature": 0.7}, "speed", 1.2),
        ({"parallel_tool_calls": False, "reasoning": {"effort": "low"}, "prompt": None}, "speed", 1.2),
    ],
)
def test_a_response_has_settings_of_its_own_in_both_shapes(response: dict[str, Any], setting: str, value: Any) -> None:
    own, refused = settings(**response)
    assert refused == []
    assert getattr(own, setting) == value


@pytest.mark.parametrize(
    ("response", "param"),
    [
        ({"voice": "nobody"}, "response.voice"),
        ({"voice": "ef_dora"}, "response.voice"),
        ({"audio": {"output": {"voice": "nobody"}}}, "response.audio.output.voice"),
        ({"audio": {"output": {"voice": 7}}}, "response.audio.output.voice"),
        ({"audio": {"input": {}}}, "response.audio.input"),
        ({"max_output_tokens": 0}, "response.max_output_tokens"),
        ({"max_response_output_tokens": "x"}, "response.max_response_output_tokens"),
        ({"speed": 9}, "response.speed"),
        ({"temperature": "hot"}, "response.temperature"),
        ({"tool_choice": "look"}, "response.tool_choice"),
        ({"tool_choice": {"type": "function", "name": "unknown"}}, "response.tool_choice"),
        ({"prompt": {"id": "pmpt_1"}}, "response.prompt"),
        ({"instrutions": "Classify."}, "response.instrutions"),
        ({"turn_detection": None}, "response.turn_detection"),
        ({"modalities": ["text"], "output_modalities": ["audio"]}, "response.modalities"),
    ],
)
def test_a_bad_field_costs_itself_and_the_response_comes(response: dict[str, Any], param: str) -> None:
    own, refused = settings(**response, metadata={"a": "b"}, instructions="Classify.")
    assert refused == [param]
    assert own.instructions == "Classify."
    rest = {name: value for name, value in response.items() if name == "output_modalities"}
    assert own == settings(instructions="Classify.", **rest)[0]


def test_a_tool_of_another_type_costs_none_of_the_functions() -> None:
    server = {"type": "mcp", "server_label": "x", "server_url": "https://example.com/mcp"}
    own, refused = settings(tools=[{"type": "function", "name": "a"}, server, {"name": "b"}])
    assert [tool.shown()["name"] for tool in own.tools] == ["a", "b"]
    assert refused == ["response.tools[1].type"]


@pytest.mark.parametrize(
    ("response", "param", "code"),
    [
        ({"conversation": "other"}, "response.conversation", "invalid_value"),
        ({"conversation": True}, "response.conversation", "invalid_value"),
        ({"instructions": 7}, "response.instructions", "invalid_type"),
        ({"instructions": "x" * 65_537}, "response.instructions", "invalid_value"),
        ({"output_modalities": ["smell"]}, "response.output_modalities[0]", "invalid_value"),
        ({"modalities": "text"}, "response.modalities", "invalid_type"),
        ({"metadata": {"a": 7}}, "response.metadata.a", "invalid_type"),
        ({"metadata": [1]}, "response.metadata", "invalid_type"),
        ({"input": "Hello"}, "response.input", "invalid_type"),
        ({"input": [{"type": "message"}] * 201}, "response.input", "invalid_value"),
        ({"input": [{}]}, "response.input[0].type", "missing_required_parameter"),
        ({"input": [7]}, "response.input[0]", "invalid_type"),
        ({"input": [user("Hi"), {"type": "mcp_call"}]}, "response.input[1].type", "invalid_value"),
        ({"input": [{"type": "item_reference"}]}, "response.input[0].id", "missing_required_parameter"),
        ({"input": [{"type": "item_reference", "id": ""}]}, "response.input[0].id", "invalid_value"),
        ({**{f"f{n}": 1 for n in range(30)}, "conversation": "other"}, "response.conversation", "invalid_value"),
    ],
)
def test_what_decides_which_answer_is_given_or_where_it_goes_refuses_the_response(
    response: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(ClientError) as refused:
        parameters(speed=9, **response)
    assert (refused.value.param, refused.value.code, refused.value.event_id) == (param, code, "mine")


def test_a_response_may_be_without_parameters() -> None:
    for text in ('{"type": "response.create"}', '{"type": "response.create", "response": null}'):
        event = read_client_event(text)
        assert isinstance(event, ResponseCreate)
        assert event.response is None
        assert SESSION.for_response(event.response).settings == SESSION
    with pytest.raises(ClientError) as refused:
        read_client_event('{"type": "response.create", "response": "now"}')
    assert refused.value.param == "response"


def test_metadata_conversation_and_an_empty_input_are_taken() -> None:
    asked = parameters(conversation="none", input=[], metadata={"topic": "spam"})
    assert (asked.conversation, asked.input, asked.metadata) == ("none", (), {"topic": "spam"})
    assert Conversation().input_items(asked.input or ()) == []


def test_no_published_field_of_a_response_is_called_unknown() -> None:
    for model in (RealtimeResponseCreateParams, FlatResponse):
        for name in model.model_fields:
            assert parameters(**{name: None}).refused == (), name
    assert parameters(audio={"output": {"format": None, "voice": None}}).refused == ()


# ---- items -----------------------------------------------------------------------------------------


def created(item: dict[str, Any]) -> dict[str, Any]:
    event = read_client_event(json.dumps({"type": "conversation.item.create", "item": item}))
    assert isinstance(event, ItemCreate)
    return item_of(event.item, event.item.id or "item_1")


@pytest.mark.parametrize(
    ("item", "role", "content"),
    [
        (user("Hi"), "user", [{"type": "input_text", "text": "Hi"}]),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": "Hi"}]},
            "user",
            [{"type": "input_audio", "transcript": "Hi"}],
        ),
        (
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_audio", "transcript": "Hi", "audio": "AA"}],
            },
            "user",
            [{"type": "input_audio", "transcript": "Hi"}],
        ),
        ({**user("Be kind."), "role": "system"}, "system", [{"type": "input_text", "text": "Be kind."}]),
        ({**user("Be kind."), "role": "developer"}, "system", [{"type": "input_text", "text": "Be kind."}]),
        *(
            (
                {"type": "message", "role": "assistant", "content": [part]},
                "assistant",
                [{"type": "output_text", "text": "Hi"}],
            )
            for part in (
                {"type": "output_text", "text": "Hi"},
                {"type": "text", "text": "Hi"},
                {"type": "output_audio", "transcript": "Hi"},
                {"type": "audio", "transcript": "Hi"},
            )
        ),
    ],
)
def test_messages_of_all_roles_are_items(item: dict[str, Any], role: str, content: list[Any]) -> None:
    made = created(item)
    assert (made["role"], made["content"]) == (role, content)
    assert text_of(made) in ("Hi", "Be kind.")


PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AA"}


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "See:"}, PICTURE]}, "item.content[1].type", "invalid_value"),  # noqa: E501
        ({"type": "message", "role": "user", "content": [PICTURE]}, "item.content[0].type", "invalid_value"),
        ({"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AA"}]}, "item.content[0].transcript", "invalid_value"),  # noqa: E501
        ({"type": "message", "role": "user", "content": [{"type": "input_text"}]}, "item.content[0].text", "missing_required_parameter"),  # noqa: E501
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": ""}]}, "item.content[0].text", "invalid_value"),  # noqa: E501
        ({"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x"}]}, "item.content[0].type", "invalid_value"),  # noqa: E501
        ({"type": "message", "role": "user", "content": [{"type": "item_reference", "id": "a"}]}, "item.content[0].type", "invalid_value"),  # noqa: E501
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": 7}]}, "item.content[0].text", "invalid_type"),  # noqa: E501
        ({"type": "message", "role": "user", "content": "Hi"}, "item.content", "invalid_type"),
        ({"type": "message", "role": "user", "content": []}, "item.content", "invalid_value"),
        ({"type": "message", "role": "system", "content": [{"type": "input_audio", "transcript": "x"}]}, "item.content[0].type", "invalid_value"),  # noqa: E501
        ({"type": "message", "role": "assistant", "content": [{"type": "input_text", "text": "x"}]}, "item.content[0].type", "invalid_value"),  # noqa: E501
        ({"type": "message", "role": "tool", "content": [{"type": "input_text", "text": "x"}]}, "item.role", "invalid_value"),  # noqa: E501
        *(
            ({"type": "function_call_output", "call_id": "c", "output": output}, "item.output", "invalid_value")
            for output in ({"temperature": 20}, [1], 7, 1.5, True, None, [{"type": "input_text", "text": "x"}])
        ),
        ({"type": "function_call_output", "output": "x"}, "item.call_id", "missing_required_parameter"),
        ({"type": "function_call", "call_id": "c", "name": "a", "arguments": {}}, "item.arguments", "invalid_type"),
        ({"type": "item_reference", "id": "a"}, "item.type", "invalid_value"),
        ({"type": "mcp_approval_response", "approve": True}, "item.approval_request_id", "missing_required_parameter"),
        ({"role": "user"}, "item.type", "missing_required_parameter"),
        ("Hi", "item", "invalid_type"),
    ],
)  # fmt: skip
def test_what_can_be_no_item_is_refused_with_its_place(item: Any, param: str, code: str) -> None:
    with pytest.raises(ClientError) as refused:
        created(item)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_the_refusals_say_the_way_out() -> None:
    for item, hint in (
        ({"type": "function_call_output", "call_id": "c", "output": {"a": 1}}, "JSON in a text"),
        ({"type": "message", "role": "user", "content": [PICTURE]}, "pictures"),
        ({"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AA"}]}, "transcript"),
    ):
        with pytest.raises(ClientError, match=hint):
            created(item)


def test_a_function_call_without_an_id_gets_that_of_its_item() -> None:
    call = created({"type": "function_call", "id": "mine", "name": "look", "arguments": "{}"})
    assert (call["call_id"], call["status"]) == ("mine", "completed")
    assert created({"type": "function_call_output", "call_id": "c", "output": ""})["output"] == ""


# ---- input of a response ---------------------------------------------------------------------------


def test_references_stand_for_items_on_record_in_the_order_of_the_input() -> None:
    conversation = Conversation([message(f"item_{n}", "user", "completed", {"type": "input_text", "text": str(n)}) for n in range(3)])  # noqa: E501  # fmt: skip
    asked = parameters(
        input=[
            {"type": "item_reference", "id": "item_2"},
            user("Which of these?", id="mine"),
            {"type": "item_reference", "id": "item_0"},
            {"type": "item_reference", "id": "item_2"},
            user("Well?"),
        ]
    )
    items = conversation.input_items(asked.input or ())
    assert [text_of(item) for item in items] == ["2", "Which of these?", "0", "2", "Well?"]
    assert [item["id"] for item in items] == ["item_2", "mine", "item_0", "item_2", "input_4"]
    assert len(conversation.items) == 3


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        ({"type": "item_reference", "id": "unknown"}, "response.input[1].id", "item_not_found"),
        (
            {"type": "message", "role": "user", "content": [PICTURE]},
            "response.input[1].content[0].type",
            "invalid_value",
        ),
    ],
)
def test_an_unknown_reference_is_an_error(item: dict[str, Any], param: str, code: str) -> None:
    asked = parameters(input=[user("Hi"), item])
    with pytest.raises(ClientError) as refused:
        Conversation().input_items(asked.input or ())
    assert (refused.value.param, refused.value.code) == (param, code)


def test_references_do_not_make_a_small_event_a_large_prompt() -> None:
    conversation = Conversation([message("large", "user", "completed", {"type": "input_text", "text": "x" * 60_000})])
    asked = parameters(input=[{"type": "item_reference", "id": "large"}] * 200)
    with pytest.raises(ClientError, match=str(MAX_INPUT_CHARACTERS)):
        conversation.input_items(asked.input or ())
    assert len(conversation.input_items((asked.input or ())[:8])) == 8


@examples(deadline=None, max_examples=50)
@given(st.recursive(st.none() | st.text() | st.integers(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)))
def test_any_parameters_are_read_or_refused(value: Any) -> None:
    for name in ("input", "metadata", "tools", "audio", "voice", "conversation", "other"):
        with contextlib.suppress(ClientError):
            assert len(SESSION.for_response(parameters(**{name: value})).refused) <= 17


# ---- ids -------------------------------------------------------------------------------------------


def test_ids_of_a_client_and_of_the_call_never_meet() -> None:
    realtime = Realtime(lambda _: None)
    speech = realtime.speech_started(0)

    def create(item_id: str) -> None:
        event = read_client_event(json.dumps({"type": "conversation.item.create", "item": user("Hi", id=item_id)}))
        assert isinstance(event, ItemCreate)
        realtime.create(event.item, None)

    with pytest.raises(ClientError) as refused:
        create(speech)
    assert (refused.value.code, refused.value.param) == ("duplicate_item", "item.id")
    for item_id in ("item_2", "item_3", "item_5", "item_", "item_x", "item_²", "mine"):
        create(item_id)
    realtime.committed(speech)
    assert [realtime.new_id("item") for _ in range(2)] == ["item_4", "item_6"]
    with pytest.raises(ClientError):
        create("item_4")
