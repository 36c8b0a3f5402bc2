"""What a supervisor is told over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from antiphon.runtime.metrics.health import DRAINING, health_pages

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("failing", [{}, DRAINING, {"nats": "not connected"}])
async def test_readiness_says_what_fails_and_liveness_only_that_the_loop_runs(failing: Mapping[str, str]) -> None:
    pages = health_pages(lambda: failing)
    assert (await pages["/livez"]("")).status == "200 OK"
    ready = await pages["/readyz"]("")
    assert ready.status == ("503 Service Unavailable" if failing else "200 OK")
    assert json.loads(ready.body) == {"failing": dict(failing)}
