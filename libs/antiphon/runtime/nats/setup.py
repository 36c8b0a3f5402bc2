"""The process with the credential `setup`: makes all buckets and streams, and makes them again when they are gone.

Run as `antiphon setup`, or `python -m antiphon.runtime.nats.setup` where the command line is not installed. No service
has this credential. Settings: `ANTIPHON_NATS_URL`, `ANTIPHON_NATS_CREDENTIALS`, `ANTIPHON_LEASES_STORAGE` (memory or
file) and `ANTIPHON_LEASE_RETENTION_SECONDS`; docs/security.md has them. With `--hub` it makes the buckets of the hub
instead: `ANTIPHON_HUB_NATS_URL`, `ANTIPHON_HUB_NATS_CREDENTIALS` and `ANTIPHON_HUB_REPLICAS`. One runs for each
region's NATS, and one for the hub.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal

import nats.errors
from nats.aio.client import Client

from antiphon.runtime import tasks, telemetry
from antiphon.runtime.nats import connection, stores
from antiphon.runtime.nats.access import Access, AccessError, from_environment
from antiphon.runtime.nats.hub import hub_access
from antiphon.runtime.nats.server_url import DEFAULT_NATS_URL, checked
from antiphon.runtime.nats.store_keeper import StoreKeeper
from antiphon.runtime.nats.stores import Store
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

BAD_SETTINGS: Final = 2
MAX_LEASE_RETENTION: Final = 7 * 86400.0


class SettingsError(ValueError):
    """A setting can't be used; the text names the variable, its value and the way out."""


def table_from(environment: Mapping[str, str] = os.environ) -> dict[str, Store]:
    """The stores, with the operator's settings for leases."""
    text = environment.get("ANTIPHON_LEASES_STORAGE", "").strip() or "memory"
    if text not in ("memory", "file"):
        raise SettingsError(f"ANTIPHON_LEASES_STORAGE: {text!r:.40} is neither memory nor file")
    storage: Literal["memory", "file"] = "file" if text == "file" else "memory"
    given = environment.get("ANTIPHON_LEASE_RETENTION_SECONDS", "").strip()
    try:
        seconds = float(given) if given else stores.LEASE_RETENTION
    except ValueError:
        seconds = math.nan
    if not stores.MIN_LEASE_RETENTION <= seconds <= MAX_LEASE_RETENTION:  # not for NaN either
        raise SettingsError(
            f"ANTIPHON_LEASE_RETENTION_SECONDS: {given!r:.40} is no number from {stores.MIN_LEASE_RETENTION:.0f} (a "
            f"lease is renewed once a minute) to {MAX_LEASE_RETENTION:.0f}"
        )
    return stores.stores_for(storage, seconds)


def hub_table_from(environment: Mapping[str, str] = os.environ) -> dict[str, Store]:
    """The stores of the hub, with the operator's number of replicas."""
    given = environment.get("ANTIPHON_HUB_REPLICAS", "").strip() or str(stores.HUB_REPLICAS)
    if given not in ("1", "3", "5"):
        raise SettingsError(
            f"ANTIPHON_HUB_REPLICAS: {given!r:.40} is none of 1, 3 and 5: as many servers keep each bucket of the hub"
        )
    return stores.hub_stores(int(given))


def url_from(environment: Mapping[str, str] = os.environ) -> str:
    """The address of NATS."""
    try:
        return checked(environment.get("ANTIPHON_NATS_URL", "") or DEFAULT_NATS_URL)
    except MalformedError as error:
        raise SettingsError(f"ANTIPHON_NATS_URL: {error}") from None


async def serve(
    connect: Callable[[], Awaitable[Client]],
    table: Mapping[str, Store],
    stop: asyncio.Event,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Keep the stores until `stop`. `connect` shows the credential; `ready` is called when all stores are there."""
    connecting = asyncio.ensure_future(connect())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            return
        client = connecting.result()
        keeper = StoreKeeper(client, table)
        running = asyncio.create_task(keeper.run())
        made = asyncio.create_task(keeper.ready.wait())
        made.add_done_callback(lambda task: None if task.cancelled() else ready())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            await tasks.end(running, made)
            with contextlib.suppress(nats.errors.Error, OSError):
                await client.close()
    finally:
        await tasks.end(stopping)
        if not connecting.done():
            connecting.cancel()


async def _run(url: str | Sequence[str], table: Mapping[str, Store], access: Access) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ready = "all %d buckets and streams are there"
    await serve(
        lambda: connection.connect(url, "antiphon-setup", access), table, stop, lambda: log.info(ready, len(table))
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which stores are made."""
    parser.add_argument("--hub", action="store_true", help="make the buckets of the hub, not those of a region")


def _of_hub() -> tuple[Sequence[str], dict[str, Store], Access]:
    found = hub_access("setup")
    if found is None:
        raise SettingsError("ANTIPHON_HUB_NATS_URL: set it to the addresses of the hub's servers")
    return found.urls, hub_table_from(), found.access


def main(hub: bool = False) -> int:
    """Exit status 0 after a stop, 2 for unusable settings."""
    url: str | Sequence[str]
    try:
        url, table, access = _of_hub() if hub else (url_from(), table_from(), from_environment("setup"))
    except (SettingsError, AccessError) as error:
        print(f"antiphon setup: {error}", file=sys.stderr)
        return BAD_SETTINGS
    flush = telemetry.start("setup")
    try:
        asyncio.run(_run(url, table, access))
    finally:
        flush()
    return 0


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Make the buckets and streams of NATS, and keep them.")
    add_arguments(arguments)
    sys.exit(main(arguments.parse_args().hub))
