"""What is run again, and what is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.steadiness import Machine, Watch

CONFTEST = """
from support import steadiness
from support.steadiness import pytest_report_teststatus, pytest_runtest_protocol, pytest_terminal_summary

class Unsteady(steadiness.Machine):
    def __init__(self):
        super().__init__()
        self.tests = 0
    @property
    def seconds(self):
        return float(self.tests)
    @seconds.setter
    def seconds(self, value): pass
    def settle(self): pass

steadiness._machine = machine = Unsteady()
"""
TESTS = """
from conftest import machine
tries = {"standing": 0, "hopeless": 0}

def test_that_fails_once_while_the_machine_stands_still():
    tries["standing"] += 1
    machine.tests += 1
    assert tries["standing"] > 1

def test_that_fails_every_time_it_does():
    machine.tests += 1
    assert False

def test_that_fails_on_a_machine_that_goes_on():
    assert False
"""


def test_only_a_failure_on_a_machine_that_stood_still_is_run_again_and_not_for_ever(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    own = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-rf", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([own, str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed, 1 passed, 3 run again" in done.stdout
    assert done.stdout.count("RUN AGAIN") == 3
    assert "the machine stood still for 1.0 s; it had failed with: " in done.stdout
    assert "FAILED test_it.py::test_that_fails_on_a_machine_that_goes_on" in done.stdout


def test_stolen_time_counts_as_trouble_from_its_share_on(tmp_path: Path) -> None:
    (stat := tmp_path / "stat").write_text("cpu  100 0 100 800 0 0 0 0 0 0\n")
    machine = Machine(stat)
    watch = Watch(machine)
    stat.write_text("cpu  200 0 200 1590 0 0 0 10 0 0\n")
    assert "stolen" not in watch.trouble()
    stat.write_text("cpu  200 0 200 1400 0 0 0 200 0 0\n")
    machine.seconds = 0.0
    assert watch.trouble() == "20 % of the machine's time was stolen"
