"""Event loops that stand still in real processes: which of them are ended, and what their log says last."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.conditions import wait_until

pytestmark = pytest.mark.process

LIMIT = 1.0
SCRIPT = """
import asyncio, os, re, select, sys, time
from antiphon.runtime.loop_watchdog import LoopWatchdog

def culprit():
    {deed}

async def main():
    watchdog = LoopWatchdog("test", {limit})
    watchdog.start()
    await asyncio.sleep(0.5)
    print("now", flush=True)
    culprit()
    await asyncio.sleep({rest})
    print("well", flush=True)
    watchdog.stop()

asyncio.run(main())
"""


@contextmanager
def process(deed: str, rest: float = 0.5, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A loop that does this once; it has begun."""
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(deed=deed, limit=LIMIT, rest=rest)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert running.stdout is not None
    assert running.stderr is not None
    try:
        assert running.stdout.readline() == "now\n"
        yield running
    finally:
        running.kill()
        running.wait()
        running.stdout.close()
        running.stderr.close()


DEEDS = {
    "a loop in Python": "while True: pass",
    "C code that keeps the interpreter's lock": "re.match('(a+)+$', 'a' * 64 + 'b')",
    "a read of what never comes": "os.read(os.pipe()[0], 1)",
}


@pytest.mark.parametrize("what", DEEDS)
def test_a_loop_that_stands_still_is_the_end_of_its_process_and_the_log_says_where_it_stood(what: str) -> None:
    with process(DEEDS[what]) as running:
        _, log = running.communicate(timeout=60)
        assert running.returncode == -signal.SIGKILL
        assert " in culprit" in log
        last = log.splitlines()[-1]
        assert "CRITICAL test the event loop has stood still for 1." in last


def test_where_logs_are_json_the_last_line_is_one_object_with_the_stack_in_it() -> None:
    with process("time.sleep(60)", ANTIPHON_LOG_FORMAT="json") as running:
        _, log = running.communicate(timeout=60)
    said = json.loads(log.splitlines()[-1])
    assert said["level"] == "CRITICAL"
    assert said["service"] == "test"
    assert " in culprit" in said["exception"]


def test_a_process_that_was_stopped_goes_on() -> None:
    with process("pass") as running:
        running.send_signal(signal.SIGSTOP)
        time.sleep(LIMIT + 1)  # the length of the pause is the case
        running.send_signal(signal.SIGCONT)
        said, log = running.communicate(timeout=60)
        assert (said, running.returncode) == ("well\n", 0), log


def test_work_below_the_limit_and_a_watch_that_is_switched_off_end_nothing() -> None:
    with process("time.sleep(0.6)") as short, process("time.sleep(2.2)", ANTIPHON_LOOP_WATCHDOG_SECONDS="0") as off:
        for each in (short, off):
            said, log = each.communicate(timeout=60)
            assert (said, each.returncode) == ("well\n", 0), log


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [int(child) for child in children.read().split()]


def test_the_watching_process_ends_with_the_watched_one_and_is_replaced_when_it_dies() -> None:
    script = f"import antiphon.runtime.loop_watchdog as module; module.AGAIN_SECONDS = 0.0{SCRIPT}"
    running = subprocess.Popen(
        [sys.executable, "-c", script.format(deed="pass", limit=LIMIT, rest=30)], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _children(running.pid), 10)
        first = _children(running.pid)[0]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: _children(running.pid) not in ([], [first]), 10)
        second = _children(running.pid)[0]
    finally:
        running.kill()
        running.wait()
    wait_until(lambda: not os.path.exists(f"/proc/{second}"), 10)
