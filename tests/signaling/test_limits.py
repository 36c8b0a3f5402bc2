"""Rates, failures and addresses, without any server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.signaling.limits import rate
from antiphon.signaling.limits.client_address import UNKNOWN, bucket_of, hidden
from antiphon.signaling.limits.failures import LONGEST_BLOCK, QUIET, Failures
from antiphon.signaling.limits.rate import RateTable

pytestmark = pytest.mark.pure


def test_a_minute_s_worth_goes_at_once_and_then_one_each_interval() -> None:
    table = RateTable()
    assert [table.take("calls", "a", 6, 0.0) for _ in range(6)] == [0.0] * 6
    assert table.take("calls", "a", 6, 0.0) == pytest.approx(10.0)
    assert table.take("calls", "a", 6, 9.9) > 0
    assert table.take("calls", "a", 6, 10.1) == 0.0
    assert table.take("calls", "b", 6, 0.0) == 0.0
    assert table.take("secrets", "a", 6, 0.0) == 0.0
    assert table.take("calls", "a", 0, 0.0) == 0.0


@given(st.lists(st.floats(0, 5), max_size=200), st.integers(1, 50))
def test_no_minute_holds_more_than_twice_the_limit(pauses: list[float], per_minute: int) -> None:
    now, free_at = 0.0, 0.0
    taken: list[float] = []
    for pause in pauses:
        now += pause
        free_at, wait = rate.take(free_at, per_minute, now)
        if not wait:
            taken.append(now)
    for begin in taken:
        assert sum(begin <= at < begin + 60 for at in taken) <= 2 * per_minute


@pytest.mark.parametrize("back", [3600.0, 1e9])
def test_a_clock_that_is_set_back_blocks_nobody_for_longer_than_a_minute(back: float) -> None:
    free_at = rate.take(0.0, 10, 1e9 + 5000).free_at
    now = 1e9 + 5000 - back
    first = rate.take(free_at, 10, now)
    assert first.wait <= 6.1
    assert rate.take(first.free_at, 10, now + first.wait + 0.1).wait == 0.0


def test_the_table_is_bounded_and_forgets_who_was_not_seen_for_longest() -> None:
    table = RateTable(max_subjects=100)
    for number in range(1000):
        table.take("calls", str(number), 1, 0.0)
    assert len(table) == 100
    assert table.take("calls", "999", 1, 0.0) > 0


def test_each_failure_above_the_free_ones_blocks_for_twice_as_long() -> None:
    failures = Failures(free=3)
    now, blocks = 0.0, []
    for _ in range(14):
        assert failures.note("a", now)
        blocks.append(failures.blocked("a", now))
        now += blocks[-1]
    assert blocks[:6] == [0.0, 0.0, 0.0, 1.0, 2.0, 4.0]
    assert blocks[-1] == LONGEST_BLOCK
    assert failures.blocked("b", now) == 0.0


def test_after_a_quiet_time_failures_are_free_again() -> None:
    failures = Failures(free=1)
    for _ in range(3):
        failures.note("a", 0.0)
    failures.note("a", QUIET + 10)
    assert failures.blocked("a", QUIET + 10) == 0.0


def test_what_other_instances_have_counted_counts_and_less_does_not() -> None:
    failures = Failures(free=1)
    failures.learn("a", 4, 0.0)
    assert failures.blocked("a", 0.0) == 4.0
    failures.learn("a", 2, 1.0)
    assert failures.blocked("a", 1.0) == 3.0
    assert Failures(free=0).note("a", 0.0) is None


def test_the_failures_are_bounded() -> None:
    failures = Failures(free=1, max_addresses=50)
    for number in range(500):
        failures.note(str(number), float(number))
    assert len(failures) == 50


def test_an_ipv6_customer_counts_as_one_and_ipv4_counts_by_address() -> None:
    assert bucket_of("2001:db8:1:2::1") == bucket_of("2001:db8:1:2:ffff:1:2:3")
    assert bucket_of("2001:db8:1:2::1") != bucket_of("2001:db8:1:3::1")
    assert bucket_of("192.0.2.1") == bucket_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert bucket_of("192.0.2.1") != bucket_of("192.0.2.2")
    assert bucket_of("fe80::1%eth0") == "fe80::/64"
    assert bucket_of("") == bucket_of("nonsense") == UNKNOWN


def test_the_name_of_an_address_depends_on_the_pepper_and_does_not_show_it() -> None:
    assert hidden(b"one", "192.0.2.1") == hidden(b"one", "192.0.2.1")
    assert hidden(b"one", "192.0.2.1") != hidden(b"two", "192.0.2.1")
    assert "192.0.2.1" not in hidden(b"one", "192.0.2.1")
