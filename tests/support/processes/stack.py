"""The whole stack, started as a newcomer starts it: `antiphon up`, on free ports."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import nats.errors
from support.conditions import wait_until

from antiphon.cli.up.running_stack import RunningStack
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.permissions import User
from antiphon.schemas.addresses import Address, parse_address

ECHO_AGENT = Path(__file__).parents[3] / "examples" / "echo_agent.py"
READY = re.compile(r"Antiphon is ready: (\S+)")
START_WITHIN = 120.0
REFUSED = re.compile(r"the credential of .* may not|[Pp]ermissions [Vv]iolation|refuses the credential")


@dataclass
class Stack:
    """A running stack."""

    url: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    """What it printed so far."""
    nats_url: str = ""
    within: Sequence[str] = ()
    """The command that it was run by."""

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

    def access(self, role: str) -> Access:
        """How this process shows the stack's NATS server that it is of this role."""
        users = self._here().users
        user = next((known.user for known in users.all() if known.user.role == role), User(role))
        return Access(role, user.name, users.seed_file(user))

    def _here(self) -> RunningStack:
        """Not by its note: in another namespace another stack may have the same address."""
        environment = Path(f"/proc/{self.pid_of('transceiver')}/environ").read_bytes().decode().split("\0")
        (seed,) = (each.partition("=")[2] for each in environment if each.startswith("ANTIPHON_NATS_CREDENTIALS="))
        return RunningStack(self.nats_url, Path(seed).parents[2])

    def user(self, user: User) -> dict[str, str]:
        """Make the server know a user; the variables by which a process is that user."""
        running = self._here()
        running.users.add([user])
        running.reload()
        access = Access(user.role, user.name, running.users.seed_file(user))
        if not self.within:  # else the server is in another namespace, and the process tries until it is known
            wait_until(lambda: _is_known(self.nats_url, access))
        return {"ANTIPHON_NATS_URL": self.nats_url, "ANTIPHON_NATS_CREDENTIALS": str(access.credentials)}

    def refused(self) -> list[str]:
        """What NATS did not allow a part, by the part's own word and by the server's."""
        return [line for line in list(self.lines) if REFUSED.search(line)]

    def relay(self) -> Address:
        """Where its own relay is reached by UDP."""
        return parse_address(re.findall(r"relay local serves \['([0-9.:]+)'", "\n".join(self.lines))[0])


def _is_known(url: str, access: Access) -> bool:
    """In a thread: tests have loops of their own."""

    async def knock() -> bool:
        try:
            await (await connection.connect_once(url, "test", access)).close()
        except (nats.errors.AuthorizationError, ConnectionError):  # a server that refuses may reset the connection
            return False
        return True

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, knock()).result()


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
    stack = Stack("", process, within=within)
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
        assert not stack.refused(), "NATS refused a part what it needs:\n" + "\n".join(stack.refused())
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        process.stdout.close()
