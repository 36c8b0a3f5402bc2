"""What a process says of its seats: each second, and at once when it matters to somebody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from nats.aio.client import Client
from nats.js.kv import KeyValue

from antiphon.runtime import tasks
from antiphon.runtime.nats import buckets
from antiphon.schemas import messages, subjects
from antiphon.transceiver.calls.open_session import SessionOpener
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.scheduler import Scheduler

log = logging.getLogger(__name__)

EVERY: Final = 1.0
AT_MOST_EVERY: Final = 0.02
"""Seconds, where something changes."""
BUS_SILENCE: Final = 2.0
"""Seconds without an announcement of our own coming back after which those of others that are missing prove nothing."""
KEEP_SECONDS: Final = 2.0
"""For the bucket to take an announcement."""


class Announcer:
    """Announces all seats: the own one as it is, the kept ones as draining."""

    def __init__(
        self, settings: Settings, client: Client, clock: Scheduler, placing: SessionOpener, seats: Endpoints
    ) -> None:
        self.holder = ""
        self.lifeline: str | None = None
        self._settings = settings
        self._client = client
        self._clock = clock
        self._placing = placing
        self._seats = seats
        self._loop = asyncio.get_running_loop()
        self._answered = self._loop.time()
        self._changed = asyncio.Event()
        self._was_ready = True
        self._unkept = asyncio.Event()
        """The own seat was announced and is to be written into the bucket."""

    def heard(self) -> None:
        """An announcement of ours has come back from NATS."""
        self._answered = self._loop.time()

    def bus_answers(self, now: float) -> bool:
        """What is announced is heard."""
        return now - self._answered < BUS_SILENCE

    def changed(self) -> None:
        """Say everything again, now."""
        self._changed.set()

    def look(self) -> None:
        """Announce at once that no more calls are taken, or that they are again."""
        ready = not self._placing.draining and self._placing.taken < self._settings.capacity
        if ready != self._was_ready:
            self._was_ready = ready
            self.changed()

    async def say_last(self) -> None:
        """Before the end."""
        if not self._seats.own.given_up:
            with contextlib.suppress(Exception):
                await self._client.publish(*self._announcement(self._seats.own))

    async def run(self) -> None:
        """Announce on the bus, whether or not the bucket takes anything: its disk may be full."""
        keeping = asyncio.create_task(self._keep())
        try:
            while True:
                for seat in [seat for seat in self._seats if not seat.given_up]:
                    try:
                        await self._client.publish(*self._announcement(seat))
                    except Exception as error:  # NATS is away, or whatever it is: said again in a second
                        log.debug("announcing failed: %r", error)
                self._unkept.set()
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
        while True:
            await self._unkept.wait()
            self._unkept.clear()
            own = self._seats.own
            if own.given_up:
                continue
            try:
                async with asyncio.timeout(KEEP_SECONDS):
                    if bucket is None:
                        js = self._client.jetstream()
                        bucket = await buckets.bucket(js, subjects.BUCKET_TRANSCEIVERS, ttl=buckets.ANNOUNCE_TTL)
                    await bucket.put(subjects.slot_key(own.cluster, own.slot.number), self._announcement(own)[1])
            except Exception as error:  # NATS is away, or has lost its store: whatever it is, the next one tries again
                log.debug("an announcement is not kept: %r", error)
                bucket = None

    def _announcement(self, seat: Endpoint) -> tuple[str, bytes]:
        cluster, slot, epoch = seat.identity
        own = seat is self._seats.own
        announcement = messages.TransceiverAnnouncement(
            cluster=cluster,
            slot=slot,
            epoch=epoch,
            tunnel_address=seat.address,
            state="ready" if own and not self._placing.draining else "draining",
            sessions=self._placing.taken if own else len(seat.sessions),
            capacity=self._settings.capacity if own else 0,
            lateness_ms=round(self._clock.lateness(0.99) * 1000, 2),
            holder=self.holder,
            lifeline=self.lifeline,
        )
        return subjects.transceiver_announce(cluster, slot), messages.encode(announcement)
