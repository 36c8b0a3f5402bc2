"""`antiphon bench recovery`: kills processes for real and says when the caller heard the next one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.timeout(240)
def test_a_killed_agent_and_a_killed_transceiver_are_replaced_and_timed() -> None:
    command = [sys.executable, "-m", "antiphon.cli.main", "bench", "recovery", "--rounds", "1", "--json"]
    ran = subprocess.run([*command, "--case", "agent", "--case", "transceiver"], stdout=subprocess.PIPE, timeout=200)
    result = json.loads(ran.stdout)
    for case in ("agent", "transceiver"):
        assert result[case]["failed"] == 0
        assert 0 < result[case]["owner_ms"]["median"] < 20_000
        assert result[case]["audio_ms"]["median"] > 0
    assert ran.returncode == 0
