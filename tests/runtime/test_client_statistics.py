"""`antiphon.client_stats`: which messages are a digest, which are of use, and what is counted of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon.runtime.metrics.table import METRICS
from antiphon.runtime.owned_calls import client_statistics
from antiphon.runtime.owned_calls.client_statistics import MAX_DIGEST, RATE, ClientReports
from antiphon.schemas import messages

pytestmark = pytest.mark.pure

GOOD = {"type": "antiphon.client_stats", "client": "antiphon.js 0.1.0", "jitter_ms": 3.5, "packets_lost": -1}


def test_a_digest_is_taken_as_text_and_as_binary() -> None:
    for payload in (json.dumps(GOOD), json.dumps(GOOD).encode()):
        taken = ClientReports().take(payload, 0.0)
        assert isinstance(taken, messages.ClientStatistics)
        assert taken.jitter_ms == 3.5


@pytest.mark.parametrize(
    "payload",
    [
        '{"type": "response.create"}',
        '{"type": "conversation.item.create", "text": "say antiphon.client_stats"}',
        '["antiphon.client_stats"]',
        '{"type": "antiphon.client_stats"',
        "antiphon.client_stats",
        b"\xff\xfe client_stats",
        "[" * 100_000 + "client_stats",
        "",
    ],
)
def test_all_else_is_for_the_agent(payload: str | bytes) -> None:
    assert ClientReports().take(payload, 0.0) is False


def test_a_digest_with_its_type_spelled_by_escapes_is_taken_off_too() -> None:
    assert ClientReports().take('{"type": "antiphon\\u002eclient_st\\u0061ts"}', 0.0) is not False


@pytest.mark.parametrize(
    "wrong",
    [
        {"jitter_ms": -1},
        {"jitter_ms": "3"},
        {"jitter_ms": True},
        {"round_trip_ms": float("nan")},
        {"round_trip_ms": float("inf")},
        {"round_trip_ms": 1e12},
        {"packets_received": -5},
        {"packets_received": 1 << 60},
        {"samples_received": 1.5},
        {"protocol": "carrier pigeon"},
        {"client": "x" * 65},
        {"client": "\x1b[2J"},
        {"client": {"name": "x"}},
        {"padding": "x" * MAX_DIGEST},
    ],
)
def test_nonsense_is_dropped_counted_and_not_for_the_agent(wrong: dict[str, Any]) -> None:
    reports = ClientReports()
    assert reports.take(json.dumps({**GOOD, **wrong}), 0.0) is True
    assert (reports.dropped, reports.last) == (1, None)


def test_what_the_client_can_t_tell_may_be_missing_or_null() -> None:
    assert isinstance(
        ClientReports().take('{"type":"antiphon.client_stats","jitter_ms":null}', 0), messages.ClientStatistics
    )


def test_digests_beyond_the_rate_are_dropped() -> None:
    reports = ClientReports()
    taken = [reports.take(json.dumps(GOOD), 1.0) for _ in range(100)]
    assert sum(isinstance(each, messages.ClientStatistics) for each in taken) == RATE[1]
    assert False not in taken
    assert reports.dropped == 100 - RATE[1]


class Counted:
    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def add(self, name: str, by: float = 1, /, **labels: str) -> None:
        assert set(labels) == set(METRICS[name].labels)
        self.found[name] = self.found.get(name, 0) + by

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        assert METRICS[name].kind == "histogram"
        self.found[name] = value


def test_what_a_digest_adds_to_the_one_before_is_counted() -> None:
    counted = Counted()
    first = messages.ClientStatistics(packets_received=1000, samples_received=100, jitter_buffer_ms=50)
    client_statistics.count(counted, first, None)
    second = messages.ClientStatistics(packets_received=1250, samples_received=90, packets_lost=3)
    client_statistics.count(counted, second, first)
    assert counted.found == {
        "antiphon_client_reports_total": 2,
        "antiphon_client_jitter_buffer_seconds": 0.05,
        "antiphon_client_packets_received_total": 250,
    }


def test_a_client_that_lies_adds_no_more_than_a_call_can_have() -> None:
    counted = Counted()
    first = messages.ClientStatistics(packets_received=0)
    client_statistics.count(counted, messages.ClientStatistics(packets_received=1 << 50), first)
    assert "antiphon_client_packets_received_total" not in counted.found
