"""Announces the endpoints of a process: each second, and at once when something has changed that others act on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from nats.aio.client import Client
from nats.js.kv import KeyValue

from antiphon.runtime import tasks
from antiphon.runtime.nats import buckets
from antiphon.schemas import messages, subjects
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, TransceiverIdentity

log = logging.getLogger(__name__)

EVERY: Final = 1.0
AT_MOST_EVERY: Final = 0.02
"""Seconds, where something changes."""
BUS_SILENCE: Final = 2.0
"""Seconds without an announcement of our own coming back after which those of others that are missing prove nothing."""
KEEP_SECONDS: Final = 2.0
"""For the bucket to take an announcement."""


class Admission(Protocol):
    """Whether this process takes calls, and how many it has: `SessionOpener`."""

    @property
    def draining(self) -> bool: ...
    @property
    def announced(self) -> int: ...
    @property
    def connect_ms(self) -> float: ...


class Liveness(NamedTuple):
    """By what other processes find out that this one has died."""

    process_id: str
    """Goes into the field `holder` of announcements."""
    address: str | None
    """Of the failure detector's listening end; None without failover. The field `lifeline` of announcements."""


class Site(NamedTuple):
    """Where this process stands: goes into the fields of the same names of announcements."""

    region: str = ""
    place: messages.Place | None = None
    node: str = ""


NOWHERE: Final = Site()


class Announcer:
    """Announces all endpoints: the own one as it is, the kept ones as draining.

    Owner: the process, for its whole life. Event loop only; `run` is a task of its own. Any component may call
    `changed`; the process calls `poll`.
    """

    def __init__(
        self,
        client: Client,
        endpoints: Endpoints,
        capacity: int,
        admission: Admission,
        lateness_p99: Callable[[], float],
        liveness: Liveness,
        store_lost: Callable[[TransceiverIdentity], Awaitable[None]],
        site: Site = NOWHERE,
    ) -> None:
        """`lateness_p99()`: of 20 ms visits, in seconds. `store_lost(own)`: NATS came back without our entries."""
        self._client = client
        self._endpoints = endpoints
        self._capacity = capacity
        self._admission = admission
        self._lateness_p99 = lateness_p99
        self._liveness = liveness
        self._store_lost = store_lost
        self._site = site
        self._loop = asyncio.get_running_loop()
        self._came_back_at = self._loop.time()
        self._changed = asyncio.Event()
        self._was_ready = True
        self._to_keep = asyncio.Event()
        """The own endpoint was announced and is to be written into the bucket."""

    def came_back(self) -> None:
        """An announcement of ours was received from NATS."""
        self._came_back_at = self._loop.time()

    def bus_answers(self, now: float) -> bool:
        """Whether announcements are delivered: then a missing one means something."""
        return now - self._came_back_at < BUS_SILENCE

    def changed(self) -> None:
        """Announce everything again, now."""
        self._changed.set()

    def poll(self) -> None:
        """Announce at once that no more calls are taken, or that they are again."""
        ready = not self._admission.draining and self._admission.announced < self._capacity
        if ready != self._was_ready:
            self._was_ready = ready
            self.changed()

    async def announce_last(self) -> None:
        """Before the process ends."""
        if not self._endpoints.own.withdrawn:
            with contextlib.suppress(Exception):
                await self._client.publish(*self._announcement(self._endpoints.own))

    async def run(self) -> None:
        """Announce on NATS, whether or not the bucket takes anything: its disk may be full. Until cancelled."""
        keeping = asyncio.create_task(self._keep())
        try:
            while True:
                for endpoint in [each for each in self._endpoints if not each.withdrawn]:
                    try:
                        await self._client.publish(*self._announcement(endpoint))
                    except Exception as error:  # NATS is away, or whatever it is: announced again in a second
                        log.debug("announcing failed: %r", error)
                self._to_keep.set()
                await asyncio.sleep(AT_MOST_EVERY)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EVERY - AT_MOST_EVERY):
                        await self._changed.wait()
                self._changed.clear()
        finally:
            await tasks.end(keeping)

    async def _keep(self) -> None:
        """The newest announcement goes into the bucket, one write at a time."""
        bucket: KeyValue | None = None
        newest = 0
        while True:
            await self._to_keep.wait()
            self._to_keep.clear()
            own = self._endpoints.own
            if own.withdrawn:
                continue
            try:
                async with asyncio.timeout(KEEP_SECONDS):
                    if bucket is None:
                        js = self._client.jetstream()
                        bucket = await buckets.bucket(js, subjects.BUCKET_TRANSCEIVERS)
                    key = subjects.slot_key(own.identity.cluster, own.identity.slot)
                    revision = await bucket.put(key, self._announcement(own)[1])
                if revision < newest:
                    log.warning("NATS came back without its store: what we keep there is written again")
                    await self._store_lost(own.identity)
                newest = revision
            except Exception as error:  # NATS is away, or has lost its store: whatever it is, the next one tries again
                log.debug("an announcement is not kept: %r", error)
                bucket = None

    def _announcement(self, endpoint: Endpoint) -> tuple[str, bytes]:
        cluster, slot, epoch = endpoint.identity
        own = endpoint is self._endpoints.own
        announcement = messages.TransceiverAnnouncement(
            cluster=cluster,
            slot=slot,
            epoch=epoch,
            tunnel_address=endpoint.address,
            state="ready" if own and not self._admission.draining else "draining",
            sessions=self._admission.announced if own else len(endpoint.sessions),
            capacity=self._capacity if own else 0,
            lateness_ms=round(self._lateness_p99() * 1000, 2),
            connect_ms=round(self._admission.connect_ms, 1) if own else 0.0,
            holder=self._liveness.process_id,
            lifeline=self._liveness.address,
            lifeline_beats=self._liveness.address is not None,
            node=self._site.node,
            region=self._site.region,
            place=self._site.place,
        )
        return subjects.transceiver_announce(cluster, slot), messages.encode(announcement)
