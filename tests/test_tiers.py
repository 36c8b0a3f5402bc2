"""Each test has one tier, and a time limit from it; coroutine tests of the tier `virtual` run in virtual time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.net.emulator import virtual_loop

REGISTER = """
import pytest
from support import tiers

def pytest_configure(config):
    config.pluginmanager.register(tiers)
"""
INI = "[pytest]\nasyncio_mode = auto\nmarkers =\n  pure\n  virtual\n  process\n  realtime\n  models\n"


def run(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(REGISTER)
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_it.py").write_text("import pytest, time\n" + tests)
    own = str(Path(__file__).parent)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([own, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.process
@pytest.mark.parametrize(
    "options", [pytest.param((), id="one process"), pytest.param(("-n", "1"), id="a worker", marks=pytest.mark.nightly)]
)
def test_a_test_without_one_tier_or_above_its_limit_stops_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    tests = """
def test_without(): pass
@pytest.mark.models
def test_models(): pass
@pytest.mark.pure
@pytest.mark.process
def test_two(): pass
@pytest.mark.pure(timeout=6)
def test_other(): pass
@pytest.mark.process
@pytest.mark.models
@pytest.mark.timeout(241)
def test_long(): pass
@pytest.mark.pure
def test_right(): pass
"""
    done = run(tmp_path, tests, *options)
    assert done.returncode != 0
    for complaint in (
        "test_it.py::test_without needs one marker of pure, virtual, process, realtime, and has none",
        "test_it.py::test_models needs one marker of pure, virtual, process, realtime, and has none",
        "test_it.py::test_two needs one marker of pure, virtual, process, realtime, and has process and pure",
        "test_it.py::test_other: pure(timeout=6) changes the limit of its tier and needs a reason=...",
        "test_it.py::test_long: timeout(241) is above 240 s, the limit of its tier; "
        "lower it, or write process(timeout=241, reason=...)",
    ):
        assert complaint in done.stdout
    assert "test_right" not in done.stdout
    assert "passed" not in done.stdout


@pytest.mark.process
def test_the_limit_of_a_test_is_that_of_its_tier_or_its_own(tmp_path: Path) -> None:
    tests = """
def limit(request):
    return request.node.get_closest_marker("timeout").args[0]
@pytest.mark.pure
def test_pure(request): assert limit(request) == 15
@pytest.mark.virtual
def test_virtual(request): assert limit(request) == 30
@pytest.mark.process
def test_process(request): assert limit(request) == 60
@pytest.mark.realtime
def test_realtime(request): assert limit(request) == 240
@pytest.mark.process
@pytest.mark.models
def test_models(request): assert limit(request) == 240
@pytest.mark.process(timeout=90, reason="three restarts")
def test_longer(request): assert limit(request) == 90
@pytest.mark.process
@pytest.mark.timeout(0.1)
def test_ended(): time.sleep(20)
"""
    done = run(tmp_path, tests)
    assert "1 failed, 6 passed" in done.stdout, done.stdout
    assert "Timeout (>0.1s)" in done.stdout


@pytest.mark.virtual
async def test_a_coroutine_of_the_tier_virtual_sleeps_an_hour_at_once() -> None:
    before = virtual_loop().time()
    await asyncio.sleep(3600)
    assert virtual_loop().time() - before == pytest.approx(3600)
