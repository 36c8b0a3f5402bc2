"""Every query of dashboards and alerts gives a value at a real Prometheus that scrapes our own pages `/metrics`.

The pages are those of the six kinds of process, by the code that serves them, with a value for every metric and label
of the table: so no query is empty for want of an event. `test_real_stack` asks a stack that holds calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from support.conditions import wait_until
from support.dashboard_queries import DEPLOY, alert_queries, dashboard_queries
from support.processes.prometheus import Prometheus, prometheus

from antiphon.runtime.metrics.metrics import Metrics
from antiphon.runtime.metrics.service import MetricsService
from antiphon.runtime.metrics.settings import MetricsSettings
from antiphon.runtime.metrics.table import METRICS, Definition, Service
from antiphon.schemas.addresses import Address

pytestmark = pytest.mark.process

JOBS: Final[dict[Service, str]] = {
    "relay": "relay",
    "transceiver": "transceiver",
    "signaling": "signaling",
    "inference-bridge": "inference-bridge",
    "worker": "others",
    "agent": "others",
}


def _labels(definition: Definition) -> Iterator[dict[str, str]]:
    values = [each if isinstance(each, tuple) else ("some",) for each in definition.labels.values()]
    for combination in product(*values):
        yield dict(zip(definition.labels, combination, strict=True))


def _fill(metrics: Metrics) -> None:
    """A value for every metric that the process has."""
    for definition in METRICS.values():
        if metrics.service not in definition.services:
            continue
        for labels in _labels(definition):
            if definition.kind == "histogram":
                metrics.observe(definition.name, 0.05, **labels)
            elif definition.kind == "counter":
                metrics.add(definition.name, **labels)
        if definition.kind == "gauge":
            figures = {tuple(labels.values()): 1.0 for labels in _labels(definition)}
            with contextlib.suppress(ValueError):  # the process has a figure of its own
                metrics.gauge(definition.name, partial(dict, figures))


@contextmanager
def six_processes() -> Iterator[dict[str, list[str]]]:
    """Their addresses by job; they count on until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    services = [
        MetricsService(each, MetricsSettings(Address("127.0.0.1", 0), False), region="here", name="some")
        for each in JOBS
    ]

    async def start() -> dict[str, list[str]]:
        addresses: dict[str, list[str]] = {}
        for service in services:
            await service.start()
            _fill(service.metrics)
            addresses.setdefault(JOBS[service.metrics.service], []).append(service.address)
        return addresses

    async def close() -> None:
        for service in services:
            await service.close()

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def test_every_query_of_every_dashboard_gives_a_value(tmp_path: Path) -> None:
    with six_processes() as addresses, prometheus(tmp_path, addresses) as server:
        wait_until(lambda: server.ready_targets() == set(JOBS.values()))
        # A rate needs two scrapes; the last of the targets' has come when each has two.
        wait_until(lambda: _least(server, "min(count_over_time(up[1m]))") >= 2)
        empty = {query.where: query.asked() for query in dashboard_queries() if not server.query(query.asked())}
        assert empty == {}
        selectors = {
            (query.where, metric): metric
            for query in alert_queries()
            for metric in query.metrics
            if "ALERTS" not in metric
        }
        assert [where for where, metric in selectors.items() if not server.query(metric)] == []
        for query in alert_queries():
            server.query(query.asked())


def _least(server: Prometheus, expression: str) -> float:
    found = server.query(expression)
    return float(found[0]["value"][1]) if found else 0.0


def test_rules_and_configuration_are_valid_and_each_alert_fires_when_it_should() -> None:
    for command in (
        ["promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        ["promtool", "test", "rules", str(Path(__file__).parent / "alerts_test.yml")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
