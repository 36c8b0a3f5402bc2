"""`QuietWatch` of quiet_watch.js, in simulated time: when a path on which nothing arrives any more counts as dead.

It runs in node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.browsers.virtual_page import virtual_page

import antiphon.signaling.http.static_files as files

pytestmark = pytest.mark.process

Simulate = Callable[..., Any]

LOAD = """async (module) => {
  globalThis.watching = await import(module);
  // Signs of life every 150 ms until `dies_at`, and an answer to each question; each is lost with probability `loss`.
  globalThis.simulate = ({ seconds, dies_at = Infinity, loss = 0, round_trip = 50, seed = 1, every = 100, sleeps = [],
                       hints = [], probing = true, signs = 150 }) => {
    const chance = () => ((seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648);
    const watch = new watching.QuietWatch(0);
    let arrivals = [];
    for (let at = 0; at < seconds * 1000; at += signs) if (chance() >= loss) arrivals.push(at);
    let [bytes, now] = [0, 0];
    while (now < seconds * 1000) {
      const sleep = sleeps.find(([at]) => at > now && at <= now + every);
      const woken = sleep ? sleep[0] + sleep[1] : null;
      now = woken ?? now + every;
      for (const at of hints.filter((each) => each <= now)) watch.hint(at);
      hints = hints.filter((each) => each > now);
      const asleep = (at) => sleeps.some(([from, ms]) => at > from && at < from + ms);
      const came = arrivals.filter((at) => at <= now && at < dies_at && !asleep(at)).length;
      arrivals = arrivals.filter((at) => at > now);
      bytes += came;
      const seen = watch.look({ asked: now, now, bytes, round_trip_ms: round_trip, probing });
      if (seen.dead) return now;
      if (seen.ask && probing && now + round_trip < dies_at && chance() >= loss) arrivals.push(now + round_trip);
    }
    return null;
  };
}"""


@pytest.fixture(scope="module")
def simulate() -> Iterator[Simulate]:
    """Runs a call; when its path counted as dead, in ms, or None."""
    with virtual_page() as page:
        page.evaluate(LOAD, (files.STATIC / "quiet_watch.js").resolve().as_uri())

        def run(**plan: Any) -> Any:
            return page.evaluate("plan => simulate(plan)", plan)

        yield run


def test_ten_minutes_of_a_silent_agent_are_no_dead_path(simulate: Simulate) -> None:
    assert simulate(seconds=600) is None


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(1, 10**6), round_trip=st.integers(1, 500))
def test_a_silent_agents_path_that_loses_a_tenth_lives(simulate: Simulate, seed: int, round_trip: int) -> None:
    assert simulate(seconds=60, loss=0.1, seed=seed, round_trip=round_trip) is None


@pytest.mark.parametrize("round_trip", [1, 50, 200, 500])
def test_a_dead_path_is_found_out_within_400_ms_a_round_trip_and_two_looks(simulate: Simulate, round_trip: int) -> None:
    found = simulate(seconds=20, dies_at=10_000, round_trip=round_trip)
    assert 10_000 + 250 <= found <= 10_000 + 400 + round_trip + 200


@pytest.mark.parametrize("round_trip", [20, 190, 300])
def test_a_dead_path_on_which_packets_flowed_is_found_out_after_200_ms_and_a_round_trip(
    simulate: Simulate, round_trip: int
) -> None:
    found = simulate(seconds=20, dies_at=10_000, round_trip=round_trip, signs=20)
    assert found <= 10_000 + max(400, 220 + round_trip) + 200


def test_a_change_of_the_network_makes_it_sooner(simulate: Simulate) -> None:
    found = simulate(seconds=20, dies_at=10_000, hints=[10_010], every=50)
    assert found <= 10_000 + 350


def test_a_change_of_the_network_under_a_living_path_is_nothing(simulate: Simulate) -> None:
    assert simulate(seconds=60, hints=[10_000, 20_000, 30_000], round_trip=300) is None


def test_a_sleeping_laptop_is_no_dead_path(simulate: Simulate) -> None:
    assert simulate(seconds=60, sleeps=[[10_000, 20_000], [40_000, 1000]]) is None


def test_a_laptop_that_wakes_up_on_a_dead_path_knows_within_half_a_second(simulate: Simulate) -> None:
    found = simulate(seconds=60, sleeps=[[10_000, 20_000]], dies_at=15_000)
    assert found <= 30_500


def test_a_tab_in_the_background_that_looks_once_a_second_finds_a_dead_path_too(simulate: Simulate) -> None:
    assert simulate(seconds=600, every=1000) is None
    assert simulate(seconds=60, every=1000, dies_at=10_500) <= 13_000


def test_without_probes_a_server_that_reports_once_a_second_lives(simulate: Simulate) -> None:
    assert simulate(seconds=60, probing=False, signs=1000) is None
