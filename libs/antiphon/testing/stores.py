"""The buckets and streams of a NATS server that a test or a bench has started, as `antiphon setup` makes them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

from antiphon.runtime.nats import connection, store_keeper, stores
from antiphon.runtime.nats.stores import Store


def make_hub_stores(url: str) -> None:
    """Make the hub's buckets once, as `make_stores` does; one server alone has all registers."""
    make_stores(url, stores.of_one_server(stores.HUB_STORES))


def make_stores(url: str, table: Mapping[str, Store] = stores.REGION_STORES) -> None:
    """Make all of them once; returns when they are there. May be called inside an event loop, and blocks it."""
    failures: list[BaseException] = []

    async def make() -> None:
        client = await connection.connect_once(url, "setup")
        try:
            await store_keeper.make(client, table)
        finally:
            await client.close()

    def run() -> None:
        try:
            asyncio.run(make())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="setup")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
