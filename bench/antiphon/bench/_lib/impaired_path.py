"""Two network namespaces of a bench's own and a path with delay and loss between them. Needs root and `ip`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from antiphon.bench._lib.impaired_link import inside
from antiphon.bench._lib.processes import process
from antiphon.cli.errors import UsageError

SERVER: Final = "10.77.0.1"
CLIENT: Final = "10.77.0.2"


class ImpairedPath:
    """Owned by `impaired_path`; used from one thread."""

    def __init__(self, client: str, commands: IO[str], answers: IO[str]) -> None:
        self._client, self._commands, self._answers = client, commands, answers

    @property
    def within_client(self) -> list[str]:
        """The command prefix that runs a program on the client's side."""
        return ["ip", "netns", "exec", self._client]

    def set(self, delay: float, loss: float, seed: int) -> None:
        """One way, both ways alike: seconds, and a share of the packets. Returns when it holds."""
        self._commands.write(json.dumps({"delay": delay, "loss": loss, "seed": seed}) + "\n")
        self._commands.flush()
        self.await_answer("done")

    def await_answer(self, word: str) -> None:
        line = self._answers.readline().strip()
        if line != word:
            raise RuntimeError(f"the process of the impaired path says {line!r}")


def _exit(number: int, frame: object) -> None:
    sys.exit(128 + number)


@contextmanager
def impaired_path() -> Iterator[ImpairedPath]:
    """Make both sides and the path; this thread, and what it starts, is the server's side for the block's length."""
    if os.geteuid() != 0 or shutil.which("ip") is None or not Path("/dev/net/tun").exists():
        raise UsageError("a path with delay and loss needs root, `ip` (iproute2) and /dev/net/tun: run it with sudo")
    prefix = f"antiphon-{os.getpid()}-"
    server, client = f"{prefix}server", f"{prefix}client"
    with ExitStack() as stack:
        # A bench that is ended leaves no namespace behind.
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _exit))
        for namespace in (server, client):
            subprocess.run(["ip", "netns", "add", namespace], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "del", namespace], check=False)
        command = [sys.executable, "-m", "antiphon.bench._lib.impaired_link"]
        command += [f"{server}={SERVER}", f"{client}={CLIENT}"]
        link = stack.enter_context(process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        stack.callback(link.stdout.close)
        path = ImpairedPath(client, link.stdin, link.stdout)
        path.await_answer("ready")
        stack.enter_context(inside(server))
        yield path
