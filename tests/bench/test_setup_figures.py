"""What `antiphon bench setup` makes of its calls."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.bench.calls.setup import OURS, _channels, _summary

pytestmark = pytest.mark.pure


def test_only_calls_whose_answer_came_in_time_count_for_the_data_channel() -> None:
    found: list[dict[str, Any]] = [
        {"http": 200.0, "setup": 400.0, "channel_after_answer": 9000.0},
        {"http": 200.0, "setup": 500.0, "channel_after_answer": 11000.0},
        {"http": 200.0, "error": "the DTLS handshake did not finish"},
        {"http": 7100.0, "setup": 8000.0, "channel_after_answer": 100.0},
        {"error": "no answer"},
    ]
    assert _channels(found) == {"answered_in_7_s": 3, "channel_open_in_10_s": 1}
    summary = _summary(found, OURS)
    assert summary["steps_ms"]["setup"] == {"p50": 500.0, "p95": 8000.0, "max": 8000.0}
    assert summary["steps_ms"]["audio"] == {"p50": None, "p95": None, "max": None}
    assert summary["ended_well"] == 3
    assert summary["errors"] == {"the DTLS handshake did not finish": 1, "no answer": 1}
