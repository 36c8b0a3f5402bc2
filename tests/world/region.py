"""One region: its NATS, relays, transceiver, signaling and a light echo agent, as processes in its namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from antiphon.cli.up import parent_death
from antiphon.runtime.nats.permissions import User
from antiphon.schemas.addresses import Address
from antiphon.schemas.slot_moves import AnnouncementKey
from world.geography import CLUSTER, COORDINATES, FAR, NEAREST, REGIONS, address
from world.namespaces import Network
from world.nats_servers import CONCIERGE, NatsFiles, relay_names

HTTP_PORT: Final = 8080
RELAY_PORT: Final = 3478
SECOND_RELAY_PORT: Final = 3479
BACKBONE_PORT: Final = 3500
SECOND_BACKBONE_PORT: Final = 3510
ROUTE_KEYS: Final = "A:00112233445566778899aabbccddeeff"
BACKBONE_KEY: Final = bytes(range(64, 96)).hex()
AGENT: Final = Path(__file__).with_name("agent.py")
PARENT_DEATH: Final = parent_death.__file__
"""Runs a command that ends when this program dies, however it dies."""
NATS: Final = ("nats", "setup")
HUB: Final = ("hub", "hub-setup")
SERVICES: Final = ("relay", "relay-2", "transceiver", "signaling", "echo")
"""In the order in which they are started; NATS stands before them."""
COPIED_TO: Final = {FAR: NEAREST, **{region: FAR for region in REGIONS if region != FAR}}
"""The second region of calls with a copy. A call that moves a second time comes back: only there are its keys."""


def _announcement_key(region: str) -> str:
    return bytes([CLUSTER[region]] * 32).hex()


def _password_key(region: str) -> str:
    return bytes([CLUSTER[region] + 100] * 32).hex()


CLUSTER_KEYS: Final = ",".join(
    f"{CLUSTER[each]}:{AnnouncementKey.from_text(_announcement_key(each)).public}" for each in REGIONS
)


class Region:
    """The processes of one region. Made by the run, which ends them; used from one task."""

    def __init__(self, name: str, network: Network, files: NatsFiles, scratch: Path) -> None:
        self.name, self.host = name, address(name)
        self._network, self._files, self._scratch = network, files, scratch / name
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._scratch.mkdir(parents=True)
        self.more_settings: dict[str, dict[str, str]] = {}
        """By part, for those that are started from now on."""

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

    def start(self, *parts: str) -> None:
        """Start these: services wait for their buckets."""
        for part in parts:
            self._spawn(part, self._command(part), self._environment(part))

    def kill(self, *parts: str) -> None:
        """At once, without a word, as a machine dies; the relay's workers end with it."""
        here = [part for part in parts if part in self._processes]
        for part in here:
            os.killpg(self._processes[part].pid, signal.SIGKILL)
        for part in here:
            self._processes.pop(part).wait()

    def running(self) -> list[str]:
        return [part for part, process in self._processes.items() if process.poll() is None]

    def signal(self, part: str, number: signal.Signals) -> None:
        """To all processes of the part: a scenario stops it and lets it go on."""
        os.killpg(self._processes[part].pid, number)

    def log(self, part: str) -> Path:
        """What it has written."""
        return self._scratch / f"{part}.log"

    def end(self) -> None:
        """All of them, services first, each with its own group and no other."""
        parts = [part for part in self._processes if part not in ("nats", "hub")]
        for group in (parts, [part for part in ("nats", "hub") if part in self._processes]):
            for part in group:
                self._processes[part].terminate()
            for part in group:
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
        match part:
            case "nats":
                return self._files.region_command(self.name)
            case "hub":
                return self._files.hub_command(self.name)
            case "setup" | "hub-setup":
                hub = ["--hub"] if part == "hub-setup" else []
                return [sys.executable, "-m", "antiphon.runtime.nats.setup", *hub]
            case "echo":
                return [sys.executable, str(AGENT)]
            case "bridge":
                return [sys.executable, "-m", "antiphon.inference_bridge"]
        return [sys.executable, "-m", f"antiphon.{part.removesuffix('-2')}"]

    def _environment(self, part: str) -> dict[str, str]:
        settings: dict[str, str] = {}
        match part:
            case "hub-setup":
                settings = self._files.hub_environment(self.name, User("hub_setup"))
            case "setup":
                settings = self._files.environment(self.name, User("setup"))
            case "relay" | "relay-2":
                settings = self._relay(first=part == "relay")
            case "transceiver":
                settings = self._transceiver()
            case "signaling":
                settings = self._signaling()
            case "echo":
                settings = self._files.environment(self.name, User("agent", "echo"))
            case "bridge":
                settings = self._files.environment(self.name, User("bridge", CONCIERGE))
                settings["ANTIPHON_AGENT_NAME"] = CONCIERGE
                settings["ANTIPHON_SCRIPTED_AGENT"] = "antiphon.demo.concierge.scripted.Concierge"
        return settings | self.more_settings.get(part, {})

    def _relay(self, first: bool) -> dict[str, str]:
        port = RELAY_PORT if first else SECOND_RELAY_PORT
        name = relay_names(self.name)[0 if first else 1]
        return self._files.environment(self.name, User("relay", name)) | {
            "ANTIPHON_RELAY_NAME": name,
            "ANTIPHON_RELAY_REGION": self.name,
            "ANTIPHON_RELAY_PLACE": COORDINATES[self.name],
            "ANTIPHON_RELAY_BIND": f"{self.host}:{port}",
            "ANTIPHON_RELAY_PUBLIC_ADDRESSES": f"{self.host}:{port}",
            "ANTIPHON_RELAY_TUNNEL_BIND": "127.0.0.1:0",
            "ANTIPHON_RELAY_TUNNEL_ADVERTISE": "127.0.0.1",
            "ANTIPHON_RELAY_WORKERS": "1",
            "ANTIPHON_ROUTE_KEYS": ROUTE_KEYS,
            "ANTIPHON_CLUSTER": str(CLUSTER[self.name]),
            "ANTIPHON_RELAY_BACKBONE_BIND": f"{self.host}:{BACKBONE_PORT if first else SECOND_BACKBONE_PORT}",
            "ANTIPHON_RELAY_BACKBONE_ADVERTISE": self.host,
            "ANTIPHON_BACKBONE_KEY": BACKBONE_KEY,
            "ANTIPHON_CLUSTER_KEYS": CLUSTER_KEYS,
        }

    def _transceiver(self) -> dict[str, str]:
        keys = {"ANTIPHON_COPY_OF_FILE": str(self._keys_of_others())} if self.name in COPIED_TO.values() else {}
        return self._files.environment(self.name, User("transceiver", cluster=CLUSTER[self.name])) | {
            **keys,
            "ANTIPHON_CLUSTER": str(CLUSTER[self.name]),
            "ANTIPHON_REGION": self.name,
            "ANTIPHON_PLACE": COORDINATES[self.name],
            "ANTIPHON_ROUTE_KEYS": ROUTE_KEYS,
            "ANTIPHON_PASSWORD_KEY": _password_key(self.name),
            "ANTIPHON_TRANSCEIVER_BIND": "127.0.0.1:0",
            "ANTIPHON_TRANSCEIVER_ADVERTISE": "127.0.0.1",
            "ANTIPHON_MAX_LATENESS_MS": "1000",
            "ANTIPHON_COPY_CLUSTER": str(CLUSTER[COPIED_TO[self.name]]),
        }

    def _keys_of_others(self) -> Path:
        """The keys of the clusters whose calls are copied here."""
        file = self._scratch / "copies-of.toml"
        if not file.exists():
            file.touch(0o600)
            file.write_text(
                "".join(
                    f'[{CLUSTER[each]}]\npassword_key = "{_password_key(each)}"\n'
                    f'announce_key = "{_announcement_key(each)}"\n'
                    for each in REGIONS
                    if COPIED_TO[each] == self.name
                )
            )
        return file

    def _signaling(self) -> dict[str, str]:
        return self._files.environment(self.name, User("signaling")) | {
            "ANTIPHON_REGION": self.name,
            "ANTIPHON_CLUSTER": str(CLUSTER[self.name]),
            "ANTIPHON_HTTP_BIND": f"{self.host}:{HTTP_PORT}",
            "ANTIPHON_ALLOW_OPEN": "1",
            "ANTIPHON_DEFAULT_AGENT": "echo",
        }
