"""The life of a transceiver process: start, poll, drain, stop. What it consists of is built in `composition`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from antiphon.runtime import tasks
from antiphon.runtime.bounded_log import OncePerChange
from antiphon.runtime.metrics import MetricsService
from antiphon.runtime.metrics.health import DRAINING
from antiphon.runtime.metrics.settings import MetricsSettings
from antiphon.runtime.nats import buckets, connection
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.transceiver.composition.acquired import Acquired, acquire
from antiphon.transceiver.composition.parts import Parts, build
from antiphon.transceiver.drain import drain
from antiphon.transceiver.failover.failover import Failover
from antiphon.transceiver.net.flow_directory import FlowDirectory
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.cycle_collection import CycleCollection

log = logging.getLogger(__name__)
complaints: Final = OncePerChange(log)

POLL_INTERVAL: Final = 0.05


class Transceiver:
    """One process: one event loop, an endpoint of its own, many sessions.

    Owner: `__main__.serve`, which calls `start`, `drain` and `stop` in this order, each once, on the event loop.
    """

    def __init__(
        self, settings: Settings, client: Client, acquired: Acquired, parts: Parts, metrics: MetricsService
    ) -> None:
        self._settings = settings
        self._client = client
        self._acquired = acquired
        self._parts = parts
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls,
        settings: Settings,
        client: Client,
        shown: MetricsSettings,
        stop_process: Callable[[], None] = lambda: None,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> Transceiver:
        """Take a slot, build all parts, receive, announce. OSError or RuntimeError if the port or the slot is taken.

        `stop_process()` does what SIGTERM does: an operator may ask for it over NATS. `is_busy()`: of the loop."""
        async with contextlib.AsyncExitStack() as on_failure:
            acquired = await acquire(settings, client, on_failure)
            metrics = MetricsService("transceiver", shown, region=settings.region)
            await metrics.start(lambda: client)
            on_failure.push_async_callback(metrics.close)
            parts = build(settings, client, acquired, metrics.metrics, metrics.metadata(), stop_process, is_busy)
            transceiver = cls(settings, client, acquired, parts, metrics)
            await transceiver.begin()
            on_failure.pop_all()  # from here on `stop` closes them
        metrics.started(transceiver.failing)
        identity = acquired.identity
        log.info("slot %d of cluster %d, epoch %d, ready", identity.slot, identity.cluster, identity.epoch)
        return transceiver

    async def begin(self) -> None:
        """Receive, announce and poll from now on. `start` calls it."""
        parts, client = self._parts, self._client
        js = client.jetstream()
        await parts.relays.start(js)
        if parts.failover is not None:
            parts.failover.start()
        await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._announced)
        await client.subscribe(subjects.ANY_CALL_STATUS, cb=parts.status.requested)
        await client.subscribe(subjects.CALLS_LIST, cb=parts.listing.requested)
        elsewhere = subjects.cluster_calls(parts.endpoints.own.identity.cluster)
        await client.subscribe(elsewhere, cb=self._called_from_elsewhere)
        if parts.failover is not None:
            await self._read_announcements(js, parts.failover)
        await parts.service.start(parts.endpoints.own.identity)
        if parts.copies is not None:
            await parts.copies.start()
        await connection.require_allowed(client)
        running = [parts.announcer.run(), parts.take_out.run(), self._poll_forever()]
        if self._settings.agent_lost_seconds:
            running.append(parts.liveness.run())
        if self._settings.keep_flows:
            running.append(FlowDirectory(client, parts.relays.flows).run())
        self._tasks += [asyncio.create_task(each) for each in running]

    async def _called_from_elsewhere(self, message: Msg) -> None:
        if message.subject.endswith(".status"):
            await self._parts.status.requested(message)
        else:
            await self._parts.bus.called_from_elsewhere(message)

    async def _read_announcements(self, js: JetStreamContext, failover: Failover) -> None:
        """The processes that were there before us. One of them may just have died, with none but us to take it over."""
        for entry in await buckets.read_all(js, subjects.BUCKET_TRANSCEIVERS):
            with contextlib.suppress(MalformedError):
                failover.announced(messages.decode(entry.value, messages.TransceiverAnnouncement))

    async def _announced(self, message: Msg) -> None:
        """An announcement of a transceiver, ourselves included."""
        parts = self._parts
        try:
            announcement = messages.decode(message.data, messages.TransceiverAnnouncement)
        except MalformedError as error:
            complaints.say(str(error), message.subject)
            return
        if announcement.holder == self._acquired.process_id:
            parts.announcer.came_back()
            return
        await parts.slot_keeper.announced(announcement)
        if parts.failover is not None:
            parts.failover.announced(announcement)

    async def _poll_forever(self) -> None:
        parts, cycles = self._parts, CycleCollection()
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            if cycles.due(parts.demux.removed, len(parts.demux)):
                gc.collect()
            now = self._loop.time()
            for session in parts.demux:
                session.poll(now)
            parts.lanes.poll()
            answers = parts.announcer.bus_answers(now)
            parts.relays.poll(now, answers)
            parts.announcer.poll()
            parts.take_out.poll()
            if parts.failover is not None and parts.failover.poll(now, answers):
                parts.announcer.changed()
            if parts.copies is not None:
                parts.copies.poll(now)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Take no more sessions. Hand the running ones over, or let them end: until the setting, or `hurry`."""
        await drain(self._parts, self._settings.drain_seconds, hurry)

    def failing(self) -> dict[str, str]:
        """Why no call would be taken now. Being full is not in it: a restart would not help."""
        if self._parts.opener.draining:
            return dict(DRAINING)
        return {} if self._parts.announcer.bus_answers(self._loop.time()) else {"nats": "delivers nothing"}

    async def stop(self) -> None:
        """End all sessions, announce it, release everything."""
        parts = self._parts
        parts.opener.drain()
        parts.opener.close()
        await parts.take_out.close()
        await parts.transfers.close()
        await parts.listing.close()
        for session in parts.demux:
            session.end("draining", self._loop.time())
        await parts.announcer.announce_last()
        parts.outbox.close()
        await parts.publisher.drain()
        if parts.failover is not None:
            await parts.failover.stop()
        await tasks.end(*self._tasks)
        if parts.copies is not None:
            await parts.copies.close()
        if self._acquired.leases is not None:
            await self._acquired.leases.close()
        for hub in self._acquired.hubs:
            await hub.close()
        await parts.slot_keeper.close()
        await parts.bus.close()
        await self._metrics.close()
        parts.scheduler.close()
        parts.endpoints.close()
        if parts.failover is not None:
            await parts.failover.close()
