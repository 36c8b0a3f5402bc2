"""Five random faults of one seed on a running stack: what `make chaos` does a hundred times."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SEED = "107"


@pytest.mark.realtime
def test_after_each_of_five_faults_calls_go_on_and_new_ones_come_about() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chaos.random_faults", "--seed", SEED, "--faults", "5", "--longest", "2"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 of 5 faults" in done.stdout
