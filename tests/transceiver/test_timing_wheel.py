"""The clock of all sessions."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from antiphon.transceiver.timing.pacing import PERIOD, SLOTS_PER_TICK, STEP
from antiphon.transceiver.timing.timing_wheel import TimingWheel

pytestmark = pytest.mark.pure


def turn(wheel: TimingWheel, now: float, until: float) -> float:
    """Sleep from due time to due time, as the shell does."""
    while (due := wheel.due()) is not None and due <= until:
        now = max(now, due)
        wheel.run(now, lambda done=now: done)  # type: ignore[misc]
        now += 1e-6
    return until


def test_every_visitor_comes_once_per_20_ms() -> None:
    wheel, generator = TimingWheel(5.0), random.Random(1)
    visits: dict[int, list[float]] = {number: [] for number in range(50)}
    now = 5.0
    for number in visits:
        now = turn(wheel, now, now + generator.random() / 50)
        wheel.add(visits[number].append, now)
    turn(wheel, now, 15.0)
    for times in visits.values():
        assert all(b - a == pytest.approx(PERIOD, abs=STEP + 0.0001) for a, b in pairwise(times))
        assert len(times) == pytest.approx((15.0 - times[0]) / PERIOD, abs=2)


def test_only_occupied_slots_wake() -> None:
    wheel, woken = TimingWheel(0.0), 0
    wheel.add(lambda now: None, 0.0)
    wheel.add(lambda now: None, 0.0)
    while (due := wheel.due()) is not None and due < 1.0:
        wheel.run(due, lambda: 0.0)
        woken += 1
    assert woken <= 51


@pytest.mark.parametrize("origin", [0.0, 5.0, 1234.5678, 987654.321])
def test_a_slot_that_is_due_is_run(origin: float) -> None:
    """Woken exactly when it asked for, whatever that number is: else it would ask for the same time again."""
    wheel, visits = TimingWheel(origin), 0

    def visit(now: float) -> None:
        nonlocal visits
        visits += 1

    wheel.add(visit, origin)
    for expected in range(1, 2000):
        due = wheel.due()
        assert due is not None
        wheel.run(due, lambda: 0.0)
        assert visits == expected


def test_a_newcomer_of_a_wakeup_is_visited_in_it() -> None:
    """What is read in a wakeup comes before the visits that were due then: a reply need not wait for the next slot."""
    wheel, visits = TimingWheel(0.0), list[float]()
    wheel.add(lambda now: None, 0.0)
    wheel.run(0.0, lambda: 0.0)
    woken = PERIOD + STEP / 10
    wheel.add(visits.append, woken)
    wheel.run(woken, lambda: woken)
    assert visits == [woken]
    wheel.add(visits.append, woken + STEP / 10)  # that slot has had its turn
    wheel.run(woken + STEP / 10, lambda: woken)
    assert len(visits) == 1


def test_a_busy_process_wakes_once_per_tick_and_each_visitor_keeps_its_place() -> None:
    wheel, generator = TimingWheel(5.0), random.Random(2)
    visits: dict[int, list[float]] = {number: [] for number in range(40)}
    for number in visits:
        wheel.add(visits[number].append, 5.0 + generator.random() / 50)
    now, woken = 5.02, 0
    while (due := wheel.due(together=True)) is not None and due < 6.02:
        now = max(now, due) + generator.random() * 0.002  # late, as a busy process is
        wheel.run(now, lambda done=now: done, together=True)  # type: ignore[misc]
        woken += 1
    assert woken <= 4 * 50 + 1
    tick = STEP * SLOTS_PER_TICK
    for times in visits.values():
        places = {int((at - 5.0) % PERIOD / tick) for at in times}
        assert len(places) == 1
        assert len(times) == pytest.approx(50, abs=1)
    assert 0 < wheel.lateness(now, 0.99)[0] < 0.003


def test_a_newcomer_of_a_tick_is_visited_in_it() -> None:
    wheel, visits = TimingWheel(0.0), list[float]()
    wheel.add(lambda now: None, 0.0, together=True)
    wheel.run(0.0, lambda: 0.0, together=True)
    due = wheel.due(together=True)
    assert due is not None
    woken = due + 1.5 * STEP
    wheel.add(visits.append, woken, 0.003, together=True)
    wheel.run(woken, lambda: woken, together=True)
    assert visits == [woken]


@pytest.mark.parametrize("idle", [0.03, 0.09, 0.5, 3600.0])
def test_a_wheel_that_stood_still_visits_a_newcomer_once_and_is_not_late(idle: float) -> None:
    wheel = TimingWheel(0.0)
    wheel.add(print, 0.0)
    wheel.run(0.001, lambda: 0.001)
    wheel.remove(print)
    visits: list[float] = []
    wheel.add(visits.append, idle)
    turn(wheel, idle, idle + 0.019)
    assert len(visits) == 1
    assert wheel.lateness(idle + 0.02, 0.99)[0] < 0.002


def test_short_stops_are_made_up_for_and_long_ones_are_not() -> None:
    wheel = TimingWheel(0.0)
    visits: list[float] = []
    wheel.add(visits.append, 0.0)
    wheel.run(0.0, lambda: 0.0)
    wheel.run(0.0805, lambda: 0.0805)
    assert len(visits) == 5
    wheel.run(60.0805, lambda: 60.0805)
    assert len(visits) == 6


def test_lateness_is_due_time_against_done_time() -> None:
    wheel = TimingWheel(0.0)
    wheel.add(lambda now: None, 0.0)
    wheel.run(0.0, lambda: 0.007)
    assert wheel.lateness(0.01, 0.5, 0.99) == pytest.approx((0.007, 0.007))
    assert wheel.lateness(6.0, 0.5, 0.99) == (0.0, 0.0)


def test_a_visitor_may_leave_or_add_others_while_visited() -> None:
    wheel = TimingWheel(0.0)
    visits: list[float] = []

    def leaves(now: float) -> None:
        wheel.remove(leaves)
        wheel.add(visits.append, now)

    wheel.add(leaves, 0.0)
    turn(wheel, 0.0, 0.1)
    assert len(visits) == pytest.approx(5, abs=1)


def test_a_visitor_that_raises_is_taken_off_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    wheel = TimingWheel(0.0)
    visits: list[float] = []

    def broken(now: float) -> None:
        raise ZeroDivisionError

    wheel.add(broken, 0.0)
    wheel.add(visits.append, 0.0)
    turn(wheel, 0.0, 0.1)
    assert len(visits) >= 5
    assert len(caplog.records) == 1


def test_visitors_that_can_wait_share_wakeups_and_still_come_in_their_tolerance() -> None:
    wheel, generator = TimingWheel(0.0), random.Random(3)
    firsts: dict[int, list[float]] = {}
    joined: dict[int, float] = {}
    now = 0.0
    for number in range(100):
        now = turn(wheel, now, now + generator.random() / 50)
        firsts[number], joined[number] = [], now
        wheel.add(firsts[number].append, now, 0.019 if number % 2 else 0.003)
    woken, until = 0, now + 1
    while (due := wheel.due()) is not None and due < until:
        wheel.run(due + 1e-6, lambda: due or 0.0)
        woken += 1
    assert woken < 700
    for number, visits in firsts.items():
        assert visits[0] - joined[number] <= (0.019 if number % 2 else 0.003) + STEP + 0.0001
        assert all(b - a == pytest.approx(PERIOD, abs=STEP + 0.0001) for a, b in pairwise(visits))
