"""Two regions in namespaces are called from a third place, over links with delays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes.ended import ended

from world.geography import CALLERS, FAR, NEAREST, one_way

pytestmark = pytest.mark.realtime

TESTS = Path(__file__).parents[1]


def test_regions_on_one_machine_answer_callers_from_another_place() -> None:
    command = [sys.executable, "-m", "world.run", "--short", "--only", "calls", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with (
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        ended(process, 20),
    ):
        out, errors = process.communicate(timeout=150)
    assert process.returncode == 0, out + errors
    rows = {row["what"]: row for row in json.loads(out)["rows"]}
    assert {f"call {NEAREST}", f"call {FAR}"} == rows.keys()
    assert all(row["survived"] == row["calls"] for row in rows.values())
    # Offer, checks, handshake and voice cross the links at least five times there and back.
    assert rows[f"call {FAR}"]["new_call"] > 10 * one_way(CALLERS, FAR)
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"world{process.pid}-" not in left
