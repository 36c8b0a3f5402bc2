"""A far region is called over two hops, by real servers of a hub in namespaces, and its relay is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes.ended import ended

pytestmark = pytest.mark.realtime

TESTS = Path(__file__).parents[1]


def test_a_call_over_two_hops_goes_on_when_the_far_clusters_relay_is_killed() -> None:
    command = [sys.executable, "-m", "world.run", "--short", "--only", "cluster-relay", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with (
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        ended(process, 20),
    ):
        out, errors = process.communicate(timeout=150)
    assert process.returncode == 0, out + errors
    (row,) = json.loads(out)["rows"]
    assert (row["calls"], row["survived"]) == ("1", "1")
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"world{process.pid}-" not in left
