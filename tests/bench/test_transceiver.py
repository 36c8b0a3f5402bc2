"""`antiphon bench transceiver` against the real service, as short as it goes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.realtime

FIELDS = {
    "sessions_per_core",
    "stock_sessions_per_core",
    "ratio_to_stock",
    "cpu_percent_per_session",
    "ratio_to_floor",
    "late_ms",
    "packet_to_transceiver_ms",
    "packet_to_agent_ms",
    "packet_to_agent_unloaded_ms",
    "reply_to_wire_ms",
    "mb_per_session",
    "setup_cpu_ms",
    "levels",
    "scheduling",
}
DELAYS = ("late_ms", "packet_to_transceiver_ms", "packet_to_agent_ms", "reply_to_wire_ms")


@pytest.mark.nightly
def test_the_bench_reports_what_it_promises_as_one_json_object() -> None:
    command = [sys.executable, "-m", "antiphon.cli", "bench", "transceiver", "--json", "--rounds", "1"]
    shortest = ["--sessions", "2", "--at", "--most", "3", "--step", "1", "--seconds", "1", "--no-stock"]
    found = json.loads(subprocess.run([*command, *shortest], check=True, capture_output=True, timeout=100).stdout)
    assert set(found) >= FIELDS
    assert found["cpu_percent_per_session"] > 0
    assert found["stock_sessions_per_core"] is None
    for name in DELAYS:
        assert set(found[name]) == {"p50", "p99", "p99.9", "max"}
        assert found[name]["max"] > 0
    first, second = found["levels"]
    assert (first["sessions"], second["sessions"]) == (2, 3)
    assert first["nats_us"] > 0
    assert set(first["driver_late_ms"]) == {"p50", "p99", "p99.9", "max"}
    assert first["missing"] == 0 or not first["in_time"]
