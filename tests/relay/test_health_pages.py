"""What the relay tells a load balancer about itself."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.relay.control.metrics_http import health_pages

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("all_up", "has_way", "state", "failing"),
    [
        (True, True, "ready", {"/healthz": [], "/readyz": []}),
        (False, True, "ready", {"/healthz": ["workers"], "/readyz": ["workers"]}),
        (True, False, "ready", {"/healthz": [], "/readyz": ["transceivers"]}),
        (True, True, "draining", {"/healthz": [], "/readyz": ["state"]}),
    ],
)
async def test_readiness_is_health_and_a_way_on(
    all_up: bool, has_way: bool, state: str, failing: dict[str, list[str]]
) -> None:
    workers: Any = SimpleNamespace(all_up=all_up)
    routes: Any = SimpleNamespace(has_way=has_way, state=state)
    for path, page in health_pages(workers, routes).items():
        answer = await page("")
        wrong = failing.get(path, [])
        assert list(json.loads(answer.body)["failing"]) == wrong
        assert answer.status.startswith("503" if wrong else "200")
