"""When an event loop counts as blocked, in a time of the test's own."""

from __future__ import annotations

import pytest

from antiphon.runtime.standstill import LONGEST_TICK, TICK_SECONDS, Sample, Standstill

pytestmark = pytest.mark.pure


def after(seconds: float, states: str, computes: float = 0.0, tick: float = TICK_SECONDS) -> float:
    """Seconds that count as blocked, `seconds` after the last beat; `computes` is the share of a processor."""
    standstill, now = Standstill(), 100.0
    standstill.beat(now)
    while now < 100 + seconds:
        now += tick
        if standstill.tick(now):
            standstill.add(Sample(states, computes * now))
    return standstill.seconds


@pytest.mark.parametrize(("states", "computes"), [("S", 0.0), ("SS", 0.0), ("R", 1.0), ("SR", 1.0), ("RS", 1.0)])
def test_a_process_that_waits_or_computes_stands_still(states: str, computes: float) -> None:
    assert after(2.0, states, computes) > 1.3


@pytest.mark.parametrize("states", ["T", "t", "ST", "TS", "D", "DS"])
def test_a_process_that_is_stopped_or_waits_for_a_disk_does_not(states: str) -> None:
    assert after(60.0, states) < 1.0


def test_a_process_for_which_the_machine_has_no_processor_does_not() -> None:
    assert after(60.0, "R", computes=0.01) < 2.0


@pytest.mark.parametrize(("share", "counts"), [(0.5, 1.0), (0.25, 0.5), (0.1, 0.2)])
def test_of_a_shared_processor_twice_what_is_computed_counts(share: float, counts: float) -> None:
    assert after(20.0, "R", computes=share) == pytest.approx(20.0 * counts, abs=1.0)


def test_a_pause_of_the_watching_process_counts_as_one_tick() -> None:
    assert after(60.0, "S", tick=20.0) <= 3 * LONGEST_TICK


def test_a_beat_ends_a_standstill() -> None:
    standstill = Standstill()
    standstill.beat(0.0)
    for tick in range(1, 16):
        if standstill.tick(tick * TICK_SECONDS):
            standstill.add(Sample("S", 0.0))
    assert standstill.seconds > 1
    standstill.beat(1.6)
    assert standstill.seconds == 0
    assert not standstill.tick(1.7)


def test_nothing_is_watched_before_the_first_beat() -> None:
    standstill = Standstill()
    assert not any(standstill.tick(float(now)) for now in range(100))
