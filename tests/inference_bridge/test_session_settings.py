"""Each setting that a client names is in force, or refused by an error in its own names, and costs no other one."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from openai.types.beta.realtime.session_update_event import Session as FlatSession
from openai.types.realtime import RealtimeSessionCreateRequest
from pydantic import BaseModel

from antiphon.inference_bridge.dispatch.conversation_snapshot import ConversationSnapshot, settings_json
from antiphon.inference_bridge.realtime_protocol.client_events import SessionUpdate, read_client_event
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.mcp_tools import McpServerTool, without_secrets
from antiphon.inference_bridge.realtime_protocol.session_settings import (
    Applied,
    SemanticVad,
    ServerVad,
    SessionChanges,
    SessionSettings,
    first_settings,
)
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.inference_bridge.turns.detector import SpeechStarted, TurnDetector, TurnEnded
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import WINDOW, Window
from antiphon.runtime.tools.allowed_hosts import AllowedHosts

pytestmark = pytest.mark.pure

BASE = TurnSettings()
KOKORO = SpeechSupport(
    transcribes=frozenset({"en", "es", "fr", "it"}),
    voices={
        "joe": frozenset({"en"}),
        "af_bella": frozenset({"en"}),
        "ef_dora": frozenset({"es"}),
        "ff_siwis": frozenset({"fr"}),
    },
)
BY_URL = SpeechSupport(voice="coral", transcribes=None, voices={"coral": None}, any_voice=True)


def update(
    session: dict[str, Any], before: SessionSettings | None = None, support: SpeechSupport | None = None
) -> Applied:
    changes = SessionChanges.model_validate(json.loads(json.dumps(session)))
    return (before or SessionSettings()).applied(changes, support or SpeechSupport())


def params(refused: tuple[ClientError, ...]) -> list[str | None]:
    return [error.param for error in refused]


def shown(settings: SessionSettings, support: SpeechSupport | None = None) -> dict[str, Any]:
    support = support or SpeechSupport()
    return settings.shown("rtc_1", "concierge", BASE, support)


def nested(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


# ---- both shapes -----------------------------------------------------------------------------------

TOOL = {"type": "function", "name": "look"}
GOOD: list[tuple[str, str | None, Any, str, Any]] = [
    # place today, place in the first version, value, path in the shown session, value there
    ("instructions", "instructions", "Be brief.", "instructions", "Be brief."),
    ("output_modalities", "modalities", ["text"], "output_modalities", ["text"]),
    ("output_modalities", "modalities", ["text", "audio"], "output_modalities", ["text", "audio"]),
    ("max_output_tokens", "max_response_output_tokens", 200, "max_output_tokens", 200),
    ("max_output_tokens", "max_response_output_tokens", 200.0, "max_output_tokens", 200),
    ("max_output_tokens", "max_response_output_tokens", "inf", "max_output_tokens", "inf"),
    ("tools", "tools", [TOOL], "tools", [{"type": "function", "name": "look", "description": ""}]),
    ("tools", "tools", [{"name": "look"}], "tools", [{"type": "function", "name": "look", "description": ""}]),
    ("tool_choice", "tool_choice", "required", "tool_choice", "required"),
    ("audio.output.speed", "speed", 1.5, "audio.output.speed", 1.5),
    ("audio.output.speed", "speed", 1, "audio.output.speed", 1),
    ("audio.output.voice", "voice", "joe", "audio.output.voice", "joe"),
    ("audio.output.voice", "voice", {"id": "joe"}, "audio.output.voice", "joe"),
    ("audio.output.voice", "voice", "alloy", "audio.output.voice", "joe"),
    ("audio.output.voice", "voice", "marin", "audio.output.voice", "joe"),
    ("audio.input.turn_detection", "turn_detection", None, "audio.input.turn_detection", None),
    (
        "audio.input.turn_detection",
        "turn_detection",
        {"type": "server_vad", "silence_duration_ms": 900},
        "audio.input.turn_detection.silence_duration_ms",
        900,
    ),
    (
        "audio.input.turn_detection",
        "turn_detection",
        {"silence_duration_ms": 900},
        "audio.input.turn_detection.silence_duration_ms",
        900,
    ),
    (
        "audio.input.turn_detection",
        "turn_detection",
        {"type": "semantic_vad", "eagerness": "low"},
        "audio.input.turn_detection.eagerness",
        "low",
    ),
    *(
        (
            "audio.input.turn_detection",
            "turn_detection",
            {"type": "server_vad", "threshold": threshold},
            "audio.input.turn_detection.threshold",
            threshold,
        )
        for threshold in (0, 0.0, 0.01, 0.5, 1, 1.0)
    ),
    ("audio.input.transcription", "input_audio_transcription", None, "audio.input.transcription", None),
    (
        "audio.input.transcription",
        "input_audio_transcription",
        {"model": "whisper-1", "prompt": "Riverside"},
        "audio.input.transcription.prompt",
        "Riverside",
    ),
    (
        "audio.input.transcription",
        "input_audio_transcription",
        {"language": "en-US"},
        "audio.input.transcription.language",
        "en",
    ),
    ("tracing", "tracing", "auto", "tracing", "auto"),
    ("truncation", "truncation", "disabled", "truncation", "disabled"),
]
WITHOUT_EFFECT: list[dict[str, Any]] = [
    {"model": "gpt-realtime"},
    {"type": "realtime"},
    {"temperature": 0.8},
    {"include": ["item.input_audio_transcription.logprobs"]},
    {"prompt": None},
    {"reasoning": {"effort": "low"}},
    {"parallel_tool_calls": True},
    {"input_audio_format": "pcm16"},
    {"output_audio_format": "g711_ulaw"},
    {"input_audio_noise_reduction": {"type": "near_field"}},
    {"audio": {"input": {"noise_reduction": {"type": "far_field", "strength": 0.5}}}},
    {"audio": {"input": {"noise_reduction": None}}},
    {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}},
    {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
    {"audio": None},
    {"audio": {"input": None, "output": None}},
    {"client_secret": {"expires_after": {"anchor": "created_at", "seconds": 60}}},
    {},
]
BAD: list[tuple[str, str | None, Any, str, str]] = [
    # place today, place in the first version, value, path below it, code
    ("instructions", "instructions", 7, "", "invalid_type"),
    ("instructions", "instructions", "x" * 100_001, "", "invalid_value"),
    ("output_modalities", "modalities", ["smell"], "[0]", "invalid_value"),
    ("output_modalities", "modalities", ["audio", "text", "text"], "", "invalid_value"),
    ("output_modalities", "modalities", [], "", "invalid_value"),
    ("output_modalities", "modalities", "text", "", "invalid_type"),
    ("max_output_tokens", "max_response_output_tokens", 0, "", "invalid_value"),
    ("max_output_tokens", "max_response_output_tokens", -1, "", "invalid_value"),
    ("max_output_tokens", "max_response_output_tokens", 1.5, "", "invalid_type"),
    ("max_output_tokens", "max_response_output_tokens", True, "", "invalid_type"),
    ("max_output_tokens", "max_response_output_tokens", "many", "", "invalid_type"),
    ("max_output_tokens", "max_response_output_tokens", [], "", "invalid_type"),
    ("tools", "tools", {"look": {}}, "", "invalid_type"),
    ("tool_choice", "tool_choice", "look", "", "invalid_value"),
    ("tool_choice", "tool_choice", {"type": "mcp", "server_label": "x"}, ".type", "invalid_value"),
    ("tool_choice", "tool_choice", {"type": "function", "name": "unknown"}, "", "invalid_value"),
    ("tool_choice", "tool_choice", {"type": "function"}, ".name", "missing_required_parameter"),
    ("audio.output.speed", "speed", 0.2, "", "invalid_value"),
    ("audio.output.speed", "speed", 1.6, "", "invalid_value"),
    ("audio.output.speed", "speed", "fast", "", "invalid_type"),
    ("audio.output.voice", "voice", "nobody", "", "invalid_value"),
    ("audio.output.voice", "voice", {"id": "voice_1234"}, "", "invalid_value"),
    ("audio.output.voice", "voice", {}, ".id", "missing_required_parameter"),
    ("audio.output.voice", "voice", 7, "", "invalid_type"),
    ("audio.output.voice", "voice", "", "", "invalid_value"),
    ("audio.input.turn_detection", "turn_detection", "server_vad", "", "invalid_type"),
    ("audio.input.turn_detection", "turn_detection", {"type": "guess"}, ".type", "invalid_value"),
    ("audio.input.turn_detection", "turn_detection", {"type": "none"}, ".type", "invalid_value"),
    ("audio.input.turn_detection", "turn_detection", {"threshold": 1.01}, ".threshold", "invalid_value"),
    ("audio.input.turn_detection", "turn_detection", {"threshold": -0.1}, ".threshold", "invalid_value"),
    ("audio.input.turn_detection", "turn_detection", {"threshold": "0.5"}, ".threshold", "invalid_type"),
    ("audio.input.turn_detection", "turn_detection", {"silence_duration_ms": 0}, ".silence_duration_ms", "invalid_value"),  # noqa: E501
    ("audio.input.turn_detection", "turn_detection", {"prefix_padding_ms": -1}, ".prefix_padding_ms", "invalid_value"),
    ("audio.input.turn_detection", "turn_detection", {"idle_timeout_ms": 10}, ".idle_timeout_ms", "invalid_value"),
    ("audio.input.turn_detection", "turn_detection", {"create_response": "yes"}, ".create_response", "invalid_type"),
    ("audio.input.turn_detection", "turn_detection", {"eagerness": "low"}, ".eagerness", "invalid_value"),
    ("audio.input.turn_detection", "turn_detection", {"treshold": 0.5}, ".treshold", "unknown_parameter"),
    ("audio.input.transcription", "input_audio_transcription", True, "", "invalid_type"),
    ("audio.input.transcription", "input_audio_transcription", {"prompt": "x" * 2001}, ".prompt", "invalid_value"),
    ("audio.input.transcription", "input_audio_transcription", {"language": "de"}, ".language", "invalid_value"),
    ("audio.input.transcription", "input_audio_transcription", {"language": "?"}, ".language", "invalid_value"),
    ("audio.input.transcription", "input_audio_transcription", {"language": 7}, ".language", "invalid_type"),
    ("audio.input.transcription", "input_audio_transcription", {"languages": ["en", "es"]}, ".languages", "invalid_value"),  # noqa: E501
    ("audio.input.transcription", "input_audio_transcription", {"promt": "x"}, ".promt", "unknown_parameter"),
    ("audio.input.noise_reduction", "input_audio_noise_reduction", {"type": "loud"}, ".type", "invalid_value"),
    ("type", "type", "transcription", "", "invalid_value"),
    ("tracing", "tracing", {"a": "x" * 5000}, "", "invalid_value"),
    ("prompt", "prompt", {"id": "pmpt_1"}, "", "invalid_value"),
    ("temperature", "temperature", "hot", "", "invalid_type"),
    ("audio", None, "loud", "", "invalid_type"),
    ("audio.input", None, [], "", "invalid_type"),
    ("audio.input.format.rate", None, 16000, "", "invalid_value"),
    ("audio.voice", None, "joe", "", "unknown_parameter"),
    ("audio.output.sped", None, 1.2, "", "unknown_parameter"),
    ("instrutions", None, "Be brief.", "", "unknown_parameter"),
    ("voices", None, ["joe"], "", "unknown_parameter"),
]  # fmt: skip
"""Their order is that of the fields in the tables."""


def at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize(("today", "first", "value", "path", "expected"), GOOD)
def test_a_good_field_is_in_force_in_both_shapes_and_shown(
    today: str, first: str, value: Any, path: str, expected: Any
) -> None:
    for session in (nested(today, value), {first: value}):
        applied = update(session)
        assert applied.refused == ()
        assert at(shown(applied.settings), path) == expected
        settings, refused = first_settings(session)
        assert refused == ()
        assert settings == applied.settings, "an offer says the same"


@pytest.mark.parametrize(("today", "first", "value", "inside", "code"), BAD)
def test_a_bad_field_is_refused_in_the_client_s_own_names_and_costs_no_other(
    today: str, first: str | None, value: Any, inside: str, code: str
) -> None:
    for path in filter(None, (today, first)):
        session = nested(path, value)
        before = json.dumps(shown(SessionSettings()))
        applied = update(session)
        assert params(applied.refused) == [f"session.{path}{inside}"]
        assert applied.refused[0].code == code
        assert not applied.taken
        assert json.dumps(shown(applied.settings)) == before
        settings, refused = first_settings({"tools": [TOOL], **session} if path != "tools" else session)
        assert params(refused) == [f"session.{path}{inside}"], "an offer gets the same error"
        if path != "tools":
            assert [tool.shown()["name"] for tool in settings.tools] == ["look"]


@pytest.mark.parametrize("session", WITHOUT_EFFECT)
def test_published_fields_that_mean_nothing_here_are_taken_silently(session: dict[str, Any]) -> None:
    applied = update(session)
    assert applied.refused == ()
    assert applied.taken
    assert applied.settings == SessionSettings()


def merged(*sessions: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for session in sessions:
        for name, value in session.items():
            both = isinstance(value, dict) and isinstance(whole.get(name), dict)
            whole[name] = merged(whole[name], value) if both else value
    return whole


@examples(deadline=None, max_examples=80)
@given(st.sampled_from(GOOD), st.lists(st.sampled_from(BAD), max_size=6), st.booleans(), st.booleans())
def test_each_known_good_field_beside_any_bad_ones_is_in_force(
    good: tuple[str, str, Any, str, Any],
    bad: list[tuple[str, str | None, Any, str, str]],
    old_shape: bool,
    bad_in_old_shape: bool,
) -> None:
    today, first, value, path, expected = good
    session: dict[str, Any] = {}
    places = {today}
    for place, old, junk, _, _ in bad:
        if any(place.startswith(used) or used.startswith(place) for used in places):
            continue
        places.add(place)
        session = merged(session, {old: junk} if bad_in_old_shape and old else nested(place, junk))
    session = merged(session, {first: value} if old_shape else nested(today, value))
    applied = update(session)
    assert at(shown(applied.settings), path) == expected
    assert len(applied.refused) == len(places) - 1
    assert applied.taken
    assert first_settings(session)[0] == applied.settings


NAMES = st.text() | st.sampled_from(["audio", "input", "type", "turn_detection", "tools", "voice"])
LEAVES = st.none() | st.text() | st.integers() | st.floats() | st.booleans()


@examples(deadline=None, max_examples=60)
@given(st.recursive(LEAVES, lambda s: st.lists(s) | st.dictionaries(NAMES, s), max_leaves=12))
def test_anything_is_read_without_an_exception(value: Any) -> None:
    taken, refused = first_settings({"instructions": "Be brief.", "audio": value, "tools": value, "voice": value})
    assert taken.instructions == "Be brief."
    assert len(refused) <= 17
    json.dumps(shown(taken))
    first_settings(value)


# ---- fields of fields ------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [-1, 7, "high", None, [], {}])
@pytest.mark.parametrize("flat", [False, True])
def test_a_bad_threshold_costs_neither_the_silence_nor_the_transcription(threshold: Any, flat: bool) -> None:
    detection = {"type": "server_vad", "threshold": threshold, "silence_duration_ms": 900, "create_response": False}
    transcription = {"prompt": "Riverside", "language": "xx"}
    audio = {"input": {"turn_detection": detection, "transcription": transcription}}
    session = {"turn_detection": detection, "input_audio_transcription": transcription} if flat else {"audio": audio}
    settings, refused = first_settings(session)
    turns = settings.turn_settings(BASE)
    assert turns is not None
    assert (turns.silence_ms, turns.threshold) == (900, BASE.threshold)
    assert not settings.creates_responses
    assert settings.turn_prompt() == "Riverside"
    places = ["turn_detection", "input_audio_transcription"] if flat else ["audio.input.turn_detection", "audio.input.transcription"]  # noqa: E501  # fmt: skip
    bad = [f"session.{places[0]}.threshold"] if threshold is not None else []
    assert params(refused) == [*bad, f"session.{places[1]}.language"]


def test_what_an_update_does_not_name_stays_in_an_object_too() -> None:
    first = update({"turn_detection": {"type": "server_vad", "silence_duration_ms": 900, "create_response": False}})
    second = update({"turn_detection": {"type": "server_vad", "threshold": 0.7}}, first.settings)
    assert second.settings.turn_detection == ServerVad(silence_duration_ms=900, create_response=False, threshold=0.7)
    third = update({"turn_detection": {"type": "semantic_vad"}}, second.settings)
    assert third.settings.turn_detection == SemanticVad(create_response=False)
    fourth = update({"turn_detection": {"create_response": None}}, third.settings)
    assert fourth.settings.turn_detection == SemanticVad()
    words = update({"input_audio_transcription": {"prompt": "Riverside", "keywords": ["Miller", "Lee"]}}).settings
    assert words.turn_prompt() == "Riverside, Miller, Lee"
    assert update({"input_audio_transcription": {"model": "whisper-1"}}, words).settings.turn_prompt() == (
        "Riverside, Miller, Lee"
    )
    assert update({"input_audio_transcription": {"prompt": None}}, words).settings.turn_prompt() == "Miller, Lee"


def test_null_is_off_or_the_default_again() -> None:
    session = {
        "instructions": "Be brief.",
        "modalities": ["text"],
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "look"},
        "max_response_output_tokens": 9,
        "speed": 1.5,
        "voice": "af_bella",
        "tracing": "auto",
    }
    changed = update(session, support=KOKORO)
    assert changed.refused == ()
    back = update(dict.fromkeys(session), changed.settings, KOKORO)
    assert back.refused == ()
    assert back.settings == SessionSettings()
    off = update({"turn_detection": None, "input_audio_transcription": None}).settings
    assert (off.turn_detection, off.transcription) == (None, None)
    assert update({"turn_detection": {}}, off).settings.turn_detection == ServerVad()


def test_a_type_that_is_refused_switches_nothing_on() -> None:
    off = update({"turn_detection": None}).settings
    applied = update({"turn_detection": {"type": "guess", "silence_duration_ms": 900}}, off)
    assert applied.settings.turn_detection is None
    assert params(applied.refused) == ["session.turn_detection.type", "session.turn_detection.silence_duration_ms"]


@pytest.mark.parametrize(
    ("flat", "today"),
    [
        ({"voice": "joe"}, {"audio": {"output": {"voice": "marin"}}}),
        ({"speed": 0.5}, {"audio": {"output": {"speed": 1.2}}}),
        ({"turn_detection": None}, {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}),
        ({"modalities": ["text"]}, {"output_modalities": ["audio"]}),
        ({"max_response_output_tokens": 5}, {"max_output_tokens": 6}),
    ],
)
def test_of_two_places_for_one_setting_today_s_counts_and_the_other_is_refused(
    flat: dict[str, Any], today: dict[str, Any]
) -> None:
    for session in ({**flat, **today}, {**today, **flat}):
        applied = update(session)
        assert params(applied.refused) == [f"session.{next(iter(flat))}"]
        assert applied.settings == update(today).settings
    agreed = update({"voice": "joe", "audio": {"output": {"voice": "joe"}}})
    assert agreed.refused == ()


# ---- tools -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "inside", "code"),
    [
        ({"type": "mcp", "server_label": "x", "server_url": "https://example.com"}, ".type", "invalid_value"),
        ({"type": "web_search"}, ".type", "invalid_value"),
        ({"type": 7, "name": "a"}, ".type", "invalid_value"),
        ({"type": "function"}, ".name", "missing_required_parameter"),
        ({"type": "function", "function": {"name": "a"}}, ".name", "missing_required_parameter"),
        ({"type": "function", "name": "get weather"}, ".name", "invalid_value"),
        ({"type": "function", "name": "a\n"}, ".name", "invalid_value"),
        ({"type": "function", "name": "x" * 65}, ".name", "invalid_value"),
        ({"type": "function", "name": "one"}, ".name", "invalid_value"),
        ({"type": "function", "name": "a", "parameters": "none"}, ".parameters", "invalid_type"),
        ({"type": "function", "name": "a", "description": 7}, ".description", "invalid_type"),
        ({"type": "function", "name": "a", "description": "x" * 8193}, ".description", "invalid_value"),
        ({"type": "function", "name": "a", "parameters": {"x": "y" * 17_000}}, "", "invalid_value"),
        ("look", "", "invalid_type"),
        (None, "", "invalid_type"),
    ],
)
def test_one_bad_tool_costs_none_of_the_others(tool: Any, inside: str, code: str) -> None:
    good = [{"type": "function", "name": name} for name in ("one", "two", "three")]
    for place in (1, 2, 3):
        tools = [*good[:place], tool, *good[place:]]
        for applied in (update({"tools": tools}), Applied(*first_settings({"tools": tools}), taken=True)):
            assert [each.shown()["name"] for each in applied.settings.tools] == ["one", "two", "three"]
            assert params(applied.refused) == [f"session.tools[{place}]{inside}"]
            assert applied.refused[0].code == code
            assert applied.taken


SERVER: dict[str, Any] = {"type": "mcp", "server_label": "crm", "server_url": "https://tools.example.com/mcp"}


def with_servers(session: dict[str, Any]) -> Applied:
    support = SpeechSupport(mcp_hosts=AllowedHosts.read("tools.example.com", "ANTIPHON_MCP_HOSTS"))
    return SessionSettings().applied(SessionChanges.model_validate(session), support)


def test_a_server_that_is_allowed_is_in_force_and_its_secrets_are_written_nowhere() -> None:
    secret = "t0psecret"
    applied = with_servers({"tools": [{**SERVER, "authorization": secret, "headers": {"X-Key": secret}}, TOOL]})
    assert applied.refused == ()
    server = applied.settings.tools[0]
    assert isinstance(server, McpServerTool)
    assert server.headers == {"X-Key": secret, "Authorization": f"Bearer {secret}"}
    shown = applied.settings.shown("call", "agent", TurnSettings())
    bare = without_secrets({"tools": [{**SERVER, "authorization": secret}]})
    for written in (shown, settings_json(applied.settings), repr(applied.settings), bare):
        assert secret not in str(written)
    taken_over = ConversationSnapshot(settings=settings_json(applied.settings)).session_settings()
    assert taken_over is not None
    kept = taken_over.tools[0]
    assert isinstance(kept, McpServerTool)
    assert kept.lacks_secrets


@pytest.mark.parametrize(
    ("server", "inside"),
    [
        ({"server_label": None}, ".server_label"),
        ({"server_label": "a b"}, ".server_label"),
        ({"server_url": None}, ".server_url"),
        ({"server_url": "https://evil.example.com/mcp"}, ".server_url"),
        ({"server_url": "http://tools.example.com/mcp"}, ".server_url"),
        ({"connector_id": "connector_gmail"}, ".connector_id"),
        ({"headers": {"Host": "evil"}}, ".headers"),
        ({"headers": {"X-Key": "env:ANTIPHON_LLM_API_KEY"}}, ".headers"),
        ({"authorization": "a\r\nb"}, ".headers"),
        ({"headers": {"authorization": "a"}, "authorization": "b"}, ".authorization"),
        ({"allowed_tools": "all"}, ".allowed_tools"),
        ({"require_approval": "sometimes"}, ".require_approval"),
    ],
)
def test_a_server_that_can_not_be_used_costs_only_itself(server: dict[str, Any], inside: str) -> None:
    applied = with_servers({"tools": [{**SERVER, **server}, TOOL]})
    assert params(applied.refused) == [f"session.tools[0]{inside}"]
    assert [tool.type for tool in applied.settings.tools] == ["function"]


@pytest.mark.parametrize(
    ("wanted", "asks"),
    [
        (None, (True, True)),
        ("always", (True, True)),
        ("never", (False, False)),
        ({"never": {"tool_names": ["look"]}}, (False, True)),
        ({"never": {"read_only": True}}, (False, True)),
        ({"always": {"tool_names": ["change"]}}, (True, True)),
        ({"never": {"read_only": True}, "always": {"tool_names": ["look"]}}, (True, True)),
    ],
)
def test_a_client_is_asked_unless_it_has_said_that_it_need_not_be(wanted: Any, asks: tuple[bool, bool]) -> None:
    (server,) = with_servers({"tools": [{**SERVER, "require_approval": wanted}]}).settings.tools
    assert isinstance(server, McpServerTool)
    assert (server.asks_first("look", True), server.asks_first("change", False)) == asks


def test_an_unknown_field_of_a_tool_is_named_and_the_tool_is_in_force() -> None:
    applied = update({"tools": [{"type": "function", "name": "a", "desciption": "x", "strict": True}]})
    assert params(applied.refused) == ["session.tools[0].desciption"]
    assert "description" in str(applied.refused[0])
    assert len(applied.settings.tools) == 1


def test_tools_of_which_none_can_be_used_leave_those_in_force() -> None:
    before = update({"tools": [TOOL]}).settings
    assert update({"tools": [{"type": "mcp"}]}, before).settings == before
    assert update({"tools": []}, before).settings.tools == ()


def test_a_chosen_tool_that_is_replaced_is_chosen_no_more() -> None:
    chosen = update({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look"}}})
    assert chosen.refused == ()
    assert shown(chosen.settings)["tool_choice"] == {"type": "function", "name": "look"}
    other = update({"tools": [{"name": "other"}]}, chosen.settings)
    assert (other.refused, other.settings.tool_choice) == ((), "auto")


# ---- language and voice ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("session", "support", "language", "voice", "refused"),
    [
        # language named, voice found
        ({"language": "es"}, KOKORO, "es", "ef_dora", []),
        ({"language": "es-MX"}, KOKORO, "es", "ef_dora", []),
        ({"language": "FR_ca"}, KOKORO, "fr", "ff_siwis", []),
        ({"language": "en"}, KOKORO, "en", "", []),
        ({"languages": ["es"]}, KOKORO, "es", "ef_dora", []),
        ({"language": "es", "languages": ["es", "en"]}, KOKORO, "es", "ef_dora", ["transcription.languages"]),
        ({"language": None}, KOKORO, "", "", []),
        # no recogniser or no voice
        ({"language": "de"}, KOKORO, "", "", ["transcription.language"]),
        ({"language": "it"}, KOKORO, "", "", ["transcription.language"]),
        ({"language": "it", "output_modalities": ["text"]}, KOKORO, "it", "", []),
        ({"language": "es"}, None, "", "", ["transcription.language"]),
        # voices
        ({"voice": "af_bella"}, KOKORO, "", "af_bella", []),
        ({"voice": "joe"}, KOKORO, "", "", []),
        ({"voice": "alloy"}, KOKORO, "", "", []),
        ({"voice": "alloy", "language": "es"}, KOKORO, "es", "ef_dora", []),
        ({"voice": "ef_dora", "language": "es"}, KOKORO, "es", "ef_dora", []),
        ({"voice": "af_bella", "language": "es"}, KOKORO, "es", "ef_dora", ["voice"]),
        ({"voice": "ef_dora"}, KOKORO, "", "", ["voice"]),
        ({"voice": "nobody", "language": "es"}, KOKORO, "es", "ef_dora", ["voice"]),
        ({"voice": {"id": "nobody"}}, KOKORO, "", "", ["voice"]),
        # by URL
        ({"voice": "alloy"}, BY_URL, "", "alloy", []),
        ({"voice": "somebody"}, BY_URL, "", "somebody", []),
        ({"language": "pl"}, BY_URL, "pl", "", []),
        ({"voice": "alloy"}, SpeechSupport(voice="af_sky", voices={"af_sky": None}, any_voice=True), "", "", []),
    ],
)
def test_language_and_voice_are_in_force_or_refused(
    session: dict[str, Any], support: SpeechSupport | None, language: str, voice: str, refused: list[str]
) -> None:
    support = support or SpeechSupport()
    speech = {name: session[name] for name in ("language", "languages") if name in session}
    audio: dict[str, Any] = {"input": {"transcription": speech}} if speech else {}
    if "voice" in session:
        audio["output"] = {"voice": session["voice"]}
    rest = {name: session[name] for name in ("output_modalities",) if name in session}
    applied = update({"audio": audio, **rest}, support=support)
    assert (applied.settings.language, applied.settings.voice) == (language, voice)
    places = {"transcription": "audio.input.transcription", "voice": "audio.output.voice"}
    expected = [".".join(["session", places[each.split(".")[0]], *each.split(".")[1:]]) for each in refused]
    assert params(applied.refused) == expected
    visible = shown(applied.settings, support)["audio"]
    assert visible["output"]["voice"] == (voice or support.voice)
    assert visible["input"]["transcription"]["language"] == (language or support.language)


def test_the_errors_say_what_there_is() -> None:
    (no_recogniser,) = update({"input_audio_transcription": {"language": "de"}}, support=KOKORO).refused
    assert "'de'" in str(no_recogniser)
    assert "en, es, fr, it" in str(no_recogniser)
    (no_voice,) = update({"input_audio_transcription": {"language": "it"}}, support=KOKORO).refused
    assert "ef_dora (es)" in str(no_voice)
    (unknown,) = update({"voice": "nobody"}, support=KOKORO).refused
    assert "af_bella" in str(unknown)
    (other,) = update({"voice": "ef_dora"}, support=KOKORO).refused
    assert "af_bella, joe" in str(other)


def test_a_later_language_changes_the_voice_and_a_hosted_name_never_does() -> None:
    bella = update({"voice": "af_bella"}, support=KOKORO).settings
    assert update({"voice": "marin"}, bella, KOKORO).settings.voice == "af_bella"
    spanish = update({"input_audio_transcription": {"language": "es"}}, bella, KOKORO).settings
    assert (spanish.language, spanish.voice) == ("es", "ef_dora")
    model = update({"input_audio_transcription": {"model": "whisper-1"}}, spanish, KOKORO).settings
    assert (model.language, model.voice) == ("es", "ef_dora")
    back = update({"input_audio_transcription": {"language": "en"}}, spanish, KOKORO).settings
    assert (back.language, back.voice) == ("en", "")


def test_answers_of_a_language_without_a_voice_stay_text() -> None:
    italian = update({"modalities": ["text"], "input_audio_transcription": {"language": "it"}}, support=KOKORO).settings
    applied = update({"modalities": ["audio"]}, italian, KOKORO)
    assert params(applied.refused) == ["session.modalities"]
    assert applied.settings == italian


@pytest.mark.parametrize(
    ("settings", "support", "language", "voice"),
    [
        (SessionSettings(language="es", voice="ef_dora"), KOKORO, "es", "ef_dora"),
        (SessionSettings(), KOKORO, "", ""),
        (SessionSettings(voice="af_sky"), KOKORO, "", ""),
        (SessionSettings(language="fr", voice="ff_other"), KOKORO, "fr", "ff_siwis"),
        (SessionSettings(language="it", voice="if_sara"), KOKORO, "", ""),
        (SessionSettings(language="it", output_modalities=("text",)), KOKORO, "it", ""),
        (SessionSettings(language="de", voice="df_eva"), KOKORO, "", ""),
        (SessionSettings(language="es", voice="ef_dora"), SpeechSupport(), "", ""),
        (SessionSettings(language="es", voice="ef_dora"), BY_URL, "es", "ef_dora"),
    ],
)
def test_a_process_that_takes_a_call_over_speaks_with_what_it_has(
    settings: SessionSettings, support: SpeechSupport, language: str, voice: str
) -> None:
    taken = settings.supported_by(support)
    assert (taken.language, taken.voice) == (language, voice)


# ---- what is in force ------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0, 0.05, 0.15, 0.3, 0.5, 0.9, 1])
def test_with_any_threshold_speech_begins_and_ends(threshold: float) -> None:
    settings = update({"turn_detection": {"type": "server_vad", "threshold": threshold}}).settings
    turns = settings.turn_settings(BASE)
    assert turns is not None
    detector = TurnDetector(turns)
    events = []
    for number, likely in enumerate([0.02] * 10 + [0.99] * 30 + [0.03] * 60):
        events += detector.window(Window(number * WINDOW, bytes(WINDOW * 2), False, False), likely, number * 0.032)
    assert [type(event) for event in events if isinstance(event, SpeechStarted | TurnEnded)] == [
        SpeechStarted,
        TurnEnded,
    ]


def test_a_session_that_is_sent_back_as_it_was_shown_is_taken() -> None:
    session = {"tools": [TOOL], "voice": "ef_dora", "input_audio_transcription": {"language": "es", "keywords": ["a"]}}
    for settings in (SessionSettings(), update({"turn_detection": {"type": "semantic_vad"}, **session}).settings):
        support = KOKORO if settings.voice else SpeechSupport()
        again = update(shown(settings, support), settings, support)
        assert again.refused == ()
        assert shown(again.settings, support) == shown(settings, support)


def test_the_errors_of_an_update_name_its_event_where_it_does_nothing_else() -> None:
    event = {"type": "session.update", "event_id": "mine", "session": {"type": "realtime", "speed": 9}}
    with pytest.raises(ClientError) as refused:
        read_client_event(json.dumps(event))
    assert (refused.value.event_id, refused.value.param) == ("mine", "session.speed")
    event["session"] = {"speed": 9, "instructions": "Be brief."}
    read = read_client_event(json.dumps(event))
    assert isinstance(read, SessionUpdate)
    assert params(read.session.refused) == ["session.speed"]
    assert [error.of_event("mine").event_id for error in read.session.refused] == ["mine"]


def test_what_clients_of_the_first_version_send_is_in_force_without_an_error() -> None:
    session = {
        "modalities": ["text", "audio"],
        "instructions": "Be brief.",
        "voice": "verse",
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "input_audio_transcription": {"model": "whisper-1"},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
        },
        "tools": [{"type": "function", "name": "look", "description": "Look.", "parameters": {"type": "object"}}],
        "tool_choice": "auto",
        "temperature": 0.8,
        "max_response_output_tokens": 4096,
    }
    applied = update(session)
    assert applied.refused == ()
    visible = shown(applied.settings)
    assert visible["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    assert (visible["max_output_tokens"], visible["tools"]) == (4096, session["tools"])
    silent = update({**session, "turn_detection": None, "input_audio_transcription": None}).settings
    assert (silent.turn_detection, silent.transcription) == (None, None)


# ---- the published shapes --------------------------------------------------------------------------


def published(model: type[BaseModel], path: str = "") -> list[str]:
    """The paths of all fields of a model of the `openai` package."""
    paths = []
    for name, about in model.model_fields.items():
        paths.append(f"{path}{name}")
        for inner in models_in(about.annotation):
            paths += published(inner, f"{path}{name}.")
    return paths


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) if inner is not list for model in models_in(inner)]


OPAQUE = ("tools", "tool_choice", "prompt", "tracing", "truncation", "reasoning", "client_secret")


@pytest.mark.parametrize("model", [RealtimeSessionCreateRequest, FlatSession])
def test_no_published_field_is_called_unknown(model: type[BaseModel]) -> None:
    paths = [path for path in published(model) if "." not in path or path.split(".")[0] not in OPAQUE]
    assert len(paths) > 20
    for path in paths:
        applied = update(nested(path, None))
        assert [error for error in applied.refused if error.code == "unknown_parameter"] == [], path
