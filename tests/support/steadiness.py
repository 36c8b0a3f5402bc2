"""A realtime test that fails while others on the host took this machine's cores runs once more, and a file says so.

Calls are held in real time. A virtual machine whose host takes the cores away for a second tears a sentence in a
browser's microphone, and no program inside can prevent that. Only the kernel's count of stolen time excuses a failure:
our own processes cannot raise it. Lateness excuses nothing, because work of our own causes it too.

`tests/conftest.py` registers one `Steadiness` in each process of a run. CONTRIBUTING.md states the rules.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

STOLEN: Final = 0.15
"""Share of the machine's time that others on the host must have taken during the test."""
RERUNS: Final = 3
"""How many tests of one run are run again. The failure after them is final."""
KEPT: Final = 100
"""Entries in `reruns.json`; the oldest go first."""
PATIENCE: Final = 40.0
"""Seconds to wait, at most, for an interval without theft before the second try."""
INTERVAL: Final = 1.0

AGAIN: Final = "run again: "
"""How `wasxfail` of an excused try begins. pytest counts that try as neither passed nor failed; JUnit shows why."""
_stolen: Final = pytest.StashKey["Stolen"]()
_excused: Final = pytest.StashKey[str]()


class Stolen:
    """Share of the machine's time that others on the host took since this object was made."""

    def __init__(self, stat: Path) -> None:
        self._stat = stat
        self._begin = self._ticks()

    def _ticks(self) -> tuple[int, int]:
        """The kernel's ticks of all cores: stolen ones, and all. proc_stat(5)."""
        counts = [int(count) for count in self._stat.read_text().splitlines()[0].split()[1:9]]
        return counts[7], sum(counts)

    def share(self) -> float:
        stolen, ticks = (now - then for now, then in zip(self._ticks(), self._begin, strict=True))
        return stolen / ticks if ticks > 0 else 0.0


class Reruns:
    """The file of the tests that were run again, shared by all processes of a run. A lock makes each change whole."""

    def __init__(self, folder: Path, run: str) -> None:
        self._file, self._run = folder / "reruns.json", run

    def add(self, test: str, stolen: float, failure: str) -> bool:
        """Whether this run may run one more test again; if so, it is in the file."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = self._entries()
            if sum(entry["run"] == self._run for entry in entries) >= RERUNS:
                return False
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            entry = {"test": test, "stolen": round(stolen, 3), "failure": failure, "time": now, "run": self._run}
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
        if self._stat is None or item.get_closest_marker("realtime") is None or _excused in item.stash:
            return (yield)
        item.stash[_stolen] = Stolen(self._stat)
        done = yield
        del item.stash[_stolen]  # so nothing excuses the second try
        if _excused in item.stash:
            self._wait(self._stat)
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        return done

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        stolen = item.stash.get(_stolen, None)
        if stolen is not None and report.failed:
            self._excuse(item, report, stolen.share())
        return report

    def _excuse(self, item: pytest.Item, report: pytest.TestReport, share: float) -> None:
        if _excused not in item.stash:
            failure = _first_line(report)
            if share <= STOLEN or not self._reruns.add(item.nodeid, share, failure):
                return
            why = f"{100 * share:.0f} % of the machine's time was stolen; it had failed with: {failure}"
            item.stash[_excused] = why
            item.user_properties.append(("rerun", why))
        report.outcome = "skipped"
        report.wasxfail = AGAIN + item.stash[_excused]

    def _wait(self, stat: Path) -> None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            stolen = Stolen(stat)
            time.sleep(min(INTERVAL, self._patience))
            if stolen.share() <= STOLEN:
                return

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return ("run again", "R", "RUN AGAIN") if _is_first_try(report) else None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for report in terminalreporter.stats.get("run again", []):
            terminalreporter.write_line(f"RUN AGAIN {report.nodeid}: {report.wasxfail.removeprefix(AGAIN)}")


def _is_first_try(report: pytest.TestReport) -> bool:
    return str(getattr(report, "wasxfail", "")).startswith(AGAIN)


def _first_line(report: pytest.TestReport) -> str:
    lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")] or [""]
    return lines[0][1:].strip()[:300]
