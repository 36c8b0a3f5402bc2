"""The running world: network, regions, buckets; and its end, however the run ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from world.geography import FAR, NEAREST, REGIONS
from world.namespaces import Network, network
from world.nats_servers import NatsFiles
from world.region import HUB, NATS, SERVICES, Region

START_WITHIN: Final = 60.0
SHORT: Final = {
    NEAREST: ("nats", "setup", "relay", "signaling"),
    FAR: ("nats", "setup", "relay", "relay-2", "transceiver", "echo"),
}
"""What runs where in the short world; the third region has its server of the hub only."""


@dataclass(frozen=True)
class World:
    """What a scenario works with. It is given to one scenario after the other."""

    network: Network
    regions: dict[str, Region]
    scratch: Path
    """For files of the scenarios."""
    short: bool
    """One ingress with signaling and one far cluster, one call: for `make test`."""


@contextmanager
def running_world(scratch: Path, short: bool = False) -> Iterator[World]:
    """Start all; returns to its caller when each region can take a call. This thread is at the callers' place."""
    with ExitStack() as stack:
        made = stack.enter_context(network())
        files = NatsFiles(scratch)
        regions = {name: Region(name, made, files, scratch) for name in REGIONS}
        for region in regions.values():
            stack.callback(region.end)
            region.start("hub")
        regions[NEAREST].start("hub-setup")
        for region in regions.values():
            region.start(*(SHORT.get(region.name, ()) if short else (*NATS, *SERVICES)))
        for region in regions.values():
            _wait(partial(_has_numbers, region), f"the relays of {region.name} have ingress numbers", region)
            if "signaling" in region.running():
                wait_until_ready(region, (FAR,) if short else REGIONS)
        yield World(made, regions, scratch, short)


def _has_numbers(region: Region) -> bool:
    """They claim them at the hub, which takes its time to be one."""
    relays = [part for part in region.running() if part.startswith("relay")]
    return all("INFO relay ingress number" in region.log(part).read_text() for part in relays)


def wait_until_ready(region: Region, others: Sequence[str] = ()) -> None:
    """Returns when its signaling can place a call, and knows that the clusters of `others` take some too.

    TimeoutError with the ends of its logs if that takes too long.
    """
    _wait(lambda: is_ready(region.url, others), f"{region.name} can place calls", region)


def is_ready(url: str, others: Sequence[str] = ()) -> bool:
    """Whether signaling says that a call would find a relay, a transceiver and NATS."""
    try:
        if httpx.get(url + "/healthz", timeout=2, trust_env=False).status_code != 200:
            return False
        known = httpx.get(url + "/v1/regions", timeout=2, trust_env=False).json()["data"]
    except httpx.HTTPError:
        return False
    return {*others} <= {each["name"] for each in known if any(cluster["room"] for cluster in each["clusters"])}


def _wait(condition: Callable[[], bool], what: str, region: Region | None = None) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {START_WITHIN:.0f} s: {what}{_tails(region)}")
        time.sleep(0.1)


def _tails(region: Region | None) -> str:
    if region is None:
        return ""
    logs = {part: region.log(part) for part in (*HUB, *NATS, *SERVICES)}
    return "".join(f"\n--- {part}\n{log.read_text()[-800:]}" for part, log in logs.items() if log.exists())
