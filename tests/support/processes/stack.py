"""The whole stack, started as a newcomer starts it: `antiphon up`, on free ports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from antiphon.schemas.addresses import Address, parse_address

ECHO_AGENT = Path(__file__).parents[3] / "examples" / "echo_agent.py"
READY = re.compile(r"Antiphon is ready: (\S+)")
START_WITHIN = 120.0


@dataclass
class Stack:
    """A running stack."""

    url: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    """What it printed so far."""
    nats_url: str = ""

    def pid_of(self, module: str) -> int:
        """The process of one service: a child of ours that runs `python -m antiphon.<module>`."""
        return self._child(f"antiphon.{module}")

    def pid_of_script(self, script: Path) -> int:
        """The process of a plug-in."""
        return self._child(str(script))

    def _child(self, argument: str) -> int:
        """The oldest one: a standby is younger than the part that it waits for."""
        found: list[tuple[int, int]] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    arguments = (entry / "cmdline").read_bytes().split(b"\0")
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) == self.process.pid and argument.encode() in arguments:
                    found.append((int(fields[19]), int(entry.name)))
        if not found:
            raise LookupError(f"no child runs {argument}")
        return min(found)[1]

    def relay(self) -> Address:
        """Where its own relay is reached by UDP."""
        return parse_address(re.findall(r"relay local serves \['([0-9.:]+)'", "\n".join(self.lines))[0])


def _collect(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - line by line: the test looks on while it grows


@contextmanager
def running_stack(
    *options: str, environment: dict[str, str] | None = None, within: Sequence[str] = ()
) -> Iterator[Stack]:
    """Start, wait until a call would succeed, end with SIGINT. `within`: a command to run it by."""
    command = [*within, sys.executable, "-m", "antiphon.cli.main", "up", "--http", "0", "--relay-port", "0", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    stack = Stack("", process)
    reader = threading.Thread(target=_collect, args=(process.stdout, stack.lines), daemon=True)
    reader.start()
    try:
        deadline = time.monotonic() + START_WITHIN
        while not stack.url:
            for line in list(stack.lines):
                if found := re.search(r"nats://\S+", line):
                    stack.nats_url = found[0]
                if ready := READY.search(line):
                    stack.url = ready[1]
            assert process.poll() is None, "\n".join(stack.lines)
            assert time.monotonic() < deadline, "not ready:\n" + "\n".join(stack.lines)
            time.sleep(0.05)
        yield stack
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        process.stdout.close()
