"""RTVI to the realtime protocol and back: the translation alone, and a session whose client speaks it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.schemas import messages
from antiphon.transceiver.session import rtvi
from antiphon.transceiver.session.rtvi_channels import RtviChannels, channels_of
from antiphon.transceiver.session.state import RtpState, RtviState, SessionState

pytestmark = pytest.mark.pure

AT = 1_700_000_000.0


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(("t", "d", "role", "content", "options", "buttons", "tool_call_id", "result", "message"))
    return st.dictionaries(names, values, max_size=3)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | objects(inner),
    max_leaves=3,
)


def from_client(state: RtviState, type_: str, data: object = None, message_id: str = "m1") -> rtvi.FromClient:
    return rtvi.from_client(state, json.dumps({"label": "rtvi-ai", "type": type_, "id": message_id, "data": data}))


def to_client(state: RtviState, type_: str, **fields: Any) -> list[tuple[str, Any]]:
    told = map(json.loads, rtvi.to_client(state, json.dumps({"type": type_, **fields}), AT))
    return [(each["type"], each.get("data")) for each in told]


def ready(version: str = "2.1.0") -> RtviState:
    state = RtviState()
    from_client(state, "client-ready", {"version": version, "about": {"library": "test"}})
    return state


def test_client_ready_is_answered_in_the_version_of_the_client() -> None:
    for version, answered in (("2.1.0", "2.1.0"), ("2.9.0", "2.1.0"), ("1.2.0", "1.2.0"), (None, "1.2.0")):
        replies = from_client(RtviState(), "client-ready", {"version": version}, "r7").replies
        reply = json.loads(replies[0])
        assert (reply["type"], reply["id"], reply["label"]) == ("bot-ready", "r7", "rtvi-ai")
        assert reply["data"]["version"] == answered


def test_both_transcripts_reach_the_client() -> None:
    state = ready()
    kind = "conversation.item.input_audio_transcription"
    told = to_client(state, f"{kind}.delta", item_id="a", delta="What ")
    told += to_client(state, f"{kind}.delta", item_id="a", delta="day is it?")
    told += to_client(state, f"{kind}.completed", item_id="a", transcript="What day is it?")
    said = [(data["text"], data["final"]) for type_, data in told if type_ == "user-transcription"]
    assert said == [("What ", False), ("What day is it?", False), ("What day is it?", True)]
    assert told[-1] == ("user-llm-text", {"text": "What day is it?"})
    assert told[0][1]["timestamp"] == "2023-11-14T22:13:20.000+00:00"
    kind = "response.output_audio_transcript"
    told = to_client(state, f"{kind}.delta", item_id="b", delta="It is 3.")
    told += to_client(state, f"{kind}.delta", item_id="b", delta="14. Or so! ")
    told += to_client(state, f"{kind}.delta", item_id="b", delta="I think")
    told += to_client(state, f"{kind}.done", item_id="b", transcript="It is 3.14. Or so! I think")
    assert [data["text"] for type_, data in told if type_ == "bot-transcription"] == [
        "It is 3.14.",
        "Or so!",
        "I think",
    ]
    assert "".join(data["text"] for type_, data in told if type_ == "bot-tts-text") == "It is 3.14. Or so! I think"
    outputs = [data for type_, data in told if type_ == "bot-output"]
    assert [output["segment_id"] for output in outputs] == [1, 2, 3]
    assert not state.pending
    assert not state.transcribed


def test_an_agent_without_deltas_and_a_written_answer_are_translated_too() -> None:
    state = ready("1.2.0")
    told = to_client(state, "response.output_audio_transcript.done", item_id="b", transcript="Hello.")
    assert [type_ for type_, _ in told] == ["bot-llm-text", "bot-tts-text", "bot-transcription", "bot-output"]
    assert told[-1][1] == {"text": "Hello.", "aggregated_by": "sentence", "output_type": "sentence", "spoken": True}
    told = to_client(state, "response.output_text.delta", item_id="c", delta="Yes")
    told += to_client(state, "response.output_text.done", item_id="c", text="Yes")
    assert [type_ for type_, _ in told] == ["bot-llm-text", "bot-transcription", "bot-output"]


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ("input_audio_buffer.speech_started", ["user-started-speaking"]),
        ("input_audio_buffer.speech_stopped", ["user-stopped-speaking"]),
        ("response.created", ["bot-llm-started"]),
        ("response.done", ["bot-llm-stopped"]),
        ("output_audio_buffer.started", ["bot-tts-started", "bot-started-speaking"]),
        ("output_audio_buffer.stopped", ["bot-stopped-speaking", "bot-tts-stopped"]),
        ("output_audio_buffer.cleared", ["bot-interrupted", "bot-stopped-speaking", "bot-tts-stopped"]),
        ("session.created", []),
        ("rate_limits.updated", []),
        ("conversation.item.added", []),
        ("antiphon.draining", ["server-message"]),
        ("an.agents.own", ["server-message"]),
    ],
)
def test_events_become_their_counterparts(event: str, told: list[str]) -> None:
    assert [type_ for type_, _ in to_client(ready(), event)] == told


def test_text_interrupts_and_is_answered() -> None:
    events = [json.loads(event) for event in from_client(ready(), "send-text", {"content": "Hi", "options": {}}).events]
    assert [event["type"] for event in events] == [
        "output_audio_buffer.clear",
        "conversation.item.create",
        "response.create",
    ]
    assert events[1]["item"] == {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    options = {"run_immediately": False}
    assert len(from_client(ready(), "send-text", {"content": "Hi", "options": options}).events) == 1
    written = from_client(ready(), "send-text", {"content": "Hi", "options": {"audio_response": False}}).events
    assert json.loads(written[-1])["response"] == {"output_modalities": ["text"]}
    appended: dict[str, object] = {"role": "system", "content": [{"type": "text", "text": "Be short."}]}
    assert len(from_client(ready(), "append-to-context", appended).events) == 1
    appended["run_immediately"] = True
    assert len(from_client(ready(), "append-to-context", appended).events) == 2


def test_a_function_is_called_by_the_client_and_its_result_answered() -> None:
    call = {"name": "weather", "call_id": "c1", "arguments": '{"city": "Rome"}'}
    told = to_client(ready(), "response.function_call_arguments.done", **call)
    assert [type_ for type_, _ in told] == ["llm-function-call-started", "llm-function-call-in-progress"]
    assert told[1][1] == {"function_name": "weather", "tool_call_id": "c1", "arguments": {"city": "Rome"}}
    told = to_client(ready("1.0.0"), "response.function_call_arguments.done", **call)
    assert told == [("llm-function-call", {"function_name": "weather", "tool_call_id": "c1", "args": {"city": "Rome"}})]
    result = {"function_name": "weather", "tool_call_id": "c1", "arguments": {}, "result": {"sky": "blue"}}
    translated = from_client(ready(), "llm-function-call-result", result)
    events = [json.loads(event) for event in translated.events]
    assert events[0]["item"] == {"type": "function_call_output", "call_id": "c1", "output": '{"sky": "blue"}'}
    assert events[1]["type"] == "response.create"
    assert json.loads(translated.replies[0])["type"] == "llm-function-call-stopped"


def test_an_error_answers_the_message_that_it_is_about() -> None:
    state = ready()
    sent = from_client(state, "client-message", {"t": "session.update", "d": {"session": {"type": "x"}}}, "m9").events
    event = json.loads(sent[0])
    assert (event["type"], event["session"]) == ("session.update", {"type": "x"})
    error = {"message": "no such type", "event_id": event["event_id"]}
    told = json.loads(rtvi.to_client(state, json.dumps({"type": "error", "error": error}), AT)[0])
    assert (told["type"], told["id"], told["data"]["error"]) == ("error-response", "m9", "no such type")
    assert to_client(state, "error", error={"message": "late", "event_id": None})[0][0] == "error"
    lost = {"message": "the agent is gone", "code": "agent_lost"}
    assert [type_ for type_, _ in to_client(state, "error", error=lost)] == ["error", "signalling"]


def test_keys_pings_and_signalling() -> None:
    assert from_client(ready(), "dtmf", {"buttons": ["1", "*", "#"]}).keys == [1, 10, 11]
    assert from_client(ready(), "dtmf", {"button": "5"}).keys == [5]
    assert rtvi.from_client(ready(), "ping: 1700000000000") == rtvi.FromClient()
    status = {"type": "signalling", "message": {"type": "trackStatus", "receiver_index": 0, "enabled": False}}
    assert rtvi.from_client(ready(), json.dumps(status)) == rtvi.FromClient()
    assert from_client(ready(), "disconnect-bot", {}).hang_up


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "nonsense",
        b"\xff\xfe\x00",
        "[" * 60_000,
        '{"a":' * 60_000,
        "x" * 70_000,
        "3",
        "null",
        "NaN",
        '{"label":"rtvi-ai","type":"send-text","id":"1","data":{"content":NaN}}',
        '{"label":"rtvi-ai","type":7}',
        '{"label":"other","type":"send-text"}',
        '{"label":"rtvi-ai","type":"client-message","id":"1","data":{"t":"x","d":1e999}}',
        '{"label":"rtvi-ai","type":"dtmf","id":"1","data":{"buttons":["12"]}}',
        '{"label":"rtvi-ai","type":"dtmf","id":"1","data":{"buttons":' + json.dumps(["1"] * 33) + "}}",
        '{"label":"rtvi-ai","type":"ui-snapshot","id":"1","data":{}}',
        '{"label":"rtvi-ai","type":"send-text","id":"1","data":{"content":["a"]}}',
        '{"label":"rtvi-ai","type":"append-to-context","id":"1","data":{"role":["user"],"content":"a"}}',
        '{"label":"rtvi-ai","type":"llm-function-call-result","id":"1","data":null}',
        "1" * 5000,
    ],
)
def test_what_is_no_message_of_rtvi_is_answered_with_one_short_error(payload: str | bytes) -> None:
    translated = rtvi.from_client(RtviState(), payload)
    assert not translated.events
    assert len(translated.errors) == 1
    assert len(translated.errors[0]) < 400
    assert json.loads(translated.errors[0])["type"] in ("error", "error-response")


@settings(max_examples=60)
@given(st.one_of(st.text(), st.binary(), json_values.map(json.dumps)))
def test_no_text_of_either_side_raises(payload: str | bytes) -> None:
    rtvi.from_client(ready(), payload)
    if isinstance(payload, str):
        for told in rtvi.to_client(ready(), payload, AT):
            told.encode("ascii")


TYPES = [
    "client-ready",
    "send-text",
    "append-to-context",
    "llm-function-call-result",
    "client-message",
    "dtmf",
    "error",
    "response.done",
    "conversation.item.input_audio_transcription.delta",
    "response.output_audio_transcript.delta",
    "response.output_text.done",
    "response.function_call_arguments.done",
    "own",
]


@settings(max_examples=60)
@given(st.sampled_from(TYPES), objects(json_values), objects(json_values))
def test_no_fields_of_either_side_raise(type_: str, fields: dict[str, Any], data: dict[str, Any]) -> None:
    state = ready()
    sent = {"label": "rtvi-ai", "id": "1", **fields, "type": type_, "data": data}
    for text in (*rtvi.from_client(state, json.dumps(sent)).events, *rtvi.to_client(state, json.dumps(sent), AT)):
        json.loads(text)


def test_what_is_gathered_is_bounded() -> None:
    state = ready()
    for number in range(50):
        to_client(state, "response.output_audio_transcript.delta", item_id=f"i{number}", delta="x" * 9000)
        delta = {"item_id": f"i{number}", "delta": "x" * 9000}
        to_client(state, "conversation.item.input_audio_transcription.delta", **delta)
    for gathered in (state.pending, state.transcribed):
        assert len(gathered) <= rtvi.MAX_OPEN
        assert all(len(text) <= rtvi.MAX_GATHERED for text in gathered.values())


# ---- the channels of a session --------------------------------------------------------------------------------


class Heard:
    """What a session's channels publish, and what they send to the client."""

    def __init__(self, state: RtviState | None = None) -> None:
        self.events: list[messages.Message] = []
        self.sent: list[messages.DataMessage] = []
        self.event, self.message = self.events.append, self.sent.append
        self.session = SessionState("rtc_1", "a", [], [], 16000, RtpState(1, 2, 3, 4), data_port=5000)
        self.session.rtvi = state or RtviState()
        channels = channels_of(self.session, self, 0.0, 0.0)
        assert isinstance(channels, RtviChannels)
        self.channels = channels

    @property
    def early(self) -> list[tuple[str, str | bytes]]:
        """No association is there: what is sent waits."""
        return list(self.channels._early)


def test_the_agent_sees_the_channel_of_the_realtime_protocol() -> None:
    heard = Heard()
    heard.channels.send("oai-events", '{"type": "input_audio_buffer.speech_started"}')
    heard.channels._opened("chat")
    assert heard.events == [messages.ChannelOpened(channel="oai-events")]
    heard.channels._received("chat", '{"label":"rtvi-ai","type":"send-text","id":"1","data":{"content":"Hi"}}')
    assert [(sent.channel, json.loads(sent.text or "")["type"]) for sent in heard.sent] == [
        ("oai-events", "output_audio_buffer.clear"),
        ("oai-events", "conversation.item.create"),
        ("oai-events", "response.create"),
    ]
    assert [(label, json.loads(text)["type"]) for label, text in heard.early] == [("chat", "user-started-speaking")]


def test_keys_reach_the_agent_and_the_client_can_end_the_call() -> None:
    heard = Heard()
    heard.channels._opened("chat")
    heard.channels._received("chat", '{"label":"rtvi-ai","type":"dtmf","id":"1","data":{"buttons":["7"]}}')
    assert heard.events[-1] == messages.TelephoneEvent(event=7, duration_ms=100)
    heard.channels._received("chat", '{"label":"rtvi-ai","type":"disconnect-bot","id":"2","data":{}}')
    assert heard.channels.hang_up == "client"


def test_errors_are_told_at_a_bounded_rate() -> None:
    heard = Heard()
    heard.channels._opened("chat")
    for _ in range(1000):
        heard.channels._received("chat", "nonsense")
    assert 1 <= len(heard.early) <= 60


def test_another_process_goes_on_in_the_middle_of_a_sentence() -> None:
    before = Heard()
    before.channels._opened("chat")
    before.channels._received("chat", '{"label":"rtvi-ai","type":"client-ready","id":"1","data":{"version":"2.1.0"}}')
    event = {"type": "response.output_audio_transcript.delta", "item_id": "b", "delta": "It is "}
    before.channels.send("oai-events", json.dumps(event))
    written = SessionState.from_bytes(before.session.to_bytes())
    assert written.rtvi == before.session.rtvi
    after = Heard(written.rtvi)
    after.channels.send("oai-events", json.dumps(event | {"delta": "ten."}))
    done = {"type": "response.output_audio_transcript.done", "item_id": "b", "transcript": "It is ten."}
    after.channels.send("oai-events", json.dumps(done))
    told = [json.loads(text) for _, text in after.early]
    assert [each["data"]["text"] for each in told if each["type"] == "bot-transcription"] == ["It is ten."]
