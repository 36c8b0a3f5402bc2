"""The relay's side towards the bus: routes in, announcements and counters out. No packet passes here.

While NATS is away the worker goes on forwarding with the routes last known, and learning from tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from dataclasses import asdict
from typing import Final, Literal

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import Error as JetStreamError
from nats.js.kv import KeyValue
from nats.micro.request import Request

from antiphon.relay.channel import Routes, Start, Statistics
from antiphon.relay.routes import RouteBook
from antiphon.relay.settings import RelaySettings
from antiphon.relay.sockets import bind_udp, bound_port
from antiphon.relay.supervisor import Supervisor
from antiphon.schemas import bus, subjects
from antiphon.schemas.addresses import Address
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
ECHO_SECONDS: Final = 2.5
"""The bus is away if our own announcement has not come back for this long: a server that hangs or a cut
cable is noticed by nothing else for minutes."""
LOG_SECONDS: Final = 60.0
KEEP_SECONDS: Final = 1.0
"""Patience with the bucket: announcements on the subject go on without it."""
GOODBYE_SECONDS: Final = 0.3

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Control:
    """One relay on the bus."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._public = [bind_udp(address) for address in settings.relay_bind]
        self._tunnel = bind_udp(settings.relay_tunnel_bind)
        self._book = RouteBook(ipv6=self._tunnel.family == socket.AF_INET6)
        self._supervisor = Supervisor(
            Start(settings.route_keys_text(), settings.relay_max_flows, settings.relay_path), self._public, self._tunnel
        )
        self._tunnel_host = settings.relay_tunnel_advertise or settings.relay_tunnel_bind.host
        self._echoed = float("-inf")
        self._client: Client | None = None
        self._bucket: KeyValue | None = None
        self._logged: Statistics | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Forward and stand on the bus until `stop`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._supervisor.run()), tasks.create_task(self._stay_on_the_bus())]
                await stop.wait()
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(self._announce("draining"), GOODBYE_SECONDS)
                for task in running:
                    task.cancel()
        finally:
            if self._client is not None:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(self._client.close(), GOODBYE_SECONDS)
            for each in (*self._public, self._tunnel):
                each.close()

    def announcement(self, state: Literal["ready", "draining"] = "ready") -> RelayAnnouncement:
        """What this relay says of itself."""
        settings = self._settings
        public = settings.relay_public_addresses or [
            Address(_LOOPBACK.get(address.host, address.host), bound_port(bound))
            for address, bound in zip(settings.relay_bind, self._public, strict=True)
        ]
        return RelayAnnouncement(
            name=settings.relay_name,
            region=settings.relay_region,
            public_addresses=[str(address) for address in public],
            tunnel_addresses=[str(Address(self._tunnel_host, bound_port(self._tunnel)))],
            state=state,
        )

    async def _stay_on_the_bus(self) -> None:
        """The client reconnects by itself; this is for a bus that goes away while we are still arriving."""
        while True:
            try:
                await self._on_the_bus()
            except (nats.errors.Error, JetStreamError, OSError, TimeoutError) as error:
                log.warning("nats: %s, trying again", error or type(error).__name__)
                if self._client is not None:
                    await self._client.close()
                await asyncio.sleep(ANNOUNCE_SECONDS)

    async def _on_the_bus(self) -> None:
        self._client = client = await bus.connect(self._settings.nats_url, f"relay-{self._settings.relay_name}")
        if self._tunnel_host in _LOOPBACK:
            self._tunnel_host = bus.local_host_towards(self._settings.nats_url)
        # First of all announce: a transceiver ignores the hello of a relay that it doesn't know.
        await self._announce("ready")
        said = self.announcement()
        log.info(
            "relay %s serves %s, tunnel from %s", said.name, ", ".join(said.public_addresses), said.tunnel_addresses[0]
        )
        await client.subscribe(subjects.relay_announce(self._settings.relay_name), cb=self._hear_echo)
        await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._hear_announcement)
        await client.flush()
        await self._read_bucket()
        service = await bus.register(client, REGISTER_NAME, {"name": self._settings.relay_name})
        await service.add_endpoint(
            name="stats", subject=subjects.relay_stats(self._settings.relay_name), handler=self._tell_statistics
        )
        log_at = time.monotonic() + LOG_SECONDS
        while True:
            began = time.monotonic()
            await self._announce("ready")
            if self._book.expire(time.monotonic(), began - self._echoed < ECHO_SECONDS):
                self._push_routes()
            if began >= log_at:
                log_at += LOG_SECONDS
                await self._log_statistics()
            await asyncio.sleep(max(0.0, ANNOUNCE_SECONDS - (time.monotonic() - began)))

    # ---- routes in ----

    async def _hear_echo(self, message: Msg) -> None:
        self._echoed = time.monotonic()

    async def _hear_announcement(self, message: Msg) -> None:
        if self._note(message.data):
            self._push_routes()

    def _note(self, data: bytes) -> bool:
        try:
            return self._book.hear(decode(data, TransceiverAnnouncement), time.monotonic())
        except MalformedError as error:
            log.warning("an announcement is ignored: %s", error)
            return False

    async def _read_bucket(self) -> None:
        """Transceivers that were announced before we came: saves the second until they speak again."""
        assert self._client is not None
        try:
            js = self._client.jetstream()
            kept = await bus.bucket(js, subjects.BUCKET_TRANSCEIVERS, ttl=bus.ANNOUNCE_TTL)
            watcher = await kept.watchall(ignore_deletes=True)
            entries = []
            try:
                while (entry := await watcher.updates(timeout=KEEP_SECONDS)) is not None:  # type: ignore[no-untyped-call]
                    entries.append((entry.revision or 0, entry.value or b""))
            finally:
                await watcher.stop()  # type: ignore[no-untyped-call]
            # In the order of writing: of two claims on one address the later one holds.
            changes = [self._note(value) for _, value in sorted(entries)]
            if any(changes):
                self._push_routes()
        except (nats.errors.Error, JetStreamError, OSError, TimeoutError) as error:
            log.warning("bucket %s can't be read: %s", subjects.BUCKET_TRANSCEIVERS, error or type(error).__name__)

    def _push_routes(self) -> None:
        table = self._book.table()
        log.info("%d transceivers announced", len(table))
        self._supervisor.set_routes(Routes([(*identity, str(address)) for identity, address in table]))

    # ---- ourselves out ----

    async def _announce(self, state: Literal["ready", "draining"]) -> None:
        client = self._client
        if client is None or not client.is_connected:
            return
        said = encode(self.announcement(state))
        try:
            await client.publish(subjects.relay_announce(self._settings.relay_name), said)
            await client.flush(timeout=1)
            await asyncio.wait_for(self._keep(client, said), KEEP_SECONDS)
        except (nats.errors.Error, JetStreamError, OSError, TimeoutError) as error:
            self._bucket = None  # gone with a server that kept nothing: made anew next time
            log.debug("announcement not kept: %s", error or type(error).__name__)

    async def _keep(self, client: Client, said: bytes) -> None:
        if self._bucket is None:
            self._bucket = await bus.bucket(client.jetstream(), subjects.BUCKET_RELAYS, ttl=bus.ANNOUNCE_TTL)
        await self._bucket.put(self._settings.relay_name, said)

    async def _tell_statistics(self, request: Request) -> None:
        statistics = await self._supervisor.statistics()
        fields = asdict(statistics) if statistics is not None else {}
        told = RelayStatistics(name=self._settings.relay_name, path=self._supervisor.path, **fields)
        await request.respond(encode(told))

    async def _log_statistics(self) -> None:
        statistics = await self._supervisor.statistics()
        if statistics is not None and statistics != self._logged:
            self._logged = statistics
            log.info("%s", " ".join(f"{name}={value}" for name, value in asdict(statistics).items()))


async def serve(settings: RelaySettings) -> None:
    """Run a relay until SIGTERM or SIGINT."""
    control = Control(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await control.run(stop)
