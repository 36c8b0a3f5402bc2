"""Keeps all buckets and streams there: makes them at the start, and again when NATS comes back without them.

`StoreSchedule` decides, without I/O; `StoreKeeper` asks NATS. The process that runs it has the credential `setup`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Iterable, Mapping
from typing import Final

from nats.aio.client import Client

from antiphon.runtime.nats import stores
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.nats.stores import Made, Store, StoreError

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the names of all streams: one small request."""
AGAIN_SECONDS: Final = 0.25
"""Until the next look after one that failed: a server that has just started has its streams a moment later."""
CHECK_EVERY: Final = 60.0
"""Seconds between two comparisons of all settings."""
REFUSED_SECONDS: Final = 10.0
"""Until a store that NATS refused is tried again; it is logged each time, so not more often."""


class StoreSchedule:
    """Which stores are to be made or compared now.

    Owner: the keeper. Called from its event loop. Bounded by the table of stores.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """`names`: of the streams behind the stores."""
        self._names = tuple(names)
        self._check_at = -math.inf
        self._refused: dict[str, float] = {}
        """Stream -> not before this moment."""
        self._look_at = -math.inf
        self._answered = True

    def until_look(self, now: float) -> float:
        """Seconds until NATS is to be asked for the names of its streams."""
        return max(0.0, self._look_at - now)

    def due(self, present: set[str], now: float) -> list[str]:
        """NATS has these streams: those to make or to compare, in the order of the table."""
        check = now >= self._check_at
        if check:
            self._check_at = now + CHECK_EVERY
        self._look_at = now + LOOK_EVERY
        self._answered = True
        return [name for name in self._names if (check or name not in present) and now >= self._refused.get(name, now)]

    def done(self, name: str) -> None:
        """The store is as it should be."""
        self._refused.pop(name, None)

    def refused(self, name: str, now: float) -> None:
        """NATS does not make or change the store: later again."""
        self._refused[name] = now + REFUSED_SECONDS
        self._check_at = min(self._check_at, now + REFUSED_SECONDS)

    def failed(self, now: float) -> bool:
        """NATS did not answer. Everything is compared when it does. True the first time in a row, for the log."""
        self._check_at = -math.inf
        self._look_at = now + AGAIN_SECONDS
        first, self._answered = self._answered, False
        return first

    @property
    def has_failed(self) -> bool:
        """NATS did not answer the last time."""
        return not self._answered


class StoreKeeper:
    """Asks NATS what is there and makes what is not.

    Owner: `antiphon setup` or the supervisor of `antiphon up`, for its life. `run` is a task, until cancelled.
    """

    def __init__(self, client: Client, table: Mapping[str, Store]) -> None:
        self.ready = asyncio.Event()
        """All stores were there once."""
        self._client = client
        self._stores = {store.stream: store for store in table.values()}
        self._schedule = StoreSchedule(self._stores)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._schedule.until_look(loop.time()))
            try:
                await self._look()
            except (*BUS_ERRORS, json.JSONDecodeError) as error:
                if self._schedule.failed(loop.time()):
                    log.warning("buckets and streams can't be looked at: %s", error or type(error).__name__)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        failed = self._schedule.has_failed
        present = await stores.present_streams(self._client)
        if failed:
            log.info("NATS answers again")
        whole = True
        for name in self._schedule.due(present, loop.time()):
            store = self._stores[name]
            try:
                made = await stores.ensure(self._client, store)
            except StoreError as error:
                whole = False
                self._schedule.refused(name, loop.time())
                log.error("%s", error)
                continue
            except BUS_ERRORS as error:
                if not store.tag:
                    raise
                # Its only server is away: the others are made all the same.
                whole = False
                self._schedule.refused(name, loop.time())
                log.warning("%s %s does not answer: %r", store.kind, store.name, error)
                continue
            self._schedule.done(name)
            if made is Made.REPLACED:
                log.warning(
                    "%s %s %s in %s: what an older version, or another setting, kept elsewhere is deleted; its writers "
                    "write it again",
                    store.kind,
                    store.name,
                    made.value,
                    store.storage,
                )
            elif made is not Made.KEPT:
                log.info("%s %s %s", store.kind, store.name, made.value)
        if whole:
            self.ready.set()


async def make(client: Client, table: Mapping[str, Store] = stores.REGION_STORES) -> None:
    """Make all of them once: for tests and benchmarks. `StoreError` or an error of nats-py if that fails."""
    await asyncio.gather(*(stores.ensure(client, store) for store in table.values()))
