"""A worker forwards again as soon as it is up, so its imports are few: no event loop, no NATS, no settings."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

ABSENT = {
    *("asyncio", "dataclasses", "logging", "ssl"),
    *("aiortc", "nats", "numpy", "prometheus_client", "pydantic", "pydantic_settings"),
    *("antiphon.relay.control.nats_client", "antiphon.relay.control.process", "antiphon.relay.settings"),
    *("antiphon.rtc", "antiphon.runtime"),
}


@pytest.mark.parametrize("module", ["worker", "ice_tcp_worker"])
def test_a_worker_imports_nothing_that_only_the_control_process_needs(module: str) -> None:
    script = f"import sys, antiphon.relay.dataplane.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert not ABSENT & set(done.stdout.split())
