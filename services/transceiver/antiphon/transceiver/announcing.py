"""What a process says of its seats: each second, and at once when it matters to somebody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from nats.aio.client import Client
from nats.js.kv import KeyValue

from antiphon.schemas import bus, messages, subjects
from antiphon.transceiver.clock import Clock
from antiphon.transceiver.placing import Placing
from antiphon.transceiver.seat import Seat, Seats
from antiphon.transceiver.settings import Settings

log = logging.getLogger(__name__)

EVERY: Final = 1.0
AT_MOST_EVERY: Final = 0.02
"""Seconds, where something changes."""
BUS_SILENCE: Final = 2.0
"""Seconds without an answer from NATS after which missing announcements prove nothing."""


class Announcing:
    """Announces all seats: the own one as it is, the kept ones as draining."""

    def __init__(self, settings: Settings, client: Client, clock: Clock, placing: Placing, seats: Seats) -> None:
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
        self._bucket: KeyValue | None = None

    def bus_answers(self, now: float) -> bool:
        """NATS took our last announcements."""
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
        while True:
            try:
                for seat in [seat for seat in self._seats if not seat.given_up]:
                    await self._client.publish(*self._announcement(seat))
                if self._bucket is None:
                    js = self._client.jetstream()
                    self._bucket = await bus.bucket(js, subjects.BUCKET_TRANSCEIVERS, ttl=bus.ANNOUNCE_TTL)
                own = self._seats.own
                if not own.given_up:
                    await self._bucket.put(subjects.slot_key(own.cluster, own.slot.number), self._announcement(own)[1])
                self._answered = self._loop.time()
            except Exception as error:  # NATS is away, or has lost its store: whatever it is, try again
                log.debug("announcing failed: %r", error)
                self._bucket = None
            await asyncio.sleep(AT_MOST_EVERY)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY - AT_MOST_EVERY):
                    await self._changed.wait()
            self._changed.clear()

    def _announcement(self, seat: Seat) -> tuple[str, bytes]:
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
