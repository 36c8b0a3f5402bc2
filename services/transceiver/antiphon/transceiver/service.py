"""The transceiver's life: it takes a slot, announces itself, drains and stops.

What offers become is decided in `placing`, what a call does in `session`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from nats.aio.client import Client
from nats.js.kv import KeyValue

from antiphon.schemas import bus, messages, subjects, tasks
from antiphon.schemas.addresses import Address
from antiphon.transceiver.clock import Clock
from antiphon.transceiver.outlet import Publisher
from antiphon.transceiver.placing import Placing
from antiphon.transceiver.port import TunnelPort
from antiphon.transceiver.registry import Registry
from antiphon.transceiver.relay_side import RelaySide
from antiphon.transceiver.seat import Seat
from antiphon.transceiver.session_subjects import SessionSubjects
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.slots import claim_slot

log = logging.getLogger(__name__)

POLL_INTERVAL: Final = 0.05
BUS_SILENCE: Final = 2.0
"""Seconds without an answer from NATS after which missing announcements prove nothing."""


class Transceiver:
    """One process: one socket, one slot, many sessions."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._registry = Registry()
        self._publisher = Publisher(client)
        self._clock = Clock(self._publisher)
        self._relays = RelaySide(self._registry, client)
        self._subjects = SessionSubjects(client, self._registry, self._publisher)
        self._placing = Placing(settings, client, self._registry, self._subjects, self._publisher, self._clock)
        self._bus_answered = self._loop.time()
        host, _, port = settings.transceiver_bind.rpartition(":")
        self._port = TunnelPort(
            host.strip("[]"), int(port), self._relays.received, self._publisher.hold, self._publisher.release
        )
        self._seat: Seat
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take a slot, listen, announce."""
        settings, client = self._settings, self._client
        js = client.jetstream()
        slot = await claim_slot(js, settings.cluster, settings.slot)
        host = settings.transceiver_advertise or bus.local_host_towards(settings.nats_url)
        self._seat = Seat(settings.cluster, slot, self._port, str(Address(host, self._port.port)))
        self._relays.seat = self._placing.seat = self._seat
        await self._relays.start(js)
        service = await bus.register(client, "antiphon-transceiver", {"slot": str(slot.number)})
        await service.add_endpoint(
            name="open",
            subject=subjects.transceiver_open(settings.cluster, slot.number),
            handler=self._placing.requested,
        )
        bucket = await bus.bucket(js, subjects.BUCKET_TRANSCEIVERS, ttl=bus.ANNOUNCE_TTL)
        self._tasks = [
            asyncio.create_task(self._announce_forever(bucket)),
            asyncio.create_task(self._poll_forever()),
        ]
        log.info("slot %d of cluster %d, epoch %d, %s", slot.number, settings.cluster, slot.epoch, "ready")

    async def drain(self, hurry: asyncio.Event) -> None:
        """Take no more sessions and let the running ones end by themselves: until the setting, or `hurry`."""
        seconds = self._settings.drain_seconds
        self._placing.draining = True
        if not seconds or not len(self._registry):
            return
        log.info("draining %d sessions for at most %g s", len(self._registry), seconds)
        for session in self._registry:
            session.announce_draining(seconds)
        with contextlib.suppress(Exception):
            await self._client.publish(*self._announcement())
        deadline = self._loop.time() + seconds
        while len(self._registry) and self._loop.time() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL):
                    await hurry.wait()
                return

    async def stop(self) -> None:
        """End all sessions, say so, let go of everything."""
        self._placing.draining = True
        now = self._loop.time()
        self._placing.close()
        for session in self._registry:
            session.end("draining", now)
            self._subjects.forget(session)
        with contextlib.suppress(Exception):
            await self._client.publish(*self._announcement())
        await self._publisher.drain()
        await tasks.end(*self._tasks)
        await self._subjects.close()
        self._clock.close()
        self._port.close()

    def _announcement(self) -> tuple[str, bytes]:
        cluster, slot, epoch = self._seat.identity
        announcement = messages.TransceiverAnnouncement(
            cluster=cluster,
            slot=slot,
            epoch=epoch,
            tunnel_address=self._seat.address,
            state="draining" if self._placing.draining else "ready",
            sessions=self._placing.taken,
            capacity=self._settings.capacity,
            lateness_ms=round(self._clock.lateness(0.99) * 1000, 2),
        )
        return subjects.transceiver_announce(cluster, slot), messages.encode(announcement)

    async def _announce_forever(self, bucket: KeyValue) -> None:
        key = subjects.slot_key(self._settings.cluster, self._seat.slot.number)
        while True:
            subject, announcement = self._announcement()
            try:
                await self._client.publish(subject, announcement)
                await bucket.put(key, announcement)
                self._bus_answered = self._loop.time()
            except Exception as error:  # NATS is away, or has lost its store: whatever it is, try again
                log.debug("announcing failed: %r", error)
                if self._client.is_connected:
                    with contextlib.suppress(Exception):
                        bucket = await bus.bucket(
                            self._client.jetstream(), subjects.BUCKET_TRANSCEIVERS, ttl=bus.ANNOUNCE_TTL
                        )
            await asyncio.sleep(1)

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            now = self._loop.time()
            for session in self._registry:
                session.poll(now)
                if session.ended is not None:
                    self._subjects.forget(session)
            self._relays.poll(now, now - self._bus_answered < BUS_SILENCE)
