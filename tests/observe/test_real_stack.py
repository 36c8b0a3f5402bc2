"""Every query of dashboards and alerts against a real Prometheus that scrapes a real stack, which holds calls.

`make observe-test`. What cannot have happened in two good calls is listed, with why; all else gives a value.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from support.conditions import wait_until
from support.dashboard_queries import Query, alert_queries, dashboard_queries
from support.processes.prometheus import Prometheus, prometheus
from support.processes.stack import Stack, running_stack

from antiphon.bench._lib.otlp import otlp_receiver
from antiphon.runtime.metrics.table import METRICS

pytestmark = [pytest.mark.realtime, pytest.mark.models, pytest.mark.nightly]

QUESTION: Final = "I would like to book an appointment for tomorrow at half past ten."
"""A call of 10 s: packets are reported every 5 s, and of their loss between two reports."""
SHOWN: Final = re.compile(r"(relay|transceiver|signaling|inference-bridge)\b.*metrics at http://(\S+)/metrics")
DID_NOT_HAPPEN: Final[Mapping[str, str]] = {
    "antiphon_client_": "`antiphon call` is no browser: it sends no antiphon.client_stats",
    "antiphon_call_refused_total": "no offer was refused",
    "antiphon_model_failures_total": "no model failed",
    "antiphon_call_takeover": "no process died",
    "antiphon_call_transfers_total": "no call was transferred",
    "antiphon_turn_interruption": "the caller did not talk over the agent",
    "antiphon_media_frames_dropped_total": "the agent did not send too much",
    "antiphon_relay_drops_total": "nothing was dropped",
    "antiphon_relay_round_trip_seconds": "there is one cluster",
    "antiphon_model_llm_first_token_seconds": "the agent is scripted: no language model was asked",
    "antiphon_webhook_": "no webhook is configured",
    "antiphon_usage_": "no API keys are set",
}
"""Beginnings of metrics without a series in this stack, and why."""


def _call(stack: Stack) -> None:
    command = [sys.executable, "-m", "antiphon.cli", "call", "--url", stack.url, "--say", QUESTION, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _excused(query: Query) -> bool:
    return any(metric.startswith(each) for metric in query.metrics for each in DID_NOT_HAPPEN)


def _targets(stack: Stack) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in list(stack.lines):
        if match := SHOWN.search(line):
            found.setdefault(match[1], []).append(match[2])
    return found


def _empty(server: Prometheus) -> dict[str, str]:
    queries = [query for query in dashboard_queries() if not _excused(query)]
    return {query.where: query.asked() for query in queries if not server.query(query.asked())}


def test_every_query_gives_a_value_at_a_stack_that_holds_calls(tmp_path: Path) -> None:
    """Its histograms lead to traces of the calls as well, and no alert fires."""
    with otlp_receiver() as otlp:
        settings = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{otlp.url}/v1/traces"}
        with running_stack("--loopback-only", environment=settings) as stack:
            targets = _targets(stack)
            assert set(targets) == {"relay", "transceiver", "signaling", "inference-bridge"}
            with prometheus(tmp_path, targets) as server:
                wait_until(lambda: server.ready_targets() == set(targets))
                _call(stack)
                _call(stack)
                with contextlib.suppress(TimeoutError):
                    wait_until(lambda: not _empty(server), 30)
                assert _empty(server) == {}
                metrics = {metric for query in alert_queries() for metric in query.metrics}
                missing = [each for each in sorted(metrics) if not server.query(each)]
                assert [each for each in missing if not any(each.startswith(why) for why in DID_NOT_HAPPEN)] == []
                assert server.query('ALERTS{alertstate="firing"}') == []
                traces = {each["labels"]["trace_id"] for each in server.exemplars("antiphon_call_setup_seconds_bucket")}
                assert traces & {span.trace_id for span in otlp.spans}


def test_what_is_excused_is_in_the_table() -> None:
    assert [each for each in DID_NOT_HAPPEN if not any(metric.startswith(each) for metric in METRICS)] == []
