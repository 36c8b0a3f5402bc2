"""The running world: network, regions, buckets; and its end, however the run ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from antiphon.testing.stores import make_stores
from world import nats_servers
from world.geography import FAR, NEAREST, REGIONS
from world.namespaces import Network, network
from world.region import SERVICES, Region

START_WITHIN: Final = 60.0


@dataclass(frozen=True)
class World:
    """What a scenario works with. It is given to one scenario after the other."""

    network: Network
    regions: dict[str, Region]
    short: bool
    """Two regions, one relay each, one call: for `make test`."""


@contextmanager
def running_world(scratch: Path, short: bool = False) -> Iterator[World]:
    """Start all; returns to its caller when each region can take a call. This thread is at the callers' place."""
    with ExitStack() as stack:
        made = stack.enter_context(network())
        regions = {name: Region(name, made, scratch) for name in ((NEAREST, FAR) if short else REGIONS)}
        for region in regions.values():
            stack.callback(region.end)
            region.start_nats()
        for region in regions.values():
            _wait(partial(_has_stores, region.name), f"the NATS server of {region.name}")
            region.start(*(part for part in SERVICES if not (short and part == "relay-2")))
        for region in regions.values():
            wait_until_ready(region)
        yield World(made, regions, short)


def wait_until_ready(region: Region) -> None:
    """Returns when the region can take a call; TimeoutError with the ends of its logs if that takes too long."""
    _wait(lambda: is_ready(region.url), f"{region.name} can take a call", region)


def is_ready(url: str) -> bool:
    """Whether signaling says that a call would find a relay, a transceiver and NATS."""
    try:
        return httpx.get(url + "/healthz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _has_stores(region: str) -> bool:
    try:
        make_stores(nats_servers.url(region))
    except Exception:  # whatever it raises while the server does not answer: the wait has an end
        return False
    return True


def _wait(condition: Callable[[], bool], what: str, region: Region | None = None) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {START_WITHIN:.0f} s: {what}{_tails(region)}")
        time.sleep(0.1)


def _tails(region: Region | None) -> str:
    if region is None:
        return ""
    logs = {part: region.log(part) for part in ("nats", *SERVICES)}
    return "".join(f"\n--- {part}\n{log.read_text()[-800:]}" for part, log in logs.items() if log.exists())
