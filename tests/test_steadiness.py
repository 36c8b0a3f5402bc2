"""Which tests run again after a failure, how often, and where that is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from support.steadiness import KEPT, RERUNS, MachineTime, Reruns, Shares

pytestmark = pytest.mark.process

CONFTEST = """
import os
from pathlib import Path
from support.steadiness import Steadiness

STAT = Path(__file__).parent / ("stat" + os.environ.get("PYTEST_XDIST_WORKER", ""))
ticks = [0, 0, 0]  # stolen ones, those of work, and idle ones

def pass_time(stolen, work, idle=100):
    ticks[:] = [ticks[0] + stolen, ticks[1] + work, ticks[2] + idle]
    STAT.write_text(f"cpu  {ticks[1]} 0 0 {ticks[2]} 0 0 0 {ticks[0]} 0 0\\n")

pass_time(0, 100)

def pytest_configure(config):
    run = getattr(config, "workerinput", {}).get("testrunuid", "alone")
    config.pluginmanager.register(Steadiness(config.rootpath / ".reports", run, STAT, patience=0.1))
"""
HEAD = """
import pytest, time
from conftest import pass_time
tries = {}

def fails(name, times=1):
    tries[name] = tries.get(name, 0) + 1
    assert tries[name] > times, f"{name} fails"
"""


def run(folder: Path, tests: str, *options: str, passes: bool = False) -> str:
    """What pytest says of `tests` beside CONFTEST."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = realtime\n process\n")
    (folder / "test_it.py").write_text(HEAD + tests)
    own = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rf", *options, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([own, str(folder), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (0 if passes else 1), done.stdout + done.stderr
    return done.stdout


def written(folder: Path) -> list[dict[str, Any]]:
    path = folder / ".reports" / "reruns.json"
    return list(json.loads(path.read_text())) if path.exists() else []


def test_a_realtime_test_that_failed_while_time_was_stolen_runs_again_and_reports_say_so(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
@pytest.mark.realtime
def test_torn():
    pass_time(40, 60)
    fails("torn")
""",
        f"--junit-xml={tmp_path / 'junit.xml'}",
        passes=True,
    )
    assert "1 passed, 1 run again" in said
    why = "20 % of the machine's time was stolen; it had failed with: AssertionError: torn fails"
    assert f"RUN AGAIN test_it.py::test_torn: {why}" in said
    (entry,) = written(tmp_path)
    assert entry["test"] == "test_it.py::test_torn"
    assert entry["stolen"] == 0.2
    assert entry["failure"].startswith("AssertionError: torn fails")
    assert entry["time"]
    first, second = ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")
    assert [child.tag for child in first if child.tag != "properties"] == ["skipped"]
    assert [child.tag for child in second] == ["properties"], "the second try has passed"
    (noted,) = second.iter("property")
    assert noted.get("name") == "rerun"
    assert str(noted.get("value")).startswith(why)


def test_no_failure_is_excused_without_theft_or_in_another_tier(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
@pytest.mark.realtime
def test_late_but_not_stolen_from():
    pass_time(30, 170, idle=0)
    time.sleep(0.5)
    fails("late")

@pytest.mark.process
def test_with_a_processor():
    pass_time(0, 160, idle=40)
    fails("wrong")

def test_of_another_tier():
    pass_time(90, 10, idle=0)
    fails("other")
""",
    )
    assert "3 failed" in said
    assert "again" not in said
    assert written(tmp_path) == []


def test_no_test_runs_a_third_time_and_a_broken_fixture_of_its_own_is_made_anew(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
@pytest.mark.realtime
def test_hopeless():
    pass_time(90, 10)
    fails("hopeless", times=2)

@pytest.fixture
def call():
    pass_time(90, 10)
    fails("fixture")
    yield
    fails("tear-down", times=0)

@pytest.mark.realtime
def test_of_a_fixture(call):
    pass
""",
    )
    assert "1 failed, 1 passed, 2 run again" in said
    assert len(written(tmp_path)) == 2


def test_a_test_that_runs_beside_others_is_excused_too_if_the_machine_had_no_idle_moment(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
@pytest.mark.process
def test_crowded_out():
    pass_time(2, 189, idle=9)
    fails("crowded")
""",
        passes=True,
    )
    assert "1 passed, 1 run again" in said
    assert "RUN AGAIN test_it.py::test_crowded_out: the machine was idle for 4 % of its time; it had failed" in said
    (entry,) = written(tmp_path)
    assert entry["idle"] == 0.045


@pytest.mark.parametrize(
    "options",
    [pytest.param([], id="one process"), pytest.param(["-n", "2"], id="two workers", marks=pytest.mark.nightly)],
)
def test_the_fourth_failure_of_a_run_is_final(tmp_path: Path, options: list[str]) -> None:
    said = run(
        tmp_path,
        """
@pytest.mark.realtime
@pytest.mark.parametrize("number", range(5))
def test_torn(number):
    pass_time(90, 10)
    fails(number)
""",
        *options,
    )
    assert RERUNS == 3
    assert "2 failed, 3 passed, 3 run again" in said
    assert said.count("RUN AGAIN") == 3
    assert len({entry["test"] for entry in written(tmp_path)}) == 3
    assert len({entry["run"] for entry in written(tmp_path)}) == 1


def test_the_file_of_reruns_is_bounded_and_another_run_has_its_own_three(tmp_path: Path) -> None:
    for number in range(KEPT):
        assert Reruns(tmp_path, f"run {number // RERUNS}").add(f"test {number}", Shares(0.5, 0), "")
    assert not Reruns(tmp_path, "run 0").add("test", Shares(0.5, 0), "")
    assert Reruns(tmp_path, "new").add("newest", Shares(0.5, 0), "")
    entries = json.loads((tmp_path / "reruns.json").read_text())
    assert [entries[0]["test"], entries[-1]["test"], len(entries)] == ["test 1", "newest", KEPT]
    (tmp_path / "reruns.json").write_text("{")
    assert Reruns(tmp_path, "new").add("after damage", Shares(0.5, 0), "")


def test_shares_are_of_the_time_of_all_cores_since_the_beginning(tmp_path: Path) -> None:
    (stat := tmp_path / "stat").write_text("cpu  100 0 100 800 0 0 0 50 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\n")
    spent = MachineTime(stat)
    assert spent.shares() == Shares(stolen=0, idle=1)
    stat.write_text("cpu  200 0 200 1300 100 0 0 250 0 0\n")
    assert spent.shares() == Shares(stolen=0.2, idle=0.6)
