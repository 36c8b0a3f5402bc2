"""The NATS servers of the regions and of the hub that joins them: by deploy/nats, with TLS and credentials.

Each region has a server with a JetStream domain of its own, which is a leaf node of the hub; each also has one of the
hub's three servers. Each process has a credential of its own, as `antiphon credentials` makes them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from support.certificates import certificates
from support.processes.nats import SETTINGS, server_binary
from support.processes.regions import FILES, written

from antiphon.runtime.nats.hub import hub_role
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.users import Region as HubRegion
from antiphon.runtime.nats.users import Users, hub_users, stack_users
from world.geography import CLUSTER, REGIONS, address

PORT: Final = 4222
LEAF_PORT: Final = 7422
HUB_PORT: Final = 4223
ROUTE_PORT: Final = 6222
CONCIERGE: Final = "concierge"
"""The bridge's agent."""


def url(region: str) -> str:
    return f"tls://{address(region)}:{PORT}"


def hub_urls(region: str) -> str:
    """As `ANTIPHON_HUB_NATS_URL` takes them: the nearest first."""
    return ",".join(f"tls://{address(each)}:{HUB_PORT}" for each in _nearest_first(region))


def _nearest_first(region: str) -> list[str]:
    return [region, *(each for each in REGIONS if each != region)]


def relay_names(region: str) -> tuple[str, str]:
    return region, f"{region}-2"


class NatsFiles:
    """Certificates, credentials and configurations of all servers. Made by the run, once; read by regions."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        hosts = [address(each) for each in REGIONS]
        self._tls = certificates(directory / "tls", hosts)
        self._route_tls = certificates(directory / "route-tls", hosts)
        self._hub_users = Users(directory / "hub-users")
        self._hub_users.add(hub_users([HubRegion(each, (CLUSTER[each],), relay_names(each)) for each in REGIONS]))
        self._users = {each: Users(directory / f"{each}-users") for each in REGIONS}
        for region, users in self._users.items():
            bridges = (CONCIERGE,)
            users.add([*stack_users(relay_names(region), (CLUSTER[region],), bridges), User("agent", "echo")])

    def environment(self, region: str, user: User) -> dict[str, str]:
        """How a process of that region shows its NATS and the hub who it is."""
        settings = {
            "ANTIPHON_NATS_URL": url(region),
            "ANTIPHON_NATS_CREDENTIALS": str(self._users[region].seed_file(user)),
            "ANTIPHON_NATS_TLS_CA": str(self._tls.ca),
        }
        if user.role in ("relay", "transceiver"):
            settings |= self.hub_environment(region, User(hub_role(user.role), region))
        return settings

    def hub_environment(self, region: str, user: User) -> dict[str, str]:
        return {
            "ANTIPHON_HUB_NATS_URL": hub_urls(region),
            "ANTIPHON_HUB_NATS_CREDENTIALS": str(self._hub_users.seed_file(user)),
            "ANTIPHON_HUB_NATS_TLS_CA": str(self._tls.ca),
        }

    def region_command(self, region: str) -> list[str]:
        """The server of one region."""
        site: dict[str, object] = {
            "region": region,
            "name": f"{region}-1",
            "client_listen": f"{address(region)}:{PORT}",
            "hub_urls": [f"tls://{address(each)}:{LEAF_PORT}" for each in _nearest_first(region)],
            "hub_ca": self._tls.ca,
        }
        leaf = self._hub_users.seed_file(User("leaf", region))
        return self._command(f"nats-{region}", "region.conf", site, self._users[region], leaf)

    def hub_command(self, region: str) -> list[str]:
        """The hub's server in that region."""
        host = address(region)
        site: dict[str, object] = {
            "name": f"hub-{region}",
            "client_listen": f"{host}:{HUB_PORT}",
            "leaf_listen": f"{host}:{LEAF_PORT}",
            "register": f"copy-leases:{REGIONS.index(region) + 1}",
            "route_listen": f"{host}:{ROUTE_PORT}",
            # Of two servers one connects: else each may drop the other's connection as a second one, for a minute.
            "routes": [f"tls://{address(each)}:{ROUTE_PORT}" for each in REGIONS[REGIONS.index(region) :]],
            **{f"route_{name}": getattr(self._route_tls, name) for name in ("cert", "key", "ca")},
        }
        return self._command(f"hub-{region}", "hub.conf", site, self._hub_users)

    def _command(self, name: str, file: str, site: dict[str, object], users: Users, *more: Path) -> list[str]:
        """Write what it reads, and keep what it has stored."""
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        for path in (FILES / file, users.server_file, *more):
            shutil.copy(path, directory)
        shutil.copy(SETTINGS, directory / "antiphon.conf")
        tls = {"cert": self._tls.cert, "key": self._tls.key, "ca": self._tls.ca, "store": directory / "store"}
        lines = [f"{key}: {written(value)}\n" for key, value in {**site, **tls}.items()]
        (directory / "site.conf").write_text("".join(lines))
        return [str(server_binary()), "-c", str(directory / file)]
