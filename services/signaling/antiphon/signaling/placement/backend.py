"""The NATS side of signaling: one connection, the announcements that it receives, and the services register.

Signaling serves its page and an honest health report also while NATS is away, so nothing here blocks a start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from antiphon.runtime import tasks, telemetry
from antiphon.runtime.bounded_log import OncePerChange
from antiphon.runtime.nats import buckets, connection, process_drain, service_discovery
from antiphon.runtime.nats.call_owner import Kind, ask_owner
from antiphon.runtime.nats.server_url import without_password
from antiphon.schemas import MalformedError, subjects
from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement, decode
from antiphon.signaling.http.errors import unavailable
from antiphon.signaling.placement.directory import STORED_TTL, Directory
from antiphon.signaling.placement.open_rpc import OpenRpc
from antiphon.signaling.placement.service_discovery import SIGNALING_SERVICE, ServiceDiscovery, ServiceTable
from antiphon.signaling.settings import Settings

log = logging.getLogger(__name__)
complaints: Final = OncePerChange(log)

FAR_TIMEOUT: Final = 1.0
"""Seconds for the answer of another region. By way of the hub the longest round trips take half a second."""


class Backend:
    """Signaling's view of the other services.

    Made by `__main__`, from `start` to the end of the process; handlers call it on the event loop.
    """

    def __init__(self, settings: Settings, register_metadata: Callable[[], dict[str, str]] = dict) -> None:
        """`register_metadata()`: what the services register says of this process."""
        self._settings = settings
        self._register_metadata = register_metadata
        self.directory = Directory(settings.cluster, settings.region)
        self.open_rpc = OpenRpc()
        self.client: Client | None = None
        """None until NATS was reached for the first time."""
        self.instance = ""
        """Id of this process in the services register; empty before it is there."""
        self._discovery = ServiceDiscovery()
        self._connecting: asyncio.Task[None] | None = None
        self._region_urls = settings.urls_of_regions()
        self._first_region = ""
        """Of those that are announced, while we are told of no own one."""
        self._two_regions = False
        self.process_id = ""
        """Of this process in the services register; empty before it is in it."""
        self._metadata: dict[str, str] = {}
        self._stop_process: Callable[[], None] | None = None
        self._others: list[tuple[str, Callable[[Msg], Awaitable[None]]]] = []

    def also_subscribe(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> None:
        """Subscribe with each connection, for another part of signaling. Before `start`."""
        self._others.append((subject, callback))

    @property
    def connected(self) -> bool:
        """NATS can be reached now."""
        return self.client is not None and self.client.is_connected

    def connection(self, consequence: str) -> Client:
        """The client, for a request; `ApiError` 503 while NATS is away, which says what can't be done then."""
        if self.client is None or not self.connected:
            raise unavailable("nats_down", f"signaling has no connection to NATS: {consequence}")
        return self.client

    async def services(self) -> ServiceTable:
        """The instances that answer in the services register, no older than a second."""
        return await self._discovery.table(self.client)

    async def ask_owner(self, kind: Kind, session_id: str, request: bytes, timeout: float) -> Msg:
        """The answer of the call's transceiver, in any region; raises what `call_owner.ask_owner` does.

        A call that another cluster adopted runs in another one than it was placed in, so all of them are asked.
        """
        client = self.connection("the call can't be reached")
        elsewhere = self.directory.clusters_elsewhere(time.monotonic())
        headers = telemetry.trace_headers()
        return await ask_owner(client, kind, session_id, request, timeout, elsewhere, headers, FAR_TIMEOUT)

    def foreign_region(self, cluster: int | None) -> str:
        """The region of this cluster, if it is known and not the one that this signaling serves; else empty."""
        now = time.monotonic()
        if cluster is None or cluster not in self.directory.clusters_elsewhere(now):
            return ""
        return self.directory.region_map(now).cluster_site(cluster).region

    def url_of_region(self, region: str) -> str | None:
        """Where that region's signaling is reached; None where the settings don't say."""
        return self._region_urls.get(region)

    def is_foreign(self, region: str) -> bool:
        """Whether this is a region's name, and another one than that which this signaling serves."""
        regions = self.directory.region_map(time.monotonic())
        own = self._settings.region or regions.cluster_site(self._settings.cluster).region
        return bool(own and region and region != own)

    def start(self, metadata: Mapping[str, str] | None = None, stop_process: Callable[[], None] | None = None) -> None:
        """Begin to connect to NATS, for as long as it takes.

        `metadata`: what the register shows of this process. `stop_process()` does what SIGTERM does: an operator may
        ask for it.
        """
        self._metadata, self._stop_process = dict(metadata or {}), stop_process
        self._connecting = asyncio.create_task(self._keep_connecting())

    async def stop(self) -> None:
        """Stop connecting, drop late answers, close the connection."""
        if self._connecting is not None:
            await tasks.end(self._connecting)
        await self.open_rpc.stop()
        if self.client is not None:
            await self.client.close()

    async def _keep_connecting(self) -> None:
        while True:
            try:
                return await self._connect()
            except (OSError, ValueError, NatsError) as error:
                url = without_password(self._settings.nats_url)
                text = f"can't join NATS at ANTIPHON_NATS_URL {url}: {error or type(error).__name__}"
                complaints.say(text, level=logging.ERROR)
                await asyncio.sleep(1)

    async def _connect(self) -> None:
        if self.client is not None:
            await self.client.close()
        self.client = client = await connection.connect(
            self._settings.nats_url, "signaling", self._settings.nats_access()
        )
        await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._on_announcement(self._learn_transceiver))
        await client.subscribe(subjects.ANY_RELAY_ANNOUNCE, cb=self._on_announcement(self._learn_relay))
        for subject, callback in self._others:
            await client.subscribe(subject, cb=callback)
        metadata = self._metadata | {"region": self._settings.region, **self._register_metadata()}
        service = await service_discovery.register(client, SIGNALING_SERVICE, metadata)
        self.process_id = service.id
        if self._stop_process is not None:
            await process_drain.listen(client, SIGNALING_SERVICE, service.id, self._stop_process)
        log.info("connected to NATS")
        await self._read_bucket(subjects.BUCKET_TRANSCEIVERS, self._learn_transceiver)
        await self._read_bucket(subjects.BUCKET_RELAYS, self._learn_relay)

    def _learn_transceiver(self, data: bytes, ttl: float, subject: str = "") -> None:
        announcement = decode(data, TransceiverAnnouncement)
        _check_author(subject, subjects.transceiver_announce(announcement.cluster, announcement.slot))
        self.directory.learn_transceiver(announcement, time.monotonic(), ttl)
        self._note_region(announcement.region)

    def _learn_relay(self, data: bytes, ttl: float, subject: str = "") -> None:
        announcement = decode(data, RelayAnnouncement)
        _check_author(subject, subjects.relay_announce(announcement.name))
        self.directory.learn_relay(announcement, time.monotonic(), ttl)
        self._note_region(announcement.region)

    def _note_region(self, region: str) -> None:
        """Say it once if there are several regions and no setting says which one is ours."""
        if not region or self._settings.region or self._two_regions:
            return
        self._first_region = self._first_region or region
        if region != self._first_region:
            self._two_regions = True
            log.warning(
                "regions %s and %s are announced and ANTIPHON_REGION is not set: between NATS servers that are joined "
                "as leaf nodes no answer of another region arrives here, so calls there can't be placed or ended. "
                "Set it to the region that this process runs in",
                *sorted((self._first_region, region)),
            )

    def _on_announcement(self, learn: Callable[[bytes, float, str], None]) -> Callable[[Msg], Awaitable[None]]:
        async def on_message(message: Msg) -> None:
            try:
                learn(message.data, buckets.ANNOUNCE_TTL, message.subject)
            except MalformedError as error:
                complaints.say(f"ignored an announcement on {message.subject}: {error}", message.subject)

        return on_message

    async def _read_bucket(self, name: str, learn: Callable[[bytes, float], None]) -> None:
        """Learn what was announced before this process connected; the next announcements come within a second."""
        assert self.client is not None
        try:
            for entry in await buckets.read_all(self.client.jetstream(timeout=2), name):
                with contextlib.suppress(MalformedError):  # put there by another client of NATS
                    learn(entry.value, STORED_TTL)
        except NatsError as error:
            log.info("nothing learned from bucket %s: %s", name, error or type(error).__name__)


def _check_author(subject: str, own: str) -> None:
    """NATS lets each author, and each region, speak on its own subjects only. Empty: it is an entry of a bucket."""
    if subject not in ("", own):
        raise MalformedError(f"it is that of {own}")
