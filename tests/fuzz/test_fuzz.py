"""Each reader of bytes from the network is fuzzed for some seconds; `make fuzz` does it for longer."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.targets import TARGETS, seeds

SECONDS = os.environ.get("ANTIPHON_FUZZ_SECONDS", "4")


class Fuzzers:
    """One for each target, all at once, which takes the time of one; at the lowest priority, beside other tests."""

    def __init__(self, scratch: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._log = scratch
        with (scratch / "all.log").open("w") as log:
            self._running = subprocess.Popen(
                ["nice", sys.executable, "-m", "fuzz.all_at_once", SECONDS],
                cwd=scratch,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._said = ""

    def result(self, target: str) -> tuple[int, str]:
        """Its exit status, and what it said."""
        if not self._said:
            self._said, _ = self._running.communicate(timeout=int(SECONDS) + 200)
        assert self._running.returncode == 0, (self._log / "all.log").read_text()[-2000:]
        return json.loads(self._said)[target], (self._log / f"{target}.log").read_text()

    def close(self) -> None:
        if self._running.poll() is None:
            os.killpg(self._running.pid, signal.SIGKILL)
        self._running.wait()


@pytest.fixture(scope="module")
def fuzzers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzers]:
    running = Fuzzers(tmp_path_factory.mktemp("fuzz"))
    yield running
    running.close()


@pytest.mark.pure
@pytest.mark.parametrize("target", TARGETS)
def test_what_the_fuzzer_begins_with_passes(target: str) -> None:
    for seed in (b"", *seeds(target)):
        TARGETS[target](seed)


@pytest.mark.process(timeout=240, reason="the first one waits for a dozen, which run at once with the lowest priority")
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this platform")
@pytest.mark.parametrize("target", TARGETS)
def test_fuzzing_finds_no_error_but_the_readers_own(fuzzers: Fuzzers, target: str) -> None:
    status, log = fuzzers.result(target)
    assert status == 0, log[-6000:]
    assert "Done" in log, log[-2000:]
