"""The NATS side: one connection, the announcements that come in on it, and questions to the register.

Signaling serves (its page, and an honest health report) also while NATS is away, so nothing here blocks a start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NoKeysError
from nats.js.kv import KeyValue

from antiphon.runtime import tasks
from antiphon.runtime.nats import buckets, connection, service_discovery
from antiphon.runtime.nats.server_url import without_password
from antiphon.schemas import MalformedError, subjects
from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement, decode
from antiphon.signaling.placement.directory import STORED_TTL, Directory
from antiphon.signaling.placement.open_rpc import OpenRpc
from antiphon.signaling.placement.service_discovery import ServiceDiscovery, ServiceTable
from antiphon.signaling.settings import Settings

log = logging.getLogger(__name__)


class Backend:
    """Signaling's view of the other services."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.directory = Directory(settings.cluster, settings.region)
        self.openings = OpenRpc()
        self.client: Client | None = None
        self._register = ServiceDiscovery()
        self._joining: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self.client is not None and self.client.is_connected

    async def roll(self) -> ServiceTable:
        """Who answers in the services register."""
        return await self._register.roll(self.client)

    def start(self) -> None:
        """Begin to join the bus, for as long as it takes."""
        self._joining = asyncio.create_task(self._join())

    async def stop(self) -> None:
        if self._joining is not None:
            await tasks.end(self._joining)
        await self.openings.stop()
        if self.client is not None:
            await self.client.close()

    async def _join(self) -> None:
        while True:
            try:
                return await self._connect()
            except (OSError, ValueError, NatsError) as error:
                url = without_password(self._settings.nats_url)
                log.error("can't join NATS at ANTIPHON_NATS_URL %s: %s", url, error or type(error).__name__)
                await asyncio.sleep(1)

    async def _connect(self) -> None:
        if self.client is not None:
            await self.client.close()
        self.client = client = await connection.connect(self._settings.nats_url, "signaling")
        await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._hear(self._learn_transceiver))
        await client.subscribe(subjects.ANY_RELAY_ANNOUNCE, cb=self._hear(self._learn_relay))
        await service_discovery.register(client, "antiphon-signaling")
        log.info("connected to NATS")
        await self._read_bucket(subjects.BUCKET_TRANSCEIVERS, self._learn_transceiver)
        await self._read_bucket(subjects.BUCKET_RELAYS, self._learn_relay)

    def _learn_transceiver(self, data: bytes, ttl: float) -> None:
        self.directory.learn_transceiver(decode(data, TransceiverAnnouncement), time.monotonic(), ttl)

    def _learn_relay(self, data: bytes, ttl: float) -> None:
        self.directory.learn_relay(decode(data, RelayAnnouncement), time.monotonic(), ttl)

    def _hear(self, learn: Callable[[bytes, float], None]) -> Callable[[Msg], Awaitable[None]]:
        async def heard(message: Msg) -> None:
            try:
                learn(message.data, buckets.ANNOUNCE_TTL)
            except MalformedError as error:
                log.warning("ignored an announcement on %s: %s", message.subject, error)

        return heard

    async def _read_bucket(self, name: str, learn: Callable[[bytes, float], None]) -> None:
        """What was announced before we came; without it we would know a second later."""
        assert self.client is not None
        try:
            store = await self.client.jetstream(timeout=2).key_value(name)
            for key in await store.keys():
                learn(await _value(store, key), STORED_TTL)
        except NoKeysError:
            pass
        except (NatsError, MalformedError) as error:
            log.info("nothing learned from bucket %s: %s", name, error or type(error).__name__)


async def _value(store: KeyValue, key: str) -> bytes:
    return (await store.get(key)).value or b""
