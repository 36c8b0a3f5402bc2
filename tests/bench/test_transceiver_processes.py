"""What `antiphon bench transceiver-processes` makes of its calls and rounds."""

from __future__ import annotations

from typing import Any, cast

import pytest

from antiphon.bench.media.load_clients import LoadClient
from antiphon.bench.media.transceiver_processes import Rush, summary

pytestmark = pytest.mark.pure


class Running:
    """Calls that are connected when the test says so."""

    def __init__(self) -> None:
        self.begun: list[LoadClient] = []
        self.ended: list[LoadClient] = []

    def begin_call(self) -> LoadClient:
        self.begun.append(cast(LoadClient, _Client()))
        return self.begun[-1]

    def end_call(self, client: LoadClient) -> None:
        self.ended.append(client)


class _Client:
    connected = False


def test_a_rush_begins_calls_at_its_rate_and_ends_each_a_second_after_it_is_connected() -> None:
    running = Running()
    rush = Rush(running, 50, 10.0)
    for step in range(1, 11):
        rush.step(10.0 + step * 0.01)
    assert (rush.joined, len(running.begun)) == (5, 5)
    running.begun[0].connected = True
    rush.step(10.105)
    assert rush.setup_ms == [pytest.approx(85)]
    rush.step(11.1)
    assert running.ended == []
    rush.step(11.106)
    assert running.ended == running.begun[:1]
    rush.close()
    assert set(running.ended) == set(running.begun)


def window(us: float, late_p99: float) -> dict[str, Any]:
    late = {"p50": 0.5, "p99": late_p99, "max": 2 * late_p99}
    return {
        "sessions": 100,
        "us_per_pair": us,
        "core_percent": us / 2,
        "late_ms": late,
        "packet_to_agent_ms": late,
        "driver_late_ms": {"p99": 1.0},
        "stolen_percent": 0.0,
        "missing": 0,
        "missing_frames": 1,
        "in_time": late_p99 < 10,
        "joined": 10,
        "connected": 9,
        "setup_ms": {"p50": 40.0, "p99": 60.0},
    }


def test_the_report_compares_two_processes_with_one_of_the_same_round() -> None:
    rounds = [
        {
            1: {"steady": window(100, 2), "rush": window(120, 3)},
            2: {"steady": window(105, 4), "rush": window(130, 5)},
        },
        {
            1: {"steady": window(200, 2), "rush": window(220, 3)},
            2: {"steady": window(230, 12), "rush": window(240, 5)},
        },
    ]
    found = summary(rounds, 50)
    assert found["cpu_ratio"] == {"median": 1.1, "min": 1.05, "max": 1.15}
    assert found["2_steady"]["late_ms"]["p99"] == {"median": 8.0, "min": 4.0, "max": 12.0}
    assert found["2_steady"]["in_time"] == 1
    assert (found["1_rush"]["joined"], found["1_rush"]["connected"]) == (20, 18)
    assert found["2_rush"]["missing_frames"] == 2
