"""One region: its NATS, relays, transceiver, signaling and a light echo agent, as processes in its namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from support.processes.stack import ECHO_AGENT

from antiphon.cli import parent_death
from antiphon.schemas.addresses import Address
from world import nats_servers
from world.geography import CLUSTER, COORDINATES, FAR, REGIONS, address
from world.namespaces import Network
from world.switches import COPIES, HUB, SWITCHED_ON, TWO_HOPS

HTTP_PORT: Final = 8080
RELAY_PORT: Final = 3478
SECOND_RELAY_PORT: Final = 3479
BACKBONE_PORT: Final = 5349
ROUTE_KEYS: Final = "A:00112233445566778899aabbccddeeff"
PASSWORD_KEY: Final = bytes(range(32)).hex()
BACKBONE_KEY: Final = "1:" + bytes(range(16)).hex()
ANNOUNCE_KEY: Final = bytes(range(32, 64)).hex()
PARENT_DEATH: Final = parent_death.__file__
"""Runs a command that ends when this program dies, however it dies."""
SERVICES: Final = ("relay", "relay-2", "transceiver", "signaling", "echo")
"""In the order in which they are started; NATS stands before them."""


class Region:
    """The processes of one region. Made by the run, which ends them; used from one task."""

    def __init__(self, name: str, network: Network, scratch: Path) -> None:
        self.name, self.host = name, address(name)
        self._network, self._scratch = network, scratch / name
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._scratch.mkdir(parents=True)

    @property
    def url(self) -> str:
        """Of its signaling."""
        return f"http://{self.host}:{HTTP_PORT}"

    @property
    def relay(self) -> Address:
        """Its first relay, as callers reach it."""
        return Address(self.host, RELAY_PORT)

    @property
    def second_relay(self) -> Address:
        return Address(self.host, SECOND_RELAY_PORT)

    def start_nats(self) -> None:
        if HUB in SWITCHED_ON:
            self._spawn("hub", nats_servers.hub_command(self.name, self._scratch / "hub"), {})
        joined = HUB in SWITCHED_ON
        self._spawn("nats", nats_servers.region_command(self.name, self._scratch / "nats", joined), {})

    def start(self, *parts: str) -> None:
        """Start these services; the buckets have to be there."""
        for part in parts:
            self._spawn(part, self._command(part), self._environment(part))

    def kill(self, *parts: str) -> None:
        """At once, without a word, as a machine dies; the relay's workers end with it."""
        for part in parts:
            os.killpg(self._processes[part].pid, signal.SIGKILL)
            self._processes.pop(part).wait()

    def running(self) -> list[str]:
        return [part for part, process in self._processes.items() if process.poll() is None]

    def pid(self, part: str) -> int:
        """For a scenario that stops it."""
        return self._processes[part].pid

    def log(self, part: str) -> Path:
        """What it has written."""
        return self._scratch / f"{part}.log"

    def end(self) -> None:
        """All of them, services first, each with its own group and no other."""
        parts = [part for part in (*reversed(SERVICES), "nats", "hub") if part in self._processes]
        for part in parts:
            self._processes[part].terminate()
        for part in parts:
            process = self._processes.pop(part)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _spawn(self, part: str, command: list[str], environment: dict[str, str]) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANTIPHON_", "OTEL_"))}
        with self.log(part).open("ab") as log:
            self._processes[part] = subprocess.Popen(
                [sys.executable, PARENT_DEATH, str(os.getpid()), *self._network.within(self.name), *command],
                env=clean | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _command(self, part: str) -> list[str]:
        if part == "echo":
            return [sys.executable, str(ECHO_AGENT)]
        return [sys.executable, "-m", f"antiphon.{part.removesuffix('-2')}"]

    def _environment(self, part: str) -> dict[str, str]:
        settings = {"ANTIPHON_NATS_URL": nats_servers.url(self.name)}
        if HUB in SWITCHED_ON:
            settings["ANTIPHON_HUB_NATS_URL"] = nats_servers.hub_urls()
        if part.startswith("relay"):
            return settings | self._relay(first=part == "relay")
        if part == "transceiver":
            return settings | self._transceiver()
        if part == "signaling":
            settings |= {
                "ANTIPHON_HTTP_BIND": f"{self.host}:{HTTP_PORT}",
                "ANTIPHON_ALLOW_OPEN": "1",
                "ANTIPHON_DEFAULT_AGENT": "echo",
            }
            if TWO_HOPS in SWITCHED_ON:
                settings["ANTIPHON_REGION"] = self.name
        return settings

    def _relay(self, first: bool) -> dict[str, str]:
        port = RELAY_PORT if first else SECOND_RELAY_PORT
        settings = {
            "ANTIPHON_RELAY_NAME": f"{self.name}{'' if first else '-2'}",
            "ANTIPHON_RELAY_REGION": self.name,
            "ANTIPHON_RELAY_BIND": f"{self.host}:{port}",
            "ANTIPHON_RELAY_PUBLIC_ADDRESSES": f"{self.host}:{port}",
            "ANTIPHON_RELAY_TUNNEL_BIND": "127.0.0.1:0",
            "ANTIPHON_RELAY_TUNNEL_ADVERTISE": "127.0.0.1",
            "ANTIPHON_RELAY_WORKERS": "1",
            "ANTIPHON_ROUTE_KEYS": ROUTE_KEYS,
        }
        if TWO_HOPS in SWITCHED_ON:
            settings |= {
                "ANTIPHON_CLUSTER": str(CLUSTER[self.name]),
                "ANTIPHON_RELAY_PLACE": COORDINATES[self.name],
                "ANTIPHON_RELAY_BACKBONE_BIND": f"{self.host}:{BACKBONE_PORT + (0 if first else 10)}",
                "ANTIPHON_RELAY_BACKBONE_ADVERTISE": self.host,
                "ANTIPHON_BACKBONE_KEY": BACKBONE_KEY,
                "ANTIPHON_CLUSTER_KEYS": ",".join(f"{each}:{ANNOUNCE_KEY}" for each in CLUSTER.values()),
            }
        return settings

    def _transceiver(self) -> dict[str, str]:
        settings = {
            "ANTIPHON_CLUSTER": str(CLUSTER[self.name]),
            "ANTIPHON_ROUTE_KEYS": ROUTE_KEYS,
            "ANTIPHON_PASSWORD_KEY": PASSWORD_KEY,
            "ANTIPHON_TRANSCEIVER_BIND": "127.0.0.1:0",
            "ANTIPHON_TRANSCEIVER_ADVERTISE": "127.0.0.1",
            "ANTIPHON_MAX_LATENESS_MS": "1000",
        }
        if TWO_HOPS in SWITCHED_ON:
            settings |= {"ANTIPHON_REGION": self.name, "ANTIPHON_PLACE": COORDINATES[self.name]}
            settings["ANTIPHON_ANNOUNCE_KEY"] = ANNOUNCE_KEY
        if COPIES in SWITCHED_ON:
            # Each region is copied to the next one of the list.
            following = REGIONS[(REGIONS.index(self.name) + 1) % len(REGIONS)]
            settings |= {"ANTIPHON_COPY_CLUSTER": str(CLUSTER[following]), "ANTIPHON_COPY_CALLS": "all"}
            settings["ANTIPHON_COPY_OF_FILE"] = str(self._scratch.parent / f"copies-in-{self.name}.json")
        return settings


assert FAR in REGIONS
