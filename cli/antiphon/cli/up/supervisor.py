"""Runs processes, restarts those that die, and ends all of them.

A part is one process in a process group of its own; `up` decides which parts there are. A part may have a standby: a
second process that has imported everything and waits for a line on its standard input. `RestartPolicy` decides from the
times that it is given; `Part` and `Supervisor` execute.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from antiphon.cli.up import parent_death
from antiphon.cli.up.terminal import Terminal

STANDBY_AFTER: Final = 1.0
"""Seconds after a part's start: its standby takes no time from it while calls wait for it."""
SOUND_SECONDS: Final = 2.0
"""A part that has lived for so long works: its standby takes over without a wait."""
TERM_GRACE: Final = 2.0
"""Seconds that a part gets to end after SIGTERM; the NATS server ends after the others, all of them within 3 s."""
BAD_SETTINGS: Final = 2
"""Exit status of a service whose settings are wrong: another start would not help."""
MAX_LINE: Final = 8192
"""Characters of one log line that are shown."""


class RestartPolicy:
    """How long to wait before a part that died is started again: 0.25 s, doubling up to 8 s.

    A part that has lived for `STABLE` seconds starts over at the shortest wait. There is no last attempt: services that
    run unattended come back when the cause has gone. Owned by a `Part`, as long as that one.
    """

    FIRST: Final = 0.25
    LONGEST: Final = 8.0
    STABLE: Final = 20.0

    def __init__(self) -> None:
        self.failures = 0
        """Deaths in a row."""

    def wait_after(self, lived: float) -> float:
        """Seconds to wait now that the part has died after `lived` seconds."""
        self.failures = 1 if lived >= self.STABLE else self.failures + 1
        return float(min(self.FIRST * 2 ** (self.failures - 1), self.LONGEST))


class Part:
    """One process, started again when it dies. Made by `up` for the run; called by its main thread.

    A thread for each process reads its log.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        environment: Mapping[str, str],
        terminal: Terminal,
        show: Callable[[str], bool] = lambda line: True,
        standby: bool = False,
    ) -> None:
        """`standby`: the command takes `--standby`, and a second process is kept that takes over at once."""
        self.name = name
        self.pid = 0
        self.refused = False
        """It ended with `BAD_SETTINGS` and is not started again."""
        self._command = command
        self._environment = dict(environment)
        self._terminal = terminal
        self._show = show
        self._policy = RestartPolicy()
        self._keeps_standby = standby
        self._standby: subprocess.Popen[str] | None = None
        self._standby_due = float("inf")
        self._process: subprocess.Popen[str] | None = None
        self._started = 0.0
        self._due = 0.0
        self._has_run = False
        """It has run with these settings: a later refusal has another cause, such as a taken port, which may pass."""

    def start(self, now: float) -> None:
        """Start the process, which ends with this one."""
        self._run(self._spawn(), now)

    def _run(self, process: subprocess.Popen[str], now: float) -> None:
        self._process = process
        self.pid, self._started = process.pid, now
        if self._keeps_standby and self._standby is None:
            self._standby_due = now + STANDBY_AFTER
        self._terminal.log(self.name, f"started, pid {self.pid}")

    def _spawn(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        program = [sys.executable, "-I", "-S", str(Path(parent_death.__file__)), str(os.getpid())]
        process = subprocess.Popen(
            [*program, *self._command(), *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            text=True,
            errors="replace",
            start_new_session=True,  # so that Ctrl-C reaches the supervisor alone, which ends the parts in order
        )
        threading.Thread(target=self._read, args=(process,), name=f"log of {self.name}", daemon=True).start()
        return process

    def _tend_standby(self, now: float) -> None:
        """Start the standby once the part runs; forget one that has ended."""
        if self._standby is not None and _reap(self._standby) is not None:
            self._standby, self._standby_due = None, now + RestartPolicy.LONGEST
        if self._standby is None and now >= self._standby_due:
            self._standby_due = float("inf")
            self._standby = self._spawn("--standby", stdin=subprocess.PIPE)

    def _take_over(self, status: int, now: float) -> bool:
        """Let the standby be the part, if there is one; one that still imports begins when it is ready.

        `status`: of the process that has died.
        """
        standby, self._standby = self._standby, None
        if standby is None:
            return False
        assert standby.stdin is not None
        try:
            standby.stdin.write("begin\n")
            standby.stdin.close()
        except OSError:  # it has ended
            _signal(standby, signal.SIGKILL)
            standby.wait()
            _close(standby)
            return False
        self._terminal.warn(f"{self.name} has died ({_cause(status)}); its standby takes over.")
        self._has_run = True
        self._run(standby, now)
        return True

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines, contextlib.suppress(ValueError):
            while line := lines.readline(MAX_LINE):
                if self._show(line.rstrip("\n")):
                    self._terminal.log(self.name, line.rstrip("\n"))

    def tend(self, now: float) -> None:
        """Notice that the process has died, and start it again after the wait, or let its standby take over."""
        self._tend_standby(now)
        if self._process is None:
            if not self.refused and now >= self._due:
                self.start(now)
            return
        status = _reap(self._process)
        if status is None:
            return
        self._process = None
        lived = now - self._started
        if lived >= SOUND_SECONDS and self._take_over(status, now):
            return
        self._has_run = self._has_run or lived >= self._policy.STABLE
        if status == BAD_SETTINGS and not self._has_run:
            self.refused = True
            self._terminal.warn(f"{self.name} refuses its settings (see its last line).")
            return
        wait = self._policy.wait_after(lived)
        self._due = now + wait
        often = f", {self._policy.failures} times in a row now" if self._policy.failures > 2 else ""
        self._terminal.warn(f"{self.name} has died ({_cause(status)}{often}); it is started again in {wait:g} s.")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, its standby, and all they have started."""
        for process in (self._process, self._standby):
            if process is not None:
                _signal(process, number)

    def gone(self) -> bool:
        """Whether there is no process, and no standby; reaps those that have ended."""
        return all(
            process is None or process.returncode is not None or _reap(process) is not None
            for process in (self._process, self._standby)
        )


def _reap(process: subprocess.Popen[str]) -> int | None:
    """The exit status of a process once it has ended; also kills the processes that it has started.

    It is reaped only after its group was killed: until then no other process can get its id.
    """
    if process.returncode is not None:
        return process.returncode
    if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return None
    _signal(process, signal.SIGKILL)
    status = process.wait()
    _close(process)
    return status


def _close(process: subprocess.Popen[str]) -> None:
    """Close the pipe of a standby that has ended."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _cause(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


class Supervisor:
    """Keeps parts running until `request_stop`; the first part starts first and ends last.

    Made by `up` for the run; called by its main thread.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.parts: list[Part] = []
        self._terminal = terminal
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._hurry = False

    def request_stop(self, *_: object) -> None:
        """Signal handler: the first time end in order, the second time kill."""
        self._hurry = self._stop.is_set()
        self._stop.set()
        self._wake.set()

    def _on_child(self, *_: object) -> None:
        """Signal handler: a process may have died."""
        self._wake.set()

    def catch_signals(self) -> None:
        """Make SIGINT, SIGTERM and SIGHUP request the stop, and the death of a process end a pause."""
        signal.signal(signal.SIGCHLD, self._on_child)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.request_stop)

    @property
    def stopping(self) -> bool:
        """The stop was requested."""
        return self._stop.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait, until a process dies or the stop is requested at the latest; True when it was requested."""
        self._wake.wait(seconds)
        self._wake.clear()
        return self._stop.is_set()

    def add(self, part: Part) -> None:
        """Start a part and keep it running."""
        self.parts.append(part)
        part.start(time.monotonic())

    def tend(self) -> None:
        """Restart parts that have died and waited; call it several times a second."""
        for part in self.parts:
            part.tend(time.monotonic())

    def end_all(self) -> None:
        """SIGTERM to all but the first, then to the first; SIGKILL to the rest. Returns when all have ended."""
        for parts, grace in ((self.parts[1:], TERM_GRACE), (self.parts[:1], 0.5)):
            for part in parts:
                part.signal(signal.SIGTERM)
            deadline = time.monotonic() + grace
            while not all(part.gone() for part in parts):
                if self._hurry or time.monotonic() > deadline:
                    for part in parts:
                        if not part.gone():
                            self._terminal.warn(f"{part.name} did not end by itself and was killed.")
                            part.signal(signal.SIGKILL)
                    deadline = float("inf")
                    self._hurry = False
                time.sleep(0.02)
