"""What `antiphon bench turn-parts` makes of spans and a recording."""

from __future__ import annotations

import pytest

from antiphon.bench._lib.otlp import Span
from antiphon.bench.calls.turn_parts import EXPECTED, Heard, compared

pytestmark = pytest.mark.pure


def _turn(began: float, parent: str = "t1") -> list[Span]:
    """Each part takes 50 ms."""
    at, out = began, []
    for part in sorted(EXPECTED):
        attributes = {"antiphon.turn.part": part}
        out.append(Span(part, part, parent, int(at * 1e9), int((at + 0.05) * 1e9), attributes))
        at += 0.05
    return out


def test_the_sum_is_compared_with_the_recording() -> None:
    result = compared([Heard(10.0, 10.51)], _turn(10.0))
    assert result["compared"] == 1
    assert result["difference_ms"]["p95"] == pytest.approx(10.0, abs=0.1)
    assert result["missing"] == []


@pytest.mark.parametrize("part", sorted(EXPECTED - {"send"}))
def test_a_missing_child_fails_the_turn(part: str) -> None:
    result = compared([Heard(10.0, 10.5)], [span for span in _turn(10.0) if span.name != part])
    assert result["compared"] == 0
    assert result["missing"] == [[part]]


def test_a_turn_without_a_trace_is_missing() -> None:
    assert compared([Heard(10.0, 10.5)], _turn(90.0))["missing"] == [sorted(EXPECTED)]
