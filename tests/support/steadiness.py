"""A test that fails while the machine stood still is run again, and the summary says so.

Calls are held in real time: a virtual machine whose host takes both cores away for a second tears a sentence in a
browser's microphone, and no program inside can help it. Whether that happened is measured, not guessed: by a thread
that wants to wake every 20 ms and has computed nothing meanwhile, and by the kernel's count of stolen time. On a
machine that goes on, the first failure counts; and so does the last of `TRIES` everywhere. Theft comes in bursts of
minutes, so before the next try the machine is given some time to become steady.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

import pytest
from _pytest.runner import runtestprotocol

TRIES: Final = 3
TICK: Final = 0.02
STANDSTILL: Final = 0.15
"""Seconds by which the thread wakes late: more than any scheduling among our own processes."""
STOLEN: Final = 0.15
"""Share of the machine's time that others on the host have used."""

PATIENCE: Final = 40.0
"""Seconds to wait for a steady machine before the next try."""
_BURN: Final = "import time; end = time.monotonic() + 1\nwhile time.monotonic() < end: pass"


class Machine:
    """How long the machine stood still."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self.seconds = 0.0
        """Without any time for this process, since the start."""
        self._stat = stat
        self._thread = threading.Thread(target=self._watch, name="steadiness", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        woke, computed = time.monotonic(), time.process_time()
        while True:
            time.sleep(TICK)
            now, computing = time.monotonic(), time.process_time()
            late = now - woke - TICK - (computing - computed)
            if late > STANDSTILL:
                self.seconds += late
            woke, computed = now, computing

    def ticks(self) -> tuple[int, int]:
        """The kernel's ticks of all cores: stolen ones, and all."""
        counts = [int(count) for count in self._stat.read_text().splitlines()[0].split()[1:9]]
        return counts[7], sum(counts)

    def settle(self) -> None:
        """Until a second of work on all cores goes undisturbed, `PATIENCE` at most. Only who works is stolen from."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            watch = Watch(self)
            burning = [subprocess.Popen([sys.executable, "-S", "-c", _BURN]) for _ in range(os.cpu_count() or 1)]
            for each in burning:
                each.wait()
            if not watch.trouble():
                return
            time.sleep(2)


class Watch:
    """From its making on."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._seconds, self._ticks = machine, machine.seconds, machine.ticks()

    def trouble(self) -> str:
        """What the machine did to us; empty: nothing that excuses a failure."""
        stood = self._machine.seconds - self._seconds
        stolen, ticks = (now - then for now, then in zip(self._machine.ticks(), self._ticks, strict=True))
        if stood > 0:
            return f"the machine stood still for {stood:.1f} s"
        if ticks and stolen / ticks > STOLEN:
            return f"{100 * stolen / ticks:.0f} % of the machine's time was stolen"
        return ""


_machine: Machine | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """One test, up to `TRIES` times."""
    global _machine
    machine = _machine = _machine or Machine()
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(1, TRIES + 1):
        watch = Watch(machine)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        trouble = watch.trouble() if any(report.failed for report in reports) else ""
        if trouble and attempt < TRIES:
            for report in reports:
                if report.failed:
                    report.outcome = "rerun"  # type: ignore[assignment]
                    report.sections.append(("Run again", trouble))
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        if not trouble:
            break
        if attempt < TRIES:
            machine.settle()
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    return ("run again", "R", "RUN AGAIN") if str(report.outcome) == "rerun" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("run again", []):
        why = dict(report.sections).get("Run again", "")
        terminalreporter.write_line(f"RUN AGAIN {report.nodeid}: {why}; it had failed with: {_last_line(report)}")


def _last_line(report: pytest.TestReport) -> str:
    lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")] or [""]
    return lines[0][1:].strip()
