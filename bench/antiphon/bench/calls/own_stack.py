"""A stack of a bench's own on loopback whose processes it may kill: NATS, relay, transceivers, signaling, agents."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from antiphon.bench._lib.free_port import free_port
from antiphon.bench._lib.proc import children, user_and_kernel_seconds
from antiphon.bench._lib.processes import clean_environment, nats_server
from antiphon.bench.calls.talking_agent import TALKER
from antiphon.cli.errors import UsageError
from antiphon.cli.up.health import ask_health

START_SECONDS: Final = 90.0
"""A bridge loads its models first."""


class OwnStack:
    """Processes by their ids. Owned by `own_stack`, which ends them; used from one thread."""

    def __init__(self, nats_url: str, host: str, settings: Mapping[str, str]) -> None:
        """`settings`: variables that all its processes get."""
        self.nats_url = nats_url
        self._settings = dict(settings)
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

    def transceiver(self, module: str = "antiphon.transceiver", **settings: str) -> int:
        """Start one that refuses nothing for being slow: benches measure how slow it gets.

        `module`: what runs it; `settings`: variables of that module's own.
        """
        return self._transceiver(module, ANTIPHON_MAX_LATENESS_MS="1000", ANTIPHON_CONNECT_WITHIN="0", **settings)

    def own_limits_transceiver(self) -> int:
        """Start one with the limits that it has by default."""
        return self._transceiver("antiphon.transceiver")

    def _transceiver(self, module: str, **settings: str) -> int:
        return self._start(
            module,
            **settings,
            **self._keys,
            **self._password,
            ANTIPHON_TRANSCEIVER_BIND="127.0.0.1:0",
            ANTIPHON_TRANSCEIVER_ADVERTISE="127.0.0.1",
        )

    def signaling(self, default_agent: str = TALKER) -> int:
        """Healthy when `default_agent` is there."""
        return self._start(
            "antiphon.signaling",
            ANTIPHON_HTTP_BIND=self.http,
            ANTIPHON_DEFAULT_AGENT=default_agent,
            ANTIPHON_CONNECTIONS_PER_ADDRESS="1000",
            ANTIPHON_ALLOW_OPEN="1",  # loopback, or a network namespace of the bench's own
        )

    def bridge(self, **settings: str) -> int:
        settings.setdefault("ANTIPHON_SCRIPTED_AGENT", "antiphon.demo.concierge.scripted.Concierge")
        return self._start("antiphon.inference_bridge", ANTIPHON_GREETING="none", **settings)

    def agent(self) -> int:
        return self._start("antiphon.bench.calls.talking_agent")

    def echo(self) -> int:
        return self._start("antiphon.bench.calls.echo_agent")

    def _start(self, module: str, **settings: str) -> int:
        common = {"ANTIPHON_NATS_URL": self.nats_url, "ANTIPHON_LOG_LEVEL": "ERROR"}
        environment = clean_environment() | common | self._settings | settings
        child = subprocess.Popen([sys.executable, "-m", module], env=environment, stderr=subprocess.DEVNULL)
        self._running[child.pid] = child
        return child.pid

    def cpu_seconds(self) -> dict[int, float]:
        """Of each process that it started and all below it, by the id of the first."""
        return {pid: sum(sum(user_and_kernel_seconds(each)) for each in _family(pid)) for pid in self._running}

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


def _family(pid: int) -> list[int]:
    return [pid, *(each for child in children(pid) for each in _family(child))]


@contextmanager
def own_stack(
    directory: Path, host: str = "127.0.0.1", settings: Mapping[str, str] | None = None
) -> Iterator[OwnStack]:
    """`host`: the address at which clients reach it; `settings`: variables that all its processes get."""
    with nats_server(directory) as nats_url:
        stack = OwnStack(nats_url, host, settings or {})
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
