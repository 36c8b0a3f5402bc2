"""`antiphon bench transceiver` against the real service, as short as it goes."""

from __future__ import annotations

import json
import subprocess
import sys

FIELDS = {
    "sessions_per_core",
    "stock_sessions_per_core",
    "ratio_to_stock",
    "cpu_percent_per_session",
    "ratio_to_floor",
    "late_ms",
    "arrival_to_nats_ms",
    "arrival_to_nats_unloaded_ms",
    "nats_to_wire_ms",
    "mb_per_session",
    "setup_cpu_ms",
}


def test_the_bench_reports_what_it_promises_as_one_json_object() -> None:
    command = [sys.executable, "-m", "antiphon.cli", "bench", "transceiver", "--json", "--rounds", "1"]
    shortest = ["--sessions", "2", "--most", "2", "--seconds", "1", "--no-stock"]
    found = json.loads(subprocess.run([*command, *shortest], check=True, capture_output=True, timeout=100).stdout)
    assert set(found) >= FIELDS
    assert found["cpu_percent_per_session"] > 0
    assert found["stock_sessions_per_core"] is None
    for name in ("late_ms", "arrival_to_nats_ms", "arrival_to_nats_unloaded_ms", "nats_to_wire_ms"):
        assert set(found[name]) == {"p50", "p99"}
        assert found[name]["p50"] > 0 or name == "late_ms"
    assert found["spread"]["complete"]["median"] > 0.5
