"""The relay on NATS: routes in, announcements and counters out; `backbone_client` is given what is for the backbone.

While NATS is away the workers forward with the last known routes, and learn from tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final, Literal

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import Error as JetStreamError
from nats.js.kv import KeyValue
from nats.micro.request import Request

from antiphon.relay.control.backbone_client import BackboneClient
from antiphon.relay.control.ipc import Routes
from antiphon.relay.control.own_name import OwnName
from antiphon.relay.control.owner_lookups import OwnerLookups
from antiphon.relay.control.worker_pool import WorkerPool
from antiphon.relay.control.worker_supervisor import WorkerSupervisor
from antiphon.relay.core.route_table import RouteTable
from antiphon.relay.counters import merged
from antiphon.relay.settings import NO_CLUSTER, RelaySettings
from antiphon.runtime import tasks
from antiphon.runtime.nats import buckets, connection, process_drain, service_discovery
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import (
    RelayAnnouncement,
    RelayStatistics,
    TransceiverAnnouncement,
    decode,
    encode,
)

log = logging.getLogger(__name__)

REGISTER_NAME: Final = "antiphon-relay"
ANNOUNCE_SECONDS: Final = 1.0
STORE_SECONDS: Final = 1.0
"""Time limit of a call to a bucket: announcements on the subject do not wait for it."""
CLOSE_SECONDS: Final = 0.3

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class RelayNatsClient:
    """One relay's connection to NATS: `run` until cancelled, then `close`.

    Belongs to `Control` and lives as long as the relay, also while NATS is away. Its callers are on the event loop of
    the control process.
    """

    def __init__(
        self,
        settings: RelaySettings,
        pool: WorkerPool,
        supervisor: WorkerSupervisor,
        backbone: BackboneClient,
        on_routes: Callable[[Routes], None],
        stop_process: Callable[[], None],
    ) -> None:
        """`on_routes` is called with the whole table whenever the announced transceivers change. `stop_process` does
        what SIGTERM does: an operator may ask for it."""
        self._settings = settings
        self._pool = pool
        self._supervisor = supervisor
        self._backbone = backbone
        self._lookups = OwnerLookups(supervisor.questions, settings.relay_find == "kv")
        self._on_routes = on_routes
        self._stop_process = stop_process
        self.state: Literal["ready", "draining"] = "ready"
        self.announced = asyncio.Event()
        """Set once this relay is announced and has read which transceivers are."""
        self._tunnel_host = settings.relay_tunnel_advertise or settings.relay_tunnel_bind.host
        bind = settings.relay_backbone_bind
        self._backbone_host = settings.relay_backbone_advertise or (bind.host if bind is not None else "")
        self._routes = RouteTable(ipv6=":" in settings.relay_tunnel_bind.host)
        self._routes.restore(pool.saved.routes, time.monotonic())
        self._own_name = OwnName()
        self._client: Client | None = None
        self._bucket: KeyValue | None = None
        self._storing: asyncio.Task[None] | None = None

    @property
    def reachable(self) -> bool:
        """Whether our announcements arrive: the last one came back a short while ago."""
        return self._own_name.is_reachable(time.monotonic())

    @property
    def routes(self) -> int:
        """How many transceivers are announced."""
        return len(self._routes.table())

    @property
    def has_way(self) -> bool:
        """Whether calls can go on from here: to a transceiver, or to a relay of another cluster."""
        return bool(self.routes or (self._backbone.ingress and self._backbone.relays))

    def other_process(self) -> RelayAnnouncement | None:
        """The last announcement of another process under our name, if recent: one takes over from the other."""
        return self._own_name.other_process()

    def announcement(self) -> RelayAnnouncement:
        """What this relay announces of itself."""
        settings = self._settings
        public = settings.relay_public_addresses or [
            address._replace(host=_LOOPBACK.get(address.host, address.host)) for address in self._pool.addresses
        ]
        return RelayAnnouncement(
            name=settings.relay_name,
            region=settings.relay_region,
            public_addresses=[str(address) for address in public],
            tunnel_addresses=[str(address) for address in self._pool.tunnel_addresses(self._tunnel_host)],
            tcp_addresses=[
                str(address)
                for address in settings.relay_tcp_public_addresses
                or [each._replace(host=_LOOPBACK.get(each.host, each.host)) for each in self._pool.tcp_addresses]
            ],
            state=self.state,
            taking_over=not self._pool.has_port,
            **self._backbone.announced(
                [str(address) for address in self._pool.backbone_addresses(self._backbone_host)],
                self._supervisor.round_trips,
            ),
        )

    async def run(self) -> None:
        """Announce, listen and look up until cancelled."""
        async with asyncio.TaskGroup() as running:
            running.create_task(self._stay_connected())
            running.create_task(self._lookups.run())

    async def _stay_connected(self) -> None:
        """The NATS client reconnects; this starts again if the first connection fails before we are announced."""
        while True:
            try:
                await self._serve()
            except (nats.errors.Error, JetStreamError, OSError, TimeoutError) as error:
                log.warning("nats: %s, trying again", error or type(error).__name__)
                if self._client is not None:
                    await self._client.close()
                await asyncio.sleep(ANNOUNCE_SECONDS)

    async def close(self) -> None:
        """Close the connection, within `CLOSE_SECONDS`; after `run` has ended."""
        if self._storing is not None:
            await tasks.end(self._storing)
        if self._client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._client.close()

    async def _serve(self) -> None:
        name = self._settings.relay_name
        self._client = client = await connection.connect(
            self._settings.nats_url, f"relay-{name}", self._settings.nats_access
        )
        self._lookups.set_client(client)
        if self._tunnel_host in _LOOPBACK:
            self._tunnel_host = connection.local_host_towards(self._settings.nats_url)
        if self._backbone_host in _LOOPBACK:
            self._backbone_host = connection.local_host_towards(self._settings.nats_url)
        every = self._backbone.has_backbone
        await client.subscribe(
            subjects.ANY_RELAY_ANNOUNCE if every else subjects.relay_announce(name), cb=self._on_relay
        )
        # Before anything is read: a transceiver ignores the hello of a relay that it doesn't know.
        await self.announce()
        announcement = self.announcement()
        log.info(
            "relay %s serves %s, tunnel from %s", name, announcement.public_addresses, announcement.tunnel_addresses
        )
        if self._settings.cluster is None:
            await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._on_transceiver)
        elif self._settings.cluster != NO_CLUSTER:
            own = subjects.transceiver_announce_of(self._settings.cluster)
            await client.subscribe(own, cb=self._on_transceiver)
        if self._backbone.believes_moves:
            await client.subscribe(subjects.ANY_CLUSTER_MOVED, cb=self._backbone.on_moved)
        await connection.flush(client)
        await self._read_buckets()
        self.announced.set()
        metadata = {"name": name, "region": announcement.region}
        service = await service_discovery.register(client, REGISTER_NAME, metadata)
        await process_drain.listen(client, REGISTER_NAME, service.id, self._stop_process)
        await service.add_endpoint(
            name="stats",
            subject=subjects.relay_stats(name),
            handler=self._on_statistics_request,
            queue_group=connection.NO_GROUP,
        )
        while True:
            began = time.monotonic()
            await self.announce()
            bus_alive = self._own_name.is_reachable(began)
            if self._routes.expire(time.monotonic(), bus_alive):
                self._push_routes()
            self._backbone.expire(time.monotonic(), bus_alive)
            await asyncio.sleep(max(0.0, ANNOUNCE_SECONDS - (time.monotonic() - began)))

    # ---- routes in ----

    async def _on_relay(self, message: Msg) -> None:
        try:
            name = subjects.parse_relay_announce(message.subject)
            if name != self._settings.relay_name:
                self._backbone.on_announcement(name, message.data)
                return
            announcement = decode(message.data, RelayAnnouncement)
        except MalformedError as error:
            log.warning("an announcement under our name is ignored: %s", error)
            return
        self._own_name.on_announcement(announcement, self.announcement())

    async def _on_transceiver(self, message: Msg) -> None:
        if self._update_route(message.data):
            self._push_routes()

    def _update_route(self, data: bytes) -> bool:
        try:
            announcement = decode(data, TransceiverAnnouncement)
            if self._settings.cluster not in (None, announcement.cluster):
                return False  # the bucket may hold those of other clusters
            return self._routes.update(announcement, time.monotonic())
        except MalformedError as error:
            log.warning("an announcement is ignored: %s", error)
            return False

    async def _read_buckets(self) -> None:
        """What was announced before we came: saves the second until the next announcements."""
        assert self._client is not None
        try:
            js = self._client.jetstream(timeout=STORE_SECONDS)
            # In the order of writing: of two claims on one address the later one holds.
            entries = await buckets.read_all(js, subjects.BUCKET_TRANSCEIVERS)
            changes = [self._update_route(entry.value) for entry in entries]
            if any(changes):
                self._push_routes()
            if self._backbone.has_backbone:
                for entry in await buckets.read_all(js, subjects.BUCKET_RELAYS):
                    if entry.key != self._settings.relay_name:
                        self._backbone.on_announcement(entry.key, entry.value)
        except (nats.errors.Error, JetStreamError, OSError, TimeoutError) as error:
            log.warning("the buckets of announcements can't be read: %s", error or type(error).__name__)

    def _push_routes(self) -> None:
        table = self._routes.table()
        log.info("%d transceivers announced", len(table))
        self._on_routes(Routes([(*identity, str(address)) for identity, address in table]))

    # ---- ourselves out ----

    async def announce(self) -> None:
        """Publish the announcement and store it in the bucket; does nothing while NATS is away."""
        client = self._client
        if client is None or not client.is_connected:
            return
        announcement = encode(self.announcement())
        with contextlib.suppress(nats.errors.Error, OSError):  # away: published again in a second
            await client.publish(subjects.relay_announce(self._settings.relay_name), announcement)
            if self._storing is None or self._storing.done():
                self._storing = asyncio.create_task(self._store(client, announcement))
            await client.flush(timeout=1)

    async def announce_draining(self) -> None:
        """Announce that no new call may come here, and wait until the bucket has it or can't take it."""
        self.state = "draining"
        await self.announce()
        await self.wait_until_stored()

    async def wait_until_stored(self) -> None:
        """Wait until the bucket has what was announced last, or has failed to take it."""
        if self._storing is not None:
            await asyncio.wait({self._storing})

    async def _store(self, client: Client, announcement: bytes) -> None:
        """Put the announcement into the bucket: a task of its own, so that a full disk delays no announcement."""
        try:
            async with asyncio.timeout(STORE_SECONDS):
                if self._bucket is None:
                    own = self._settings.relay_name
                    self._bucket = await buckets.bucket(client.jetstream(), subjects.BUCKET_RELAYS, probe=own)
                await self._bucket.put(self._settings.relay_name, announcement)
        except (nats.errors.Error, JetStreamError, OSError, TimeoutError) as error:
            self._bucket = None  # gone with a server that stored nothing: looked for again next time
            log.debug("announcement not stored: %s", error or type(error).__name__)

    async def _on_statistics_request(self, request: Request) -> None:
        answered = await self._supervisor.statistics()
        statistics = RelayStatistics(
            name=self._settings.relay_name,
            path=self._supervisor.path,
            workers=len(answered),
            relays=self._backbone.relays,
            relays_out=self._supervisor.relays_out,
            round_trips={str(cluster): ms for cluster, ms in self._supervisor.round_trips.items()},
            moves=self._backbone.moves,
            ingress=self._backbone.ingress,
            **merged(answered).values(),
        )
        await request.respond(encode(statistics))
