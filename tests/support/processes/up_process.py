"""`antiphon up` as a process whose screen a test reads line by line, from its first moment to its last."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

READY_WITHIN: Final = 60.0
"""Seconds. Loading the models takes a few on an idle machine, more on one that runs other tests."""


class UpProcess:
    """What it has printed so far, its parts' process ids, and its addresses."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._over = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self._add(line.rstrip("\n"))
        with self._more:
            self._over = True
            self._more.notify_all()

    def _add(self, line: str) -> None:
        with self._more:
            self.lines.append(line)
            self._more.notify_all()

    def wait_for(self, pattern: str, within: float = READY_WITHIN, after: int = 0) -> re.Match[str]:
        """The first line from number `after` on that holds the pattern."""
        deadline = time.monotonic() + within
        seen = after
        with self._more:
            while True:
                while seen < len(self.lines):
                    if match := re.search(pattern, self.lines[seen]):
                        return match
                    seen += 1
                assert not self._over, f"antiphon up ended before {pattern!r}:\n{self.text()}"
                assert self._more.wait(deadline - time.monotonic()), (
                    f"no line {pattern!r} within {within} s:\n{self.text()}"
                )

    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_until_ready(self) -> str:
        """The address of the page."""
        return self.wait_for(r"Antiphon is ready: (\S+)")[1]

    @property
    def nats_url(self) -> str:
        return self.wait_for(r"serves (nats://\S+)")[1]

    def pid_of(self, part: str) -> int:
        """The newest process id of a part."""
        return [int(m[1]) for line in list(self.lines) if (m := re.match(rf"{part} +\| started, pid (\d+)", line))][-1]

    def pids(self) -> list[int]:
        """Every process of a part that was ever started."""
        return [int(match[1]) for line in list(self.lines) if (match := re.search(r"\| started, pid (\d+)", line))]

    def end(self, number: signal.Signals = signal.SIGINT) -> float:
        """Signal the supervisor and wait for its end; the seconds that took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(10)
        return time.monotonic() - begun


@contextmanager
def up_process(scratch: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[UpProcess]:
    """Run `antiphon up` on free ports with its temporary files below `scratch`; ended in any case."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANTIPHON_", "OTEL_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "antiphon.cli", "up", "--http", "127.0.0.1:0", "--relay-port", "0", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**own, "TMPDIR": str(scratch), **(environment or {})},
    )
    running = UpProcess(process)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def descendants(scratch: Path) -> list[int]:
    """Every process that runs with `scratch` for its temporary files: the parts and whatever they started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_alive(int(entry.name)):
            with contextlib.suppress(OSError):
                if f"TMPDIR={scratch}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def wait_until_gone(pids: list[int], within: float) -> None:
    deadline = time.monotonic() + within
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"still running after {within} s: {alive}"
        time.sleep(0.02)
