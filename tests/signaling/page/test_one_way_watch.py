"""`OneWayWatch` of one_way_watch.js, in simulated time: when nothing of ours arrives though packets still come.

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
  // Checks and reports as Chromium and the server send them; `loss` of each direction, all of ours from `dies_at` on.
  globalThis.simulate = ({ seconds, dies_at = Infinity, loss = 0, round_trip = 50, seed = 1, reports = true,
                           muted_from = Infinity, silent_reports = false, checks = true }) => {
    const chance = () => ((seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648);
    const lost = (at) => at >= dies_at || chance() < loss;
    const watch = new watching.OneWayWatch();
    let [requests, responses, packets, here, number, jitter, missing] = [0, 0, 0, 0, 0, 0.01, 0];
    let [nextCheck, waits, says] = [0, [], null];
    for (let now = 0; now < seconds * 1000; now += 20) {
      if (now < muted_from) {
        packets += 1;
        if (lost(now)) missing += now >= dies_at ? 0 : 1;
        else [here, jitter] = [here + 1, 0.01 + chance() / 100];
      }
      if (now >= nextCheck) {
        requests += 1;
        const answered = !lost(now) && chance() >= loss;
        if (answered) waits.push(now + round_trip);
        nextCheck = now + (answered ? 2500 : 1000);
      }
      responses += waits.filter((at) => at <= now).length;
      waits = waits.filter((at) => at > now);
      if (reports && now % 1000 === 500 && chance() >= loss && !(silent_reports && now >= dies_at)) {
        [number, says] = [number + 1, `${missing} ${jitter}`];
      }
      if (now % 100) continue;
      const report = says === null ? null : { number, says };
      const sample = { pair: "p", requests, responses, round_trip_ms: round_trip, packets, report };
      if (watch.look(now, checks ? sample : null)) return now;
    }
    return null;
  };
}"""


@pytest.fixture(scope="module")
def simulate() -> Iterator[Simulate]:
    """Runs a call; when nothing of ours arrived any more, as it says, in ms, or None."""
    with virtual_page() as page:
        page.evaluate(LOAD, (files.STATIC / "one_way_watch.js").resolve().as_uri())

        def run(**plan: Any) -> Any:
            return page.evaluate("plan => simulate(plan)", plan)

        yield run


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(1, 10**6), loss=st.floats(0, 0.15), round_trip=st.integers(1, 500))
def test_loss_alone_is_no_reason(simulate: Simulate, seed: int, loss: float, round_trip: int) -> None:
    assert simulate(seconds=300, seed=seed, loss=loss, round_trip=round_trip) is None


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dies_at=st.integers(10_000, 20_000), round_trip=st.integers(1, 300))
def test_a_direction_that_dies_is_noticed_within_three_and_a_half_seconds(
    simulate: Simulate, dies_at: int, round_trip: int
) -> None:
    found = simulate(seconds=60, dies_at=dies_at, round_trip=round_trip)
    assert dies_at + 200 <= found <= dies_at + 3500


def test_a_server_that_reports_nothing_when_nothing_comes_is_understood(simulate: Simulate) -> None:
    assert simulate(seconds=60, dies_at=10_000, silent_reports=True) <= 15_500


def test_without_reports_three_checks_have_to_be_missing(simulate: Simulate) -> None:
    assert 12_000 <= simulate(seconds=60, dies_at=10_000, reports=False) <= 15_500


def test_a_client_that_sends_nothing_is_told_nothing_by_equal_reports(simulate: Simulate) -> None:
    assert simulate(seconds=60, muted_from=10_000, loss=0.2) is None


def test_a_browser_that_does_not_count_its_checks_gets_no_verdict(simulate: Simulate) -> None:
    assert simulate(seconds=60, dies_at=10_000, checks=False) is None
