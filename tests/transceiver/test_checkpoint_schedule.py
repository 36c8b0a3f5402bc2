"""Which checkpoints are due, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.transceiver.failover.checkpoint_schedule import (
    BYTES_A_SECOND,
    COALESCE,
    MAX_REST,
    POLLS,
    RESTS,
    SLOW,
    CheckpointSchedule,
)

pytestmark = pytest.mark.pure


def schedule(*sessions: str) -> CheckpointSchedule:
    made = CheckpointSchedule()
    for session_id in sessions:
        made.add(session_id)
    return made


def test_a_session_that_is_wanted_twice_is_written_once_and_in_the_order_of_the_wishes() -> None:
    due = schedule("a", "b", "c")
    for session_id in ("b", "a", "b"):
        assert due.want(session_id, 1.0) is None
    assert due.take(10) == ["b", "a"]
    assert not due.has_wanted
    assert due.take(10) == []


def test_at_most_so_many_are_taken_at_a_time() -> None:
    due = schedule(*"abcdef")
    for session_id in "abcdef":
        due.want(session_id, 0.0)
    assert due.take(4) == list("abcd")
    assert due.has_wanted
    assert due.take(4) == list("ef")


def test_a_session_that_was_just_written_rests_and_is_asked_for_once_at_its_end() -> None:
    due = schedule("a")
    due.written("a", size=1000, computed=0.0001, now=5.0)
    assert due.want("a", 5.001) == 5.0 + COALESCE
    assert due.want("a", 5.002) is None, "one timer, however often it is wanted meanwhile"
    assert not due.has_wanted
    assert due.rested("a", 5.0 + COALESCE) is None
    assert due.take(1) == ["a"]


def test_large_checkpoints_are_bounded_by_bytes_and_slow_ones_by_their_computing() -> None:
    due = schedule("large", "slow", "slowest")
    due.written("large", size=BYTES_A_SECOND // 2, computed=0.0, now=0.0)
    due.written("slow", size=1, computed=2 * SLOW, now=0.0)
    due.written("slowest", size=1, computed=10.0, now=0.0)
    assert due.want("large", 0.0) == 0.5
    assert due.want("slow", 0.0) == RESTS * 2 * SLOW
    assert due.want("slowest", 0.0) == MAX_REST


def test_a_session_that_has_ended_is_neither_written_nor_waited_for() -> None:
    due = schedule("a", "b")
    due.want("a", 0.0)
    due.written("b", size=1, computed=0.0, now=0.0)
    assert due.want("b", 0.0) is not None
    due.remove("a")
    due.remove("b")
    assert not due.has_wanted
    assert due.rested("b", COALESCE) is None
    assert due.want("a", 1.0) is None
    assert not due.has_wanted


@given(st.integers(1, 400))
def test_sessions_that_are_due_together_are_spread_over_two_seconds_of_polls(count: int) -> None:
    due = schedule(*map(str, range(count)))
    written: set[str] = set()
    most, polls = 0, 0
    while len(written) < count:
        found = due.poll(lambda each: each not in written)
        most = max(most, len(found))
        written.update(found)
        polls += 1
    assert polls <= POLLS
    assert most <= 1 + count // POLLS
