"""The NATS servers of the regions, and of the hub that joins them: as in `deploy/nats`, without TLS and users.

A region's server has a JetStream domain of its own. What stays in a region is denied at its leaf connection.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from support.processes.nats import SETTINGS, server_binary

from world.geography import REGIONS, address

PORT: Final = 4222
LEAF_PORT: Final = 7422
HUB_PORT: Final = 4223
ROUTE_PORT: Final = 6222
STAYS: Final = (
    "antiphon.v1.session.>",
    "antiphon.v1.call.>",
    "antiphon.v1.agent.>",
    "antiphon.v1.worker.>",
    "antiphon.v1.flow.>",
    "antiphon.v1.transceiver.*.*.take_over",
    "antiphon.v1.transceiver.*.*.adopt",
    "antiphon.v1.relay.*.stats",
    "$JS.>",
    "$KV.>",
    "$SRV.>",
)
"""As `stays` of deploy/nats/region.conf."""


def url(region: str) -> str:
    return f"nats://{address(region)}:{PORT}"


def hub_urls() -> str:
    """As `ANTIPHON_HUB_NATS_URL` takes them."""
    return ",".join(f"nats://{address(region)}:{HUB_PORT}" for region in REGIONS)


def region_command(region: str, directory: Path, joined: bool) -> list[str]:
    """The server of one region; `joined`: a leaf node of the hub."""
    remote = {
        "urls": [f"nats://{address(each)}:{LEAF_PORT}" for each in (region, *(r for r in REGIONS if r != region))],
        "no_randomize": True,
        "deny_imports": list(STAYS),
        "deny_exports": list(STAYS),
    }
    leaf = f'leafnodes {{ reconnect: "1s", remotes: [{json.dumps(remote)}] }}\n' if joined else ""
    return _command(
        directory,
        f"server_name: {region}\n"
        f'listen: "{address(region)}:{PORT}"\n'
        f'jetstream {{ {"domain: " + region if joined else ""}\n store_dir: "{directory}" }}\n{leaf}',
    )


def hub_command(region: str, directory: Path) -> list[str]:
    """The hub's server in that region."""
    routes = [f"nats://{address(each)}:{ROUTE_PORT}" for each in REGIONS]
    return _command(
        directory,
        f"server_name: hub-{region}\n"
        f'listen: "{address(region)}:{HUB_PORT}"\n'
        f'jetstream {{ domain: hub, store_dir: "{directory}" }}\n'
        f'cluster {{ name: hub, listen: "{address(region)}:{ROUTE_PORT}", routes: {json.dumps(routes)} }}\n'
        f'leafnodes {{ listen: "{address(region)}:{LEAF_PORT}" }}\n',
    )


def _command(directory: Path, text: str) -> list[str]:
    directory.mkdir(parents=True)
    file = directory / "server.conf"
    file.write_text(SETTINGS.read_text() + text)
    return [str(server_binary()), "-c", str(file)]
