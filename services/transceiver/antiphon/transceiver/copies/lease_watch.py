"""Watches the leases of the clusters that this region is the second of, and takes those that have run out.

The decision is in `watched_lease`. The watch may stop without a word, and may be late: so an entry is read once more
before it is taken, and the hub's compare-and-swap has the last word.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from antiphon.runtime import tasks
from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.nats import buckets
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import CopyLease
from antiphon.schemas.slot_moves import Identity
from antiphon.transceiver.copies.copy_owner import clock
from antiphon.transceiver.copies.lease_bucket import LeaseBucket
from antiphon.transceiver.copies.watched_lease import Take, WatchedLease

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

WATCH_ANEW: Final = 10.0
"""Seconds without any change after which the watch is made anew."""
AGAIN_SECONDS: Final = 0.5
LOADED_WAITS: Final = 0.2
"""Seconds for which a full process lets emptier ones be first; an empty one does not wait."""
MAX_WATCHED: Final = 4096
"""Leases; further ones are ignored until some are done."""


class LeaseWatch:
    """Owner: the process, from `start` to `close`; there is none without ANTIPHON_COPY_OF_FILE. Event loop only."""

    def __init__(
        self,
        hub: LeaseBucket,
        process_id: str,
        cluster: int,
        clusters: Collection[int],
        load: Callable[[], float],
        adopt: Callable[[CopyLease], Awaitable[bool]],
    ) -> None:
        """`clusters`: those that are watched. `load()`: share of our capacity that is taken; 1: nothing is taken on.
        `adopt(lease)`: adopt all calls of a lease that is ours; False if some have to be left to other processes."""
        self._hub = hub
        self._process_id = process_id
        self._cluster = cluster
        self._clusters = frozenset(clusters)
        self._load = load
        self._adopt = adopt
        self._leases: dict[Identity, WatchedLease] = {}
        self._waits_until: dict[Identity, float] = {}
        self._taking: dict[Identity, asyncio.Task[None]] = {}
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watching = asyncio.create_task(self._watch_forever())

    async def close(self) -> None:
        await tasks.end(*filter(None, (self._watching, *self._taking.values())))

    def is_taken(self, identity: Identity) -> bool:
        """Its calls go on in another cluster, as far as we know."""
        watched = self._leases.get(identity)
        return watched is not None and watched.is_taken

    def seen(self, lease: CopyLease, revision: int) -> None:
        """An entry holds this."""
        identity = lease.cluster, lease.slot, lease.epoch
        if lease.cluster not in self._clusters:
            return
        if identity not in self._leases:
            if len(self._leases) >= MAX_WATCHED:
                self._leases = {each: watched for each, watched in self._leases.items() if not watched.is_done}
                if len(self._leases) >= MAX_WATCHED:
                    complaints.warning(f"{MAX_WATCHED} leases of other clusters are watched: further ones are not")
                    return
            self._leases[identity] = WatchedLease(self._process_id, self._cluster)
        self._leases[identity].seen(lease, revision, clock())

    def poll(self) -> None:
        """To be called every 50 ms: take what has run out."""
        now = clock()
        for identity, watched in self._leases.items():
            if identity in self._taking or not watched.is_due(now):
                self._waits_until.pop(identity, None)
                continue
            load = self._load()
            if load >= 1:
                continue
            if now >= self._waits_until.setdefault(identity, now + load * LOADED_WAITS):
                del self._waits_until[identity]
                self._taking[identity] = asyncio.create_task(self._take(identity, watched))

    async def _take(self, identity: Identity, watched: WatchedLease) -> None:
        try:
            found = await self._hub.read(identity)
            if found is None:
                self._leases.pop(identity, None)
                return
            watched.seen(*found, clock())
            take = watched.due(clock())
            if take is not None:
                await self._take_now(take, watched)
        except BUS_ERRORS as error:
            log.debug("the lease of slot %d.%d, epoch %d, can't be taken: %r", *identity, error)
            watched.due(clock())  # waits until the next attempt
        except Exception:
            log.exception("the calls of slot %d.%d, epoch %d, were not adopted", *identity)
        finally:
            del self._taking[identity]

    async def _take_now(self, take: Take, watched: WatchedLease) -> None:
        revision = await self._hub.swap(take.lease, take.revision)
        if revision is None:
            return  # it was renewed, withdrawn, or another process of ours was first
        watched.seen(take.lease, revision, clock())
        if await self._adopt(take.lease):
            done = take.lease.model_copy(update={"adopted": True, "number": take.lease.number + 1})
            written = await self._hub.swap(done, revision)
            if written is not None:
                watched.seen(done, written, clock())

    async def _watch_forever(self) -> None:
        while True:
            try:
                await self._watch()
            except BUS_ERRORS as error:
                log.debug("the copy leases are not watched: %r", error)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _watch(self) -> None:
        client = self._hub.client
        if client is None:
            return
        async with buckets.watched(client, subjects.BUCKET_COPY_LEASES, ">") as entries:
            while True:
                async with asyncio.timeout(WATCH_ANEW):
                    entry = await anext(entries)
                with contextlib.suppress(MalformedError):
                    self.seen(messages.decode(entry.value, CopyLease), entry.revision)
