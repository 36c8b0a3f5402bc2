"""A stack of a bench's own on loopback whose processes it may kill: NATS, relay, transceivers, signaling, agents."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from antiphon.bench._lib.free_port import free_port
from antiphon.bench._lib.proc import children
from antiphon.bench._lib.processes import clean_environment, nats_server
from antiphon.bench.calls.talking_agent import TALKER
from antiphon.cli.errors import UsageError
from antiphon.cli.health import ask_health

START_SECONDS: Final = 90.0
"""A bridge loads its models first."""


class OwnStack:
    """Processes by their ids. Owned by `own_stack`, which ends them; used from one thread."""

    def __init__(self, nats_url: str, host: str) -> None:
        self.nats_url = nats_url
        self.http = f"{host}:{free_port(socket.SOCK_STREAM)}"
        self.url = f"http://{self.http}"
        self._relay = f"{host}:{free_port(socket.SOCK_DGRAM)}"
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._keys = {"ANTIPHON_ROUTE_KEYS": f"A:{secrets.token_hex(16)}"}
        self._password = {"ANTIPHON_PASSWORD_KEY": secrets.token_hex(32)}

    def relay(self) -> int:
        """Start the relay (again), under the same address."""
        return self._start(
            "antiphon.relay",
            **self._keys,
            ANTIPHON_RELAY_NAME="bench",
            ANTIPHON_RELAY_BIND=self._relay,
            ANTIPHON_RELAY_PUBLIC_ADDRESSES=self._relay,
            ANTIPHON_RELAY_TUNNEL_BIND="127.0.0.1:0",
            ANTIPHON_RELAY_TUNNEL_ADVERTISE="127.0.0.1",
        )

    def transceiver(self) -> int:
        return self._start(
            "antiphon.transceiver",
            **self._keys,
            **self._password,
            ANTIPHON_TRANSCEIVER_BIND="127.0.0.1:0",
            ANTIPHON_TRANSCEIVER_ADVERTISE="127.0.0.1",
            ANTIPHON_MAX_LATENESS_MS="1000",
        )

    def signaling(self, default_agent: str = TALKER) -> int:
        return self._start(
            "antiphon.signaling",
            ANTIPHON_HTTP_BIND=self.http,
            ANTIPHON_DEFAULT_AGENT=default_agent,
            ANTIPHON_ALLOW_OPEN="1",  # loopback, or a network namespace of the bench's own
        )

    def bridge(self) -> int:
        return self._start("antiphon.inference_bridge", ANTIPHON_GREETING="none")

    def agent(self) -> int:
        return self._start("antiphon.bench.calls.talking_agent")

    def _start(self, module: str, **settings: str) -> int:
        common = {"ANTIPHON_NATS_URL": self.nats_url, "ANTIPHON_LOG_LEVEL": "ERROR"}
        environment = clean_environment() | common | settings
        child = subprocess.Popen([sys.executable, "-m", module], env=environment, stderr=subprocess.DEVNULL)
        self._running[child.pid] = child
        return child.pid

    def kill(self, pid: int) -> None:
        """SIGKILL, to it and to what it has started."""
        for each in [*children(pid), pid]:
            os.kill(each, 9)
        self._running.pop(pid).wait()

    def end(self) -> None:
        for child in self._running.values():
            child.terminate()
        for child in self._running.values():
            try:
                child.wait(3)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def until_healthy(self) -> None:
        wait_for(lambda: ask_health(self.url).ready, "a stack that takes calls")


@contextmanager
def own_stack(directory: Path, host: str = "127.0.0.1") -> Iterator[OwnStack]:
    """`host`: the address at which clients reach it."""
    with nats_server(directory) as nats_url:
        stack = OwnStack(nats_url, host)
        try:
            yield stack
        finally:
            stack.end()


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise UsageError(f"waited {START_SECONDS:.0f} s for {what}")
        time.sleep(0.05)
