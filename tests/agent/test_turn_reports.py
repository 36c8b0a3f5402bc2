"""What an agent that speaks reports of its turns: contiguous parts, its own time as the agent's, spans that join."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest
from support.conditions import until
from support.models.sounds import tone
from support.processes.agents import calling
from support.spans import recorded_spans

from antiphon.agent import Agent, Session, SpeechStopped
from antiphon.agent.events import SpeechStarted
from antiphon.agent.turn_reports import TurnReports
from antiphon.runtime import telemetry
from antiphon.runtime.owned_calls import turn_spans
from antiphon.runtime.owned_calls.turn_latency import Network, Told, TurnLatency
from antiphon.runtime.telemetry import names
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame

MS = 1_000_000
BEGAN = 1_800_000_000_000 * MS


def _frames(reports: TurnReports, seconds: float = 2.0, speech_until: float = 1.0) -> int:
    """A caller who speaks at first; 30 ms are on the way to us. Returns when the last frame was here."""
    now = BEGAN
    for number in range(round(seconds * 50)):
        captured = BEGAN + (number + 1) * 20 * MS
        at = (number + 1) * 0.02
        event = SpeechStopped(speech_until, speech_until) if abs(at - speech_until - 0.5) < 0.001 else None
        now = captured + 30 * MS
        reports.received(AudioFrame(number, number * 320, captured, 16000, 0, 0, bytes(640)), event, now)
    return now


@pytest.mark.pure
def test_a_turn_of_an_audio_plug_in_has_contiguous_parts_and_its_think_time_is_the_agent_s() -> None:
    call = telemetry.new_call()
    with recorded_spans() as recorded:
        reports = TurnReports("rtc_1", "echo", telemetry.trace_headers(telemetry.call_context(call, "rtc_1")))
        reports.statistics(60.0)
        now = _frames(reports)
        report = reports.first_frame(3, now, now + 200 * MS)
        ended = reports.over(complete=True)
        latency = TurnLatency(
            lambda told: turn_spans.write(told, "rtc_1", call.model_dump()), lambda: Network(60.0, 35.0), 0.0
        )
        latency.reported(report, report.published + 0.001)
        latency.offered(AudioFrame(0, 0, 0, 24000, 0, 3, bytes(960)), report.published + 0.002)
        latency.leaves(3, 480, report.published + 0.012)
        assert telemetry.trace_id(call) == report.turn.trace[3:35]
        turn = recorded.one("invoke_agent echo")
        children = [each for each in recorded.all() if each.parent and each.parent.span_id == turn.context.span_id]
    children.sort(key=lambda span: (span.start_time or 0, span.end_time or 0))
    owners = {str((each.attributes or {})[names.PART]): (each.attributes or {})[names.OWNED_BY] for each in children}
    assert list(owners) == [
        "uplink",
        "receive",
        "end_of_turn",
        "agent",
        "publish",
        "playout",
        "send",
        "downlink",
        "client",
    ]
    assert (owners["agent"], owners["end_of_turn"], owners["receive"]) == ("agent", "setting", "service")
    gaps = [(after.start_time or 0) - (before.end_time or 0) for before, after in itertools.pairwise(children)]
    assert max(map(abs, gaps)) < MS
    assert turn.start_time == BEGAN + 1000 * MS - 30 * MS
    assert report.turn.parts.model_dump(exclude_none=True) == pytest.approx(
        {"receive": 30.0, "end_of_turn": 500.0, "agent": 700.0}
    )
    assert (report.last_sample, report.turn.generation) == (16000, 3)
    assert ended is not None
    assert ended.turn.end == "completed"


@pytest.mark.pure
def test_a_speech_that_answers_nobody_has_the_agent_s_part_alone() -> None:
    reports = TurnReports("rtc_1", "echo", {})
    greeting = reports.first_frame(1, BEGAN, BEGAN + 80 * MS)
    assert greeting.turn.parts.model_dump(exclude_none=True) == pytest.approx({"agent": 80.0})
    assert (greeting.last_sample, greeting.turn.trace) == (0, "")
    reports.over(complete=False)
    now = _frames(reports)
    late = reports.first_frame(2, now + 60_000 * MS, now + 60_080 * MS)
    assert late.turn.parts.model_dump(exclude_none=True) == pytest.approx({"agent": 80.0}), (
        "it ignored the sound before"
    )
    assert reports.over(complete=False) is not None
    assert reports.over(complete=False) is None


@pytest.mark.pure
def test_an_agent_that_is_slow_is_told_as_the_agent() -> None:
    told: list[messages.Turn] = []

    def tell(known: Told) -> None:
        told.append(known.turn)

    reports = TurnReports("rtc_1", "echo", {})
    reports.received(AudioFrame(0, 0, BEGAN, 16000, 0, 0, bytes(640)), SpeechStarted(0.0), BEGAN)
    now = _frames(reports)
    report = reports.first_frame(3, now, now + 2000 * MS)
    latency = TurnLatency(tell, lambda: Network(), 0.0)
    latency.reported(report, report.published)
    latency.offered(AudioFrame(0, 0, 0, 24000, 0, 3, bytes(960)), report.published + 0.002)
    latency.leaves(3, 480, report.published + 0.012)
    parts = told[-1].parts.model_dump(exclude_none=True)
    assert max(parts, key=lambda part: parts[part]) == "agent"


@pytest.mark.process
async def test_a_session_reports_its_turn_at_the_first_frame_and_at_the_end(nats_url: str) -> None:
    agent = Agent("answers")

    @agent.session
    async def talk(session: Session) -> None:
        async for event in session.events():
            if isinstance(event, SpeechStopped):
                await asyncio.sleep(0.3)
                await session.say(bytes(9600), "Yes.")

    async with calling(agent, nats_url) as call:
        await call.say(np.frombuffer(tone(0.5, rate=16000), dtype=np.int16))
        await until(lambda: len(call.turn_reports) == 2)
        began, ended = call.turn_reports
    parts = began.turn.parts
    assert set(parts.model_dump(exclude_none=True)) == {"receive", "end_of_turn", "agent"}
    assert parts.agent is not None
    assert parts.agent >= 290
    assert (began.turn.end, ended.turn.end) == (None, "completed")
    assert began.turn.generation == ended.turn.generation
