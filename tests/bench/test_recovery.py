"""`antiphon bench recovery`: kills processes for real and says when the caller heard the next one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.realtime


@pytest.mark.nightly
def test_a_killed_agent_is_replaced_and_timed() -> None:
    command = [sys.executable, "-m", "antiphon.cli.main", "bench", "recovery", "--rounds", "1", "--json"]
    ran = subprocess.run([*command, "--case", "agent"], stdout=subprocess.PIPE, timeout=200)
    result = json.loads(ran.stdout)
    assert result["agent"]["failed"] == 0
    assert 0 < result["agent"]["owner_ms"]["median"] < 20_000
    assert result["agent"]["audio_ms"]["median"] > 0
    assert ran.returncode == 0
