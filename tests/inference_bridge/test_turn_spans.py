"""The spans of turns: each has all its children, they are contiguous and say whose time it was; and there are none
while traces are off."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from support.spans import recorded_spans
from support.virtual_conversation import VirtualConversation

from antiphon.bench._lib.otlp import otlp_receiver
from antiphon.inference_bridge.agents import FunctionCall
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.turn_spans import ModelNames, TurnSpans
from antiphon.runtime.owned_calls import turn_spans
from antiphon.runtime.owned_calls.turn_latency import Network, Told, TurnLatency
from antiphon.runtime.telemetry import names, spans
from antiphon.runtime.telemetry.export import Export
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame

pytestmark = pytest.mark.virtual

Start = Callable[..., VirtualConversation]
OWNERS = {
    "uplink": "network",
    "receive": "service",
    "end_of_turn": "setting",
    "stt": "model",
    "agent": "model",
    "tts": "model",
    "publish": "service",
    "playout": "service",
    "send": "service",
    "downlink": "network",
    "client": "client",
}
"""Of each part; `relay` is a histogram of the relay's own."""


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Conversations of this test, closed at its end."""
    calls: list[VirtualConversation] = []

    def make(*answers: Any, **options: Any) -> VirtualConversation:
        own = TurnSpans(None, "rtc_1", "concierge", ModelNames("whisper", "llama", "joe"))
        calls.append(VirtualConversation(monkeypatch, list(answers), turn_spans=own, **options))
        return calls[-1]

    yield make
    for call in calls:
        await call.close()


def _through_its_owner(report: messages.ReportTurn) -> None:
    """The call's owner gets the report and the frame, and writes its spans."""

    def write(told: Told) -> None:
        turn_spans.write(told, "rtc_1", {})

    latency = TurnLatency(write, lambda: Network(60.0, 35.0), 0.0)
    latency.reported(report, report.published + 0.001)
    latency.offered(AudioFrame(0, 0, 0, 24000, 0, report.turn.generation, bytes(960)), report.published + 0.002)
    latency.leaves(report.turn.generation, 480, report.published + 0.012)


def _part(span: Any) -> str:
    return str((span.attributes or {}).get(names.PART, ""))


def _children(found: list[ReadableSpan], parent: ReadableSpan) -> list[ReadableSpan]:
    return [each for each in found if each.parent is not None and each.parent.span_id == parent.context.span_id]


async def test_no_child_of_a_turn_is_missing_and_they_add_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        export = Export("test")
        stop = spans.use(export)
        try:
            call = start([0.3, "It is ten. ", "Good."])
            await call.says("What time is it?")
            await asyncio.sleep(5)
            began, ended = call.bus.reports
            assert (began.turn.end, ended.turn.end) == (None, "completed")
            _through_its_owner(began)
        finally:
            stop()
        (turn,) = [span for span in receiver.spans if span.name == "invoke_agent concierge"]
        children = {
            span.attributes[names.PART]: span
            for span in receiver.spans
            if span.parent_id == turn.span_id and names.PART in span.attributes
        }
        assert {part: span.attributes[names.OWNED_BY] for part, span in children.items()} == OWNERS
        in_order = [children[part] for part in OWNERS]
        gaps = [abs(after.began_ns - before.ended_ns) for before, after in itertools.pairwise(in_order)]
        assert max(gaps) < 1_000_000, "contiguous, but for what Unix times as floats can't hold"
        assert children["stt"].name == "speech_to_text whisper"
        assert children["agent"].name == "chat llama"
        assert children["tts"].name == "text_to_speech joe"
        assert children["agent"].ended_ns - children["agent"].began_ns == pytest.approx(300e6, abs=2e6)
        assert turn.attributes[names.END_REASON] == "completed"
        assert {span.attributes[names.SESSION_ID] for span in receiver.spans} == {"rtc_1"}
        assert {span.attributes[names.CONVERSATION_ID] for span in receiver.spans} == {"rtc_1"}


async def test_the_parts_are_reported_when_the_first_frame_is_out(start: Start) -> None:
    """Without traces, too."""
    call = start([0.3, "It is ten."])
    await call.says("What time is it?")
    await asyncio.sleep(5)
    report = call.bus.reports[0]
    parts = report.turn.parts.model_dump(exclude_none=True)
    assert set(parts) == {"receive", "end_of_turn", "stt", "agent", "tts"}
    assert sum(parts.values()) == pytest.approx((report.published - report.turn.began) * 1000, abs=0.1)
    assert report.turn.trace == ""


async def test_no_span_is_made_while_traces_are_off(start: Start) -> None:
    call = start(["It is ten."])
    await call.says("What time is it?")
    await asyncio.sleep(3)
    with recorded_spans() as recorded:
        assert recorded.all() == []


async def test_a_speculative_transcription_is_a_sibling_that_links_to_its_turn(start: Start) -> None:
    with recorded_spans() as recorded:
        call = start(["It is ten."])
        await call.says("What time is it?")
        await asyncio.sleep(3)
        turn = recorded.one("invoke_agent concierge")
        (tried,) = [each for each in recorded.all() if (each.attributes or {}).get("antiphon.speculative")]
        assert tried.parent is None
        assert [link.context.span_id for link in tried.links] == [turn.context.span_id]


async def test_an_interruption_is_in_the_turn_that_it_ends(start: Start) -> None:
    with recorded_spans() as recorded:
        call = start(["We are open from Monday to Friday, and on Saturday until noon, and more."], ["It is ten."])
        await call.says("When are you open?")
        await asyncio.sleep(2)
        await call.says("Stop, what time is it now please?")
        await asyncio.sleep(6)
        found = recorded.all()
        turns = [each for each in found if each.name.startswith("invoke_agent")]
        first, second = sorted(turns, key=lambda span: span.start_time or 0)
        assert (first.attributes or {})[names.END_REASON] == "interrupted"
        assert (second.attributes or {})[names.END_REASON] == "completed"
        (interruption,) = [each for each in _children(found, first) if each.name == names.INTERRUPTION]
        assert [each.name for each in _children(found, interruption)] == ["onset", "decision", "flush", "silence"]


async def test_a_tool_is_in_its_turn_and_the_answer_behind_it_is_the_turn_s(start: Start) -> None:
    with recorded_spans() as recorded:
        call = start([FunctionCall("c1", "weather", "{}")], ["It is sunny."])
        await call.says("How is the weather?")
        await asyncio.sleep(1)
        call.returns("c1", "sunny")
        await asyncio.sleep(4)
        found = recorded.all()
        turn = recorded.one("invoke_agent concierge")
        parts = {_part(each): each for each in _children(found, turn) if _part(each)}
        assert set(parts) == {"receive", "end_of_turn", "stt", "agent", "tts"}
        agent = parts["agent"]
        assert (agent.end_time or 0) - (agent.start_time or 0) > 0.7e9, "the tool's time is part of the wait"
        assert recorded.one("execute_tool weather").parent == turn.context
        assert [report.turn.tools for report in call.bus.reports][-1] == ["weather"]


@pytest.mark.parametrize("kind", ["greeting", "client"])
async def test_a_turn_that_no_speech_has_begun_has_the_parts_of_its_answer(start: Start, kind: str) -> None:
    with recorded_spans() as recorded:
        call = start(["It is ten."], greeting="Hello there." if kind == "greeting" else "")
        if kind == "greeting":
            call.runner.feed(events.Connected())
        else:
            call.types("What time is it?")
            call.send(type="response.create")
        await asyncio.sleep(4)
        turn = recorded.one("invoke_agent concierge")
        assert (turn.attributes or {})["antiphon.turn.kind"] == kind
        assert [_part(each) for each in _children(recorded.all(), turn)] == ["agent", "tts"]
        assert call.bus.reports[0].last_sample == 0


async def test_what_was_no_turn_invokes_no_agent(start: Start) -> None:
    with recorded_spans() as recorded:
        call = start(["We are open from Monday to Friday, and on Saturday until noon, and more."])
        await call.says("When are you open?")
        await asyncio.sleep(2)
        await call.says("Mhm.", seconds=0.3)
        await asyncio.sleep(8)
        assert len([each for each in recorded.all() if each.name.startswith("invoke_agent")]) == 1
        assert recorded.one("false_interruption")
