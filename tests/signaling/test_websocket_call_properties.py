"""Whatever client and agent do in a call over WebSocket, and in whatever order: it goes on, within its bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.websocket_call import PART, Call, realtime_call

from antiphon.schemas import messages
from antiphon.signaling.websocket_calls.output_audio import AHEAD_SECONDS

pytestmark = pytest.mark.pure

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("audio", "session", "item_id", "audio_end_ms", "content_index", "event_id", "response", "part", "item")
KINDS = (
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "session.update",
    "conversation.item.truncate",
    "output_audio_buffer.clear",
    "response.cancel",
    "response.create",
)
AGENTS_KINDS = (
    "session.created",
    "session.updated",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_audio.done",
    "response.done",
    "antiphon.latency",
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))))
def test_no_event_of_a_client_breaks_the_call(events: list[tuple[str, dict[str, Any]]]) -> None:
    call = realtime_call()
    call.agent_says(PART)
    call.speak(1)
    for kind, fields in events:
        call.core.receive(json.dumps({**fields, "type": kind}), call.now)
        call.run(0.1)
    assert call.core.ended is None
    call.run(3)
    assert all(isinstance(each["event_id"], str) for each in call.of("error"))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(AGENTS_KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))))
def test_no_event_of_an_agent_breaks_the_call(events: list[tuple[str, dict[str, Any]]]) -> None:
    call = Call(session={"input_audio_format": "g711_alaw", "output_audio_format": "g711_ulaw"})
    for kind, fields in events:
        call.agent_says({**fields, "type": kind})
        call.speak(0.1)
        call.run(0.05)
    assert call.core.ended is None


ACTS = st.one_of(
    st.tuples(st.just("speak"), st.floats(0.02, 4)),
    st.tuples(st.just("run"), st.floats(0.001, 3)),
    st.tuples(st.just("flush"), st.integers(0, 3)),
    st.tuples(st.just("truncate"), st.integers(0, 9000)),
    st.tuples(st.sampled_from(["pause", "resume", "clear", "part", "transfer"]), st.none()),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(ACTS, max_size=30), st.booleans())
def test_speech_leaves_within_its_bounds_and_positions_never_exceed_what_has_left(
    acts: list[tuple[str, Any]], plain: bool
) -> None:
    call = Call() if plain else realtime_call()
    generation, began, items = 1, call.now, 0
    for act, value in acts:
        match act:
            case "speak":
                call.speak(value, generation)
            case "run":
                call.run(value)
            case "flush":
                generation += value
                call.core.control(messages.Flush(generation=generation), call.now)
            case "truncate":
                sent = call.of("response.output_audio.delta")
                item = sent[-1]["item_id"] if sent else "none"
                call.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=value)
            case "pause":
                call.core.control(messages.Pause(), call.now)
            case "resume":
                call.core.control(messages.Resume(), call.now)
            case "clear":
                call.send("output_audio_buffer.clear")
            case "part":
                items += 1
                call.agent_says({**PART, "item_id": f"item_{items}"})
            case "transfer":
                generation = 0
                call.core.transfer("next", messages.ClaimReply(accepted=True), call.now)
        call.poll()
    call.run(1)
    restarts = 1 + sum(act in ("flush", "truncate", "clear", "transfer") for act, _ in acts)
    left = len(call.deltas()) / 48000
    assert left <= call.now - began + AHEAD_SECONDS * restarts + 0.1
    for event in call.reported(messages.Playout) + call.reported(messages.Flushed):
        assert 0 <= event.played_samples / event.rate <= left + 0.001
    assert call.core.ended is None
