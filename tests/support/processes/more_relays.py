"""Another relay beside that of `antiphon up`, with its keys: one that a test may end for good."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.conditions import wait_until
from support.processes.stack import START_WITHIN, Stack

from antiphon.runtime.nats.permissions import User
from antiphon.schemas.addresses import Address, parse_address

PREFERRED_REGION = "preferred"
"""A stack started with `ANTIPHON_REGION` set to this, and its relay in another, offers relays of that region first."""


@dataclass
class AnotherRelay:
    """`python -m antiphon.relay`; nobody starts it again."""

    process: subprocess.Popen[bytes]
    udp: Address

    def kill(self) -> None:
        """Control process and workers at once, as a power cut would."""
        for pid in [self.process.pid, *_children(self.process.pid)]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(5)

    def drain(self) -> int:
        """SIGTERM, and its exit status."""
        self.process.terminate()
        return self.process.wait(30)


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@contextmanager
def another_relay(
    stack: Stack,
    scratch: Path,
    region: str = "local",
    bind: str = "127.0.0.1:0",
    within: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> Iterator[AnotherRelay]:
    """A relay named `another`, which forwards; its log goes to `scratch`.

    `within`: a command to run it by; `settings`: more variables.
    """
    its = Path(f"/proc/{stack.pid_of('relay')}/environ").read_bytes().decode().split("\0")
    known = dict(variable.split("=", 1) for variable in its if "=" in variable)
    keys = {"ANTIPHON_ROUTE_KEYS_FILE": known["ANTIPHON_ROUTE_KEYS_FILE"], **stack.user(User("relay", "another"))}
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANTIPHON_", "OTEL_"))}
    environment = {
        **own,
        **keys,
        "ANTIPHON_RELAY_NAME": "another",
        "ANTIPHON_RELAY_REGION": region,
        "ANTIPHON_RELAY_BIND": bind,
        "ANTIPHON_RELAY_TUNNEL_BIND": "127.0.0.1:0",
        "ANTIPHON_RELAY_TUNNEL_ADVERTISE": "127.0.0.1",
        **(settings or {}),
    }
    log = scratch / "another-relay.log"
    with log.open("w") as stderr:
        process = subprocess.Popen([*within, sys.executable, "-m", "antiphon.relay"], env=environment, stderr=stderr)
    try:

        def serving() -> re.Match[str] | None:
            assert process.poll() is None, log.read_text()
            text = log.read_text()
            return re.search(r"serves \['([0-9.:]+)'", text) if re.search(r"\b1 transceivers announced", text) else None

        wait_until(lambda: serving() is not None, START_WITHIN)
        found = serving()
        assert found is not None
        yield AnotherRelay(process, parse_address(found[1]))
    finally:
        process.terminate()
        process.wait(30)
