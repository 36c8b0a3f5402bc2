"""A test with processes that fails while it had no processor runs once more, and a file says so.

Calls are held in real time. A virtual machine whose host takes the cores away for a second tears a sentence in a
browser's microphone, and no program inside can prevent that. In the tier `realtime` only the kernel's count of stolen
time excuses a failure: our own processes cannot raise it. Tests of the tier `process` run side by side, and so take
the processors from each other: there a machine without an idle moment excuses a failure too. Lateness excuses nothing.

`tests/conftest.py` registers one `Steadiness` in each process of a run. CONTRIBUTING.md states the rules.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

STOLEN: Final = 0.15
"""Share of the machine's time that others on the host must have taken during the test."""
IDLE: Final = 0.10
"""Share of the machine's time with nothing to do below which tests that run side by side had no processor for long."""
RERUNS: Final = 3
"""How many tests of one run are run again. The failure after them is final."""
KEPT: Final = 100
"""Entries in `reruns.json`; the oldest go first."""
PATIENCE: Final = 40.0
"""Seconds to wait, at most, for an interval without theft before the second try."""
INTERVAL: Final = 1.0

AGAIN: Final = "run again: "
"""How `wasxfail` of an excused try begins. pytest counts that try as neither passed nor failed; JUnit shows why."""
_time: Final = pytest.StashKey["MachineTime"]()
_excused: Final = pytest.StashKey[str]()


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of the machine's time, each from 0 to 1."""

    stolen: float
    """Others on the host took it."""
    idle: float
    """No process wanted a processor."""


class MachineTime:
    """How the time of all cores was spent since this object was made."""

    def __init__(self, stat: Path) -> None:
        self._stat = stat
        self._begin = self._ticks()

    def _ticks(self) -> tuple[int, int, int]:
        """The kernel's ticks of all cores: stolen ones, idle ones, and all. proc_stat(5)."""
        counts = [int(count) for count in self._stat.read_text().splitlines()[0].split()[1:9]]
        return counts[7], counts[3] + counts[4], sum(counts)

    def shares(self) -> Shares:
        stolen, idle, ticks = (now - then for now, then in zip(self._ticks(), self._begin, strict=True))
        return Shares(stolen / ticks, idle / ticks) if ticks > 0 else Shares(0.0, 1.0)


class Reruns:
    """The file of the tests that were run again, shared by all processes of a run. A lock makes each change whole."""

    def __init__(self, folder: Path, run: str) -> None:
        self._file, self._run = folder / "reruns.json", run

    def add(self, test: str, shares: Shares, failure: str) -> bool:
        """Whether this run may run one more test again; if so, it is in the file."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = self._entries()
            if sum(entry["run"] == self._run for entry in entries) >= RERUNS:
                return False
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            measured = {"stolen": round(shares.stolen, 3), "idle": round(shares.idle, 3)}
            entry = {"test": test, **measured, "failure": failure, "time": now, "run": self._run}
            fresh = self._file.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps([*entries, entry][-KEPT:], indent=1) + "\n")
            fresh.replace(self._file)
        return True

    def _entries(self) -> list[dict[str, str]]:
        try:
            return [entry for entry in json.loads(self._file.read_text()) if "run" in entry]
        except (OSError, ValueError, TypeError):
            return []  # no file yet, or one that somebody has edited


class Steadiness:
    """The plugin. pytest owns it for the run, and calls it in the main thread."""

    def __init__(self, reports: Path, run: str, stat: Path = Path("/proc/stat"), patience: float = PATIENCE) -> None:
        self._reruns = Reruns(reports, run)
        self._stat = stat if stat.exists() else None
        self._patience = patience

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """One try, and a second one if `pytest_runtest_makereport` excused the first. Each has its own time limit."""
        if self._stat is None or not _may_run_again(item) or _excused in item.stash:
            return (yield)
        item.stash[_time] = MachineTime(self._stat)
        done = yield
        del item.stash[_time]  # so nothing excuses the second try
        if _excused in item.stash:
            self._wait(self._stat)
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        return done

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        time_of_test = item.stash.get(_time, None)
        if time_of_test is not None and report.failed:
            self._excuse(item, report, time_of_test.shares())
        return report

    def _excuse(self, item: pytest.Item, report: pytest.TestReport, shares: Shares) -> None:
        if _excused not in item.stash:
            cause, failure = _cause(item, shares), _first_line(report)
            if not cause or not self._reruns.add(item.nodeid, shares, failure):
                return
            why = f"{cause}; it had failed with: {failure}"
            item.stash[_excused] = why
            item.user_properties.append(("rerun", why))
        report.outcome = "skipped"
        report.wasxfail = AGAIN + item.stash[_excused]

    def _wait(self, stat: Path) -> None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            interval = MachineTime(stat)
            time.sleep(min(INTERVAL, self._patience))
            if interval.shares().stolen <= STOLEN:
                return

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return ("run again", "R", "RUN AGAIN") if _is_first_try(report) else None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for report in terminalreporter.stats.get("run again", []):
            terminalreporter.write_line(f"RUN AGAIN {report.nodeid}: {report.wasxfail.removeprefix(AGAIN)}")


def _may_run_again(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(tier) is not None for tier in ("process", "realtime"))


def _cause(item: pytest.Item, shares: Shares) -> str:
    """Why a failure is excused; empty if it is not."""
    if shares.stolen > STOLEN:
        return f"{100 * shares.stolen:.0f} % of the machine's time was stolen"
    if shares.idle < IDLE and item.get_closest_marker("process") is not None:
        return f"the machine was idle for {100 * shares.idle:.0f} % of its time"
    return ""


def _is_first_try(report: pytest.TestReport) -> bool:
    return str(getattr(report, "wasxfail", "")).startswith(AGAIN)


def _first_line(report: pytest.TestReport) -> str:
    lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")] or [""]
    return lines[0][1:].strip()[:300]
