"""Watches the leases of the clusters that this region is the second of, and takes those that have run out.

The decision is in `watched_lease`. The watch may stop without a word, and may be late: so the registers are read once
more before a lease is taken, and their compare-and-swap has the last word.
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
from antiphon.schemas import MalformedError, messages
from antiphon.schemas.messages import CopyLease, LeaseRegister
from antiphon.schemas.slot_moves import Identity
from antiphon.transceiver.copies.copy_owner import clock
from antiphon.transceiver.copies.lease_bucket import LeaseBucket
from antiphon.transceiver.copies.lease_register import Register
from antiphon.transceiver.copies.watched_lease import AnsweringClock, Take, WatchedLease

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

WATCH_ANEW: Final = 10.0
"""Seconds without any change after which the watch is made anew."""
AGAIN_SECONDS: Final = 0.5
ASK_EVERY: Final = 0.5
"""Seconds between two requests that show whether a register answers."""
ASK_IN_DOUBT: Final = 0.1
"""Likewise, while a lease has not changed for a while."""
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
        self._clocks = [AnsweringClock() for _ in hub.registers]
        self._watching: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for index, register in enumerate(self._hub.registers):
            self._watching.append(asyncio.create_task(self._watch_forever(index, register)))
            self._watching.append(asyncio.create_task(self._ask_forever(index, register)))

    async def close(self) -> None:
        await tasks.end(*self._watching, *self._taking.values())

    def _seconds(self) -> list[float]:
        return [each.seconds for each in self._clocks]

    def is_taken(self, identity: Identity) -> bool:
        """Its calls go on in another cluster, as far as we know."""
        watched = self._leases.get(identity)
        return watched is not None and watched.is_taken

    def seen(self, index: int, entry: LeaseRegister) -> None:
        """The register of this index (from 0) holds this."""
        lease = entry.lease
        if lease is None:
            return
        identity = lease.cluster, lease.slot, lease.epoch
        if lease.cluster not in self._clusters:
            return
        if identity not in self._leases:
            if len(self._leases) >= MAX_WATCHED:
                self._leases = {each: watched for each, watched in self._leases.items() if not watched.is_done}
                if len(self._leases) >= MAX_WATCHED:
                    complaints.warning(f"{MAX_WATCHED} leases of other clusters are watched: further ones are not")
                    return
            self._leases[identity] = WatchedLease(len(self._clocks), self._process_id, self._cluster)
        self._leases[identity].seen(index, entry, self._clocks[index].seconds)

    def poll(self) -> None:
        """To be called every 50 ms: take what has run out."""
        now, seconds = clock(), self._seconds()
        for identity, watched in self._leases.items():
            if identity in self._taking or not watched.is_due(seconds, now):
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
            found = await self._hub.look(identity)
            if not any(found.values()):
                self._leases.pop(identity, None)
                return
            for index, entry in found.items():
                if entry is not None:
                    self.seen(index, entry)
            take = watched.due(self._seconds(), clock())
            if take is not None:
                await self._take_now(identity, take)
        except BUS_ERRORS as error:
            log.debug("the lease of slot %d.%d, epoch %d, can't be taken: %r", *identity, error)
            watched.failed(clock())
        except Exception:
            log.exception("the calls of slot %d.%d, epoch %d, were not adopted", *identity)
        finally:
            del self._taking[identity]

    async def _take_now(self, identity: Identity, take: Take) -> None:
        taken = await self._hub.take(identity, take.change, take.only)
        if taken is None:
            return  # it was renewed, withdrawn, or another process of ours was first
        lease, number = taken
        if await self._adopt(lease):
            await self._hub.swap(lease.model_copy(update={"adopted": True, "number": lease.number + 1}), number)

    async def _ask_forever(self, index: int, register: Register) -> None:
        """Time in which the register gives no answer does not count."""
        while True:
            asked_at = clock()
            with contextlib.suppress(*BUS_ERRORS):
                await register.answers()
                self._clocks[index].answered(asked_at)
            seconds = self._seconds()
            in_doubt = any(watched.is_in_doubt(seconds) for watched in self._leases.values())
            await asyncio.sleep(ASK_IN_DOUBT if in_doubt else ASK_EVERY)

    async def _watch_forever(self, index: int, register: Register) -> None:
        while True:
            try:
                await self._watch(index, register)
            except BUS_ERRORS as error:
                log.debug("%s is not watched: %r", register.name, error)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _watch(self, index: int, register: Register) -> None:
        client = register.client()
        if client is None:
            return
        async with buckets.watched(client, register.name, "*.*.*.*") as entries:
            while True:
                async with asyncio.timeout(WATCH_ANEW):
                    entry = await anext(entries)
                with contextlib.suppress(MalformedError):
                    self.seen(index, messages.decode(entry.value, LeaseRegister))
