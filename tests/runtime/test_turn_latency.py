"""The owner's parts of a turn: they add up with the agent's, whatever comes first, and whatever an agent claims."""

from __future__ import annotations

import math

import pytest

from antiphon.runtime.owned_calls.turn_latency import MAX_TURNS, TURNS, Network, Told, TurnLatency
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame

pytestmark = pytest.mark.pure

UNIX = 1_767_225_600.0
FRAME = bytes(960)
FAR = Network(80.0, 40.0)
SPOKEN = messages.TurnParts(receive=30, end_of_turn=470, stt=60, agent=340, tts=90)
"""990 ms."""


class Owner:
    """A call: its clock counts from 0."""

    def __init__(self, network: Network = FAR) -> None:
        self.told: list[Told] = []
        self.sent_in = 0.0
        self.latency = TurnLatency(self.told.append, lambda: network, 0.0, UNIX, lambda: self.now + self.sent_in)
        self.now = 0.0

    def frame(self, now: float, generation: int = 1, first_sample: int = 0) -> None:
        self.latency.offered(AudioFrame(0, first_sample, 0, 24000, 0, generation, FRAME), now)

    def leaves(self, now: float, generation: int = 1, samples: int = 480) -> None:
        self.now = now
        if self.latency.waits:
            self.latency.leaves(generation, samples, now)

    def report(
        self,
        now: float,
        generation: int = 1,
        parts: messages.TurnParts = SPOKEN,
        end: messages.calls.TurnEnd | None = None,
        began: float = UNIX + 10.0,
        published: float = UNIX + 10.990,
    ) -> None:
        turn = messages.Turn(number=99, generation=generation, began=began, parts=parts, end=end)
        self.latency.reported(messages.ReportTurn(turn=turn, last_sample=1, published=published), now)

    @property
    def last(self) -> messages.Turn:
        return self.told[-1].turn


def _sum(turn: messages.Turn) -> float:
    return float(sum(turn.parts.model_dump(exclude_none=True).values()))


@pytest.mark.parametrize("order", ["frame first", "report first", "report after it left"])
def test_the_parts_add_up_to_the_whole_wait(order: str) -> None:
    call = Owner()
    call.sent_in = 0.002
    if order == "report first":
        call.report(10.991)
    call.frame(10.995)
    if order == "frame first":
        call.report(10.996)
    call.leaves(11.010)
    if order == "report after it left":
        call.report(11.011)
    (told,) = call.told
    assert told.turn.parts.model_dump() == {
        "uplink": 40.0, "receive": 30.0, "end_of_turn": 470.0, "stt": 60.0, "agent": 340.0, "tts": 90.0,
        "publish": 5.0, "playout": 15.0, "send": 2.0, "relay": None, "downlink": 40.0, "client": 40.0,
    }  # fmt: skip
    # from the last sample at the caller (40 ms before it came) to the ear (40 + 40 ms after it was sent)
    assert _sum(told.turn) == pytest.approx(1012 + 40 + 40 + 40, abs=0.1)
    assert told.turn.began == pytest.approx(UNIX + 9.960, abs=1e-4)
    ends = [each.ends for each in told.stretches]
    begins = [each.begins for each in told.stretches]
    assert begins[2:] == pytest.approx(ends[1:-1])  # `uplink` is before the agent's parts
    assert call.latency.waits is False


@pytest.mark.parametrize("ahead", [-0.3, -0.02, 0.02, 0.3])
def test_clocks_that_differ_cancel_out_in_the_sum(ahead: float) -> None:
    """`began` is by the owner's clock, the rest by the agent's."""
    call = Owner(Network())
    parts = SPOKEN.model_copy(
        update={"receive": max(0.0, 30 + ahead * 1000), "end_of_turn": min(470, 500 + ahead * 1000)}
    )
    call.report(10.991, parts=parts, published=UNIX + 10.990 + ahead)
    call.frame(10.995)
    call.leaves(11.010)
    assert _sum(call.last) == pytest.approx(1010, abs=0.1)
    assert min(call.last.parts.model_dump(exclude_none=True).values()) >= 0


def test_an_answer_behind_one_moment_is_measured_by_its_own_frame() -> None:
    call = Owner(Network())
    call.frame(10.5)
    call.leaves(10.51)
    call.frame(10.995, first_sample=480)
    call.report(10.996)
    call.leaves(11.010, samples=480)  # still the sign
    assert call.told == []
    call.leaves(11.030, samples=960)
    assert call.last.parts.playout == pytest.approx(35.0)


def test_a_turn_that_no_speech_has_begun_has_no_way_up() -> None:
    call = Owner()
    call.report(10.991, parts=messages.TurnParts(agent=900, tts=90))
    call.frame(10.995)
    call.leaves(11.0)
    assert call.last.parts.uplink is None
    assert call.last.parts.downlink == 40.0
    assert call.last.began == UNIX + 10.0


def test_the_end_of_a_turn_is_told_once_with_all_parts() -> None:
    call = Owner()
    call.report(10.991)
    call.frame(10.995)
    call.leaves(11.0)
    for _ in range(3):
        call.report(14.0, end="interrupted", parts=messages.TurnParts())
    assert [told.turn.end for told in call.told] == [None, "interrupted"]
    assert call.told[1].turn.parts == call.told[0].turn.parts
    assert call.told[1].stretches == ()


def test_a_turn_without_a_word_is_told_with_what_its_agent_knows() -> None:
    call = Owner()
    call.report(10.6, parts=messages.TurnParts(receive=30, end_of_turn=470), end="interrupted", published=0)
    assert call.last.parts.model_dump(exclude_none=True) == {"receive": 30, "end_of_turn": 470}
    assert call.last.end == "interrupted"


def test_turns_are_numbered_here_and_go_on_after_a_take_over() -> None:
    call = Owner()
    for generation in range(1, 4):
        call.report(10.0 + generation, generation, end="completed", published=0)
    assert [told.turn.number for told in call.told] == [1, 2, 3]
    other = Owner()
    other.latency.restore(3, call.last.model_copy(update={"end": None}))
    other.report(20.0, 3, end="completed")
    other.report(21.0, 1 << 32, end="completed", published=0)
    assert [(told.turn.number, told.turn.end) for told in other.told] == [(3, "completed"), (4, "completed")]


def test_a_flushed_answer_keeps_no_sender_busy() -> None:
    call = Owner()
    call.frame(1.0, 1)
    call.frame(2.0, 2)
    call.leaves(2.01, 2)
    assert call.latency.waits is False


def test_endless_reports_and_frames_are_bounded() -> None:
    call = Owner()
    for generation in range(10_000):
        call.report(10.0, generation)
        call.frame(10.0, generation)
    assert call.latency.turns == TURNS[1]
    assert len(call.latency._turns) == MAX_TURNS
    assert len(call.latency._bursts) == 2 * MAX_TURNS
    call.leaves(10.1, 9999)
    assert len(call.told) <= MAX_TURNS


@pytest.mark.parametrize("began", [0.0, 1e308, math.inf, math.nan, UNIX + 500])
@pytest.mark.parametrize("published", [0.0, 1e308, math.inf, math.nan, 1.0])
def test_absurd_times_give_numbers_that_can_be_told(began: float, published: float) -> None:
    call = Owner(Network(1e300, math.inf))
    turn = messages.Turn.model_construct(
        number=1,
        generation=1,
        began=began,
        parts=messages.TurnParts(agent=600_000, tts=600_000),
        end=None,
        tools=[],
        trace="x",
    )
    report = messages.ReportTurn.model_construct(type="report_turn", turn=turn, last_sample=0, published=published)
    call.latency.reported(report, 11.0)
    call.frame(11.0)
    call.leaves(11.1)
    for told in call.told:
        assert messages.Turn.model_validate_json(told.turn.model_dump_json()) == told.turn
        assert all(math.isfinite(each.begins) and math.isfinite(each.ends) for each in told.stretches)


def test_a_generation_that_can_not_be_written_down_is_ignored() -> None:
    call = Owner()
    call.report(10.0, 1 << 70)
    assert call.latency.turns == 0
