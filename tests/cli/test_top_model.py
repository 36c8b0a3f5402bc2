"""Rows, order, filter and bars of `antiphon top`."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.cli.top import model
from antiphon.runtime.operators.processes import Process
from antiphon.schemas.messages import CallSummary, ClientStatistics, Turn, TurnParts

pytestmark = pytest.mark.pure


def call(name: str, **changes: Any) -> CallSummary:
    given = {"session_id": f"rtc_{name}", "agent": "concierge", "state": "running", "began": 1000.0}
    return CallSummary.model_validate({**given, **changes})


def turn(**parts: float) -> Turn:
    return Turn(number=1, generation=1, began=1000.0, parts=TurnParts(**parts))


def test_a_row_has_the_figures_of_its_call() -> None:
    row = model.row_of(
        call(
            "a", region="eu", relay="r1", cluster=2, slot=3, round_trip_ms=41.6, packets_lost=1, packets_received=99,
            lateness_ms=0.25, last_turn=turn(uplink=20, agent=300.4, tts=80),
        ),
        1200.5,
    )  # fmt: skip
    assert row == (
        "rtc_a", "eu", "r1", "2.3", "concierge", "running", "3m20s", "42", "1.0", "0.2", "400",
        "uplink 20 agent 300 tts 80",
    )  # fmt: skip


def test_what_is_not_known_is_no_zero() -> None:
    row = model.row_of(call("a", kind="websocket"), 990.0)
    assert (row.region, row.relay, row.transceiver, row.age) == ("-", "-", "websocket", "0s")
    assert (row.round_trip, row.loss, row.last_turn, row.parts) == ("-", "-", "-", "-")


def test_more_packets_that_came_twice_than_were_lost_are_no_negative_loss() -> None:
    assert model.loss_percent(call("a", packets_lost=-3, packets_received=100)) == 0.0
    assert model.loss_percent(call("a", packets_lost=4, packets_received=0)) == 100.0


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("age", "abc"),
        ("round trip", "bac"),
        ("loss", "cab"),
        ("lateness", "cab"),
        ("last turn", "bac"),
        ("agent", "cab"),
        ("region", "bca"),
    ],
)
def test_the_greatest_figure_is_first_and_what_is_unknown_last(sort: str, order: str) -> None:
    calls = [
        call("c", began=30, packets_lost=5, packets_received=5, lateness_ms=3, agent="a", region="eu"),
        call("a", began=10, round_trip_ms=5, region="us", agent="b", packets_received=9, last_turn=turn(stt=1)),
        call("b", began=20, round_trip_ms=50, agent="c", last_turn=turn(stt=10)),
    ]
    assert "".join(each.session_id[-1] for each in model.ordered(calls, sort)) == order


def test_a_filter_wants_each_word_somewhere() -> None:
    calls = [call("one", region="eu", cluster=1, slot=7), call("two", region="us", trace_id="feed01")]
    assert model.filtered(calls, "") == calls
    assert model.filtered(calls, "EU 1.7") == calls[:1]
    assert model.filtered(calls, "eu feed01") == []
    assert model.filtered(calls, "feed01") == calls[1:]


def test_bars_of_a_turn_are_a_waterfall_without_gaps() -> None:
    bars = model.bars(TurnParts(uplink=100, stt=200, agent=100), 8)
    assert [(name, bar) for name, bar, _ in bars] == [("uplink", "██"), ("stt", "  ████"), ("agent", "      ██")]


def test_a_short_part_is_visible_and_none_leaves_the_width() -> None:
    bars = model.bars(TurnParts(receive=0.001, agent=999, downlink=0.001, client=0), 10)
    assert all(len(bar) <= 10 for _, bar, _ in bars)
    assert ["█" in bar for _, bar, _ in bars] == [True, True, True, False]
    assert model.bars(TurnParts()) == []


def test_text_of_others_can_not_steer_the_terminal() -> None:
    row = model.row_of(call("a", relay="\x1b[2J\nx", agent="y" * 100), 1000)
    assert row.relay == "?[2J?x"
    assert len(row.agent) == model.MAX_CELL
    assert "\x1b" not in "".join(model.process_cells(Process("antiphon-agent", "i", "1.0", trouble="\x1b]0;x\x07")))


def test_the_detail_names_turn_parts_statistics_client_and_trace() -> None:
    text = "\n".join(
        model.detail_lines(
            call(
                "a", trace_id="ab" * 16, moves=2, turns=4, frames_concealed=7, client=ClientStatistics(jitter_ms=9.5),
                last_turn=turn(uplink=20, agent=300),
            ),
            1010,
        )
    )  # fmt: skip
    for wanted in ("ab" * 16, "moves 2", "turn 1 of 4: 320 ms", "jitter_ms 9.5", "frames concealed 7", "█", "uplink"):
        assert wanted in text


def test_a_note_says_what_is_missing() -> None:
    assert model.note(model.Snapshot()) == "0 calls"
    found = model.Snapshot([call("a")], total=3, incomplete=["transceiver 0.1"])
    assert model.note(found) == "3 calls, 1 shown; no answer from transceiver 0.1"
    assert model.as_json(found)["incomplete"] == ["transceiver 0.1"]
    assert model.as_json(found)["calls"][0]["loss_percent"] is None


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert model.table(("a", "b"), [("xxx", "y")]) == "a    b\nxxx  y"
