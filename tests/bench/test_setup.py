"""`antiphon bench setup`: real calls over a path of its own that delays and loses packets."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.realtime


@pytest.mark.nightly
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_calls_over_a_path_that_loses_are_set_up_and_timed() -> None:
    command = [sys.executable, "-m", "antiphon.cli", "bench", "setup", "--calls", "3", "--loss", "0", "15", "--json"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, timeout=200)
    rows = json.loads(ran.stdout)["setup"]["rows"]
    assert [row["loss_percent"] for row in rows] == [0, 15]
    for row in rows:
        assert row["ours"]["ended_well"] == 3
        assert row["ours"]["steps_ms"]["ice"]["p50"] >= 100
    assert ran.returncode == 0
